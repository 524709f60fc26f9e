"""``runyard experiment cancel``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import click

from runyard.cli.experiment import SUMMARIES
from runyard.cli.output import count, say
from runyard.cli.refs import complete_task, find, open_store, ref_argument
from runyard.engine import report
from runyard.engine.follow import names_of
from runyard.store import records
from runyard.store.records import JobRow


@click.command("cancel", short_help=SUMMARIES["cancel"])
@ref_argument
@click.argument("tasks", metavar="[TASK]...", nargs=-1, shell_complete=complete_task)
@click.option("--all", "everything", is_flag=True, help="All tasks; the same as naming none.")
@click.option("--dependencies", is_flag=True, help="Also the tasks that depend on them.")
def command(ref: str, tasks: tuple[str, ...], everything: bool, dependencies: bool) -> None:
    """End tasks of an experiment, given by name or number; without TASK, all of them.

    Each gets SIGTERM, and after a grace period SIGKILL. What has ended stays as it is.
    """
    with open_store() as db:
        id = find(db, ref).id
        rows = records.jobs(db, id)
        names = names_of(rows, [] if everything else tasks)
        if dependencies:
            names = with_dependents(rows, names)
        live = [r.name for r in rows if r.name in set(names) and not r.status.state.ended]
        if not live:
            say(f"{id}: nothing to cancel, {'they have' if len(names) > 1 else 'it has'} ended already")
            return
        results = report.cancel(db, id, live)
    ended = Counter(r.status for r in results)
    also = f"; {count(len(names) - len(live), 'task')} had ended before" if len(names) > len(live) else ""
    say(f"{id}: {report.counts_text(ended)}{also}")


def with_dependents(rows: Sequence[JobRow], names: Sequence[str]) -> list[str]:
    """Return tasks and all that depend on them, directly or not, in the order they were added."""
    wanted = set(names)
    while True:
        more = {r.name for r in rows if wanted & {name for name, _ in r.spec["dependencies"]}} - wanted
        if not more:
            return [r.name for r in rows if r.name in wanted]
        wanted |= more
