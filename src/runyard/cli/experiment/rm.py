"""``runyard experiment rm``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import click

from runyard.cli.experiment import SUMMARIES
from runyard.cli.output import age, count, say
from runyard.cli.refs import complete_ref, find, open_store
from runyard.engine import record
from runyard.errors import ConfigError, StoreError
from runyard.executors.duration import seconds
from runyard.store import records
from runyard.store.db import Database
from runyard.store.records import ExperimentRow


@click.command("rm", short_help=SUMMARIES["rm"])
@click.argument("refs", metavar="[REF]...", nargs=-1, shell_complete=complete_ref)
@click.option("--older-than", metavar="AGE", help="All that were launched longer ago (14d, 36h) and have ended.")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
def command(refs: tuple[str, ...], older_than: str | None, yes: bool) -> None:
    """Remove experiments: their records, logs and outputs. Unfinished ones are refused.

    On a terminal it asks first. Elsewhere --older-than needs --yes.
    """
    if not refs and older_than is None:
        raise click.UsageError("Say what to remove: a REF, or --older-than AGE.")
    with open_store() as db:
        doomed = _doomed(db, refs, older_than)
        if not doomed:
            say(f"nothing is older than {older_than}")
            return
        if not yes and not _agreed(doomed, bulk=older_than is not None):
            say("nothing is removed")
            raise click.exceptions.Exit(1)
        for row in doomed:
            unasked = record.remove(db, db.home, row.id)
            say(f"removed {row.id}")
            for why in unasked:
                say(f"  {why}; what its jobs left there stays: `runyard code gc` removes it once that answers")


def _doomed(db: Database, refs: Sequence[str], older_than: str | None) -> list[ExperimentRow]:
    chosen = {row.id: row for row in (find(db, ref) for ref in refs)}
    for row in chosen.values():  # all of them, before the first is gone
        if row.live:
            raise StoreError(
                f"{row.id} has {row.live} unfinished task(s)", hint=f"runyard experiment cancel {row.id} first"
            )
    if older_than is not None:
        before = time.time() - _age(older_than)
        chosen |= {r.id: r for r in records.experiments(db) if r.created < before and not r.live}
    return list(chosen.values())


def _age(text: str) -> float:
    if text.strip().isdigit():
        raise ConfigError(f"--older-than {text} has no unit", hint=f"write {text}d for days, {text}h for hours")
    return seconds(text, "--older-than")


def _agreed(doomed: Sequence[ExperimentRow], bulk: bool) -> bool:
    if sys.stdin.isatty() and sys.stderr.isatty():
        now = time.time()
        for row in doomed[:20]:
            say(f"  {row.id}  ({age(now - row.created)})")
        if len(doomed) > 20:
            say(f"  … and {len(doomed) - 20} more")
        return click.confirm(f"Remove {count(len(doomed), 'experiment')} for good?", err=True)
    if bulk:
        raise ConfigError(f"this removes {count(len(doomed), 'experiment')}, and nobody can be asked", hint="add --yes")
    return True
