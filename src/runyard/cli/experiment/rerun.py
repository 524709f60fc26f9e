"""``runyard experiment rerun``."""

from __future__ import annotations

import os
import time

import click

from runyard.cli.attend import attend, leave
from runyard.cli.experiment import SUMMARIES
from runyard.cli.output import emit, hush, say
from runyard.cli.refs import find, open_store, ref_argument
from runyard.engine import launch, replay, report
from runyard.engine.plan import Entry
from runyard.errors import ConfigError, StoreError
from runyard.home import runyard_home


@click.command("rerun", short_help=SUMMARIES["rerun"])
@ref_argument
@click.option("--failed", is_flag=True, help="Only the tasks that did not succeed.")
@click.option("--detach", "-d", is_flag=True, help="Return at once and print the id; it goes on by itself.")
@click.option("--dry-run", is_flag=True, help="Print what would be submitted, byte for byte, and stop.")
@click.option("--quiet", "-q", is_flag=True, help="Print a single task's own output only.")
@click.option("--yes", "-y", is_flag=True, hidden=True, help="Accepted; nothing is asked.")
def command(ref: str, failed: bool, detach: bool, dry_run: bool, quiet: bool, yes: bool) -> int:
    """Launch an experiment again as a new one: the same tasks, executors, groups and dependencies.

    What was recorded is used, with the code that was shipped then: your script is not executed, your code is
    not imported. What ran in the folder of the launch runs as it is there now. Secrets are taken anew.
    """
    del yes
    with open_store() as db:
        row = find(db, ref)
        if failed and row.live:
            raise StoreError(
                f"{row.id} has {row.live} unfinished task(s), so what failed is not known yet",
                hint=f"runyard experiment wait {row.id}, or cancel it",
            )
        entries = (replay.unsuccessful if failed else replay.entries)(db, row.id)
    if not entries:
        say(f"{row.id}: nothing to run again, every task succeeded")
        return 0
    cwd = str(row.facts.get("cwd") or os.getcwd())
    if not os.path.isdir(cwd):
        raise ConfigError(
            f"{row.id} was launched from {cwd}, which is gone", hint="put the folder back, or launch anew"
        )

    def entries_for(id: str) -> list[Entry]:
        for executor in (e for entry in entries for e in entry.executors):
            executor.experiment_id = id
        return entries

    home, stamp = runyard_home(), int(time.time())
    if dry_run:
        where, planned, code = launch.preview(home, row.title, stamp, entries_for, row.facts)
        emit(report.dryrun(where, planned, code).rstrip("\n"))
        return 0
    tell = hush if quiet else say
    facts = {"program": "runyard experiment rerun", "script": "", "rerun_of": row.id}
    new, id, jobs, controller = launch.launch(home, row.title, stamp, entries_for, facts, row.facts, say=tell)
    with new:
        return leave(new, id, controller, quiet) if detach else attend(new, id, jobs, controller, quiet)
