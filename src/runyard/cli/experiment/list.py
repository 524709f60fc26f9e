"""``runyard experiment list``."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from runyard.cli import refs
from runyard.cli.experiment import SUMMARIES
from runyard.cli.output import age, count, emit, emit_json, say
from runyard.engine.report import counts_text
from runyard.home import runyard_home
from runyard.states import JobState
from runyard.store import layout, records
from runyard.store.db import NAME, Database
from runyard.store.records import ExperimentRow
from runyard.terminal import look, table

SHOWN = 20


@click.command("list", short_help=SUMMARIES["list"])
@click.argument("title_argument", metavar="[TITLE]", required=False, shell_complete=refs.complete_ref)
@click.option("--title", metavar="TITLE", help="Only experiments with this title.")
@click.option("--limit", type=click.IntRange(min=1), default=SHOWN, show_default=True, metavar="N", help="At most N.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--live", is_flag=True, help="Only those with unfinished tasks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    title_argument: str | None, title: str | None, limit: int, everything: bool, live: bool, as_json: bool
) -> None:
    """List recorded experiments, the newest first."""
    title = title or title_argument
    home = runyard_home()
    found: list[ExperimentRow] = []
    states: Mapping[str, Mapping[JobState, int]] = {}
    more = 0
    if (home / NAME).exists() or (home / layout.EXPERIMENTS).is_dir():
        with refs.open_store() as db:
            found, more = _choose(db, title, None if everything else limit, live)
            states = records.state_counts(db, [row.id for row in found])
    if as_json:
        emit_json([_json(row, states[row.id]) for row in found])
    elif found:
        emit(_table(found, states))
    if not found:
        about = f" titled {title!r}" if title else ""
        say(f"no {'unfinished ' if live else ''}experiments{about} in {home}")
    elif more:
        say(f"… and {more} more: --limit N or --all")


def _choose(db: Database, title: str | None, limit: int | None, live: bool) -> tuple[list[ExperimentRow], int]:
    if live:  # few, whatever the history
        found = records.experiments(db, title=title, live_only=True)
        return found[:limit], len(found) - len(found[:limit])
    found = records.experiments(db, title=title, limit=limit)
    return found, records.count(db, title) - len(found)


def _table(found: Sequence[ExperimentRow], states: Mapping[str, Mapping[JobState, int]]) -> str:
    now = time.time()
    colour, fit = look(sys.stdout)
    rows = [
        (row.id, count(sum(states[row.id].values()), "task"), age(now - row.created), counts_text(states[row.id]))
        for row in found
    ]
    return table(("EXPERIMENT", "TASKS", "LAUNCHED", "STATES"), rows, colour, fit=fit)


def _json(row: ExperimentRow, states: Mapping[JobState, int]) -> dict[str, Any]:
    return {
        "id": row.id,
        "title": row.title,
        "created": row.created,
        "folder": str(runyard_home() / row.folder),
        "live": row.live,
        "states": {str(state): number for state, number in states.items()},
        **{key: row.facts.get(key) for key in ("cwd", "host", "user", "rerun_of") if row.facts.get(key)},
    }
