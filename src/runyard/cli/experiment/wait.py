"""``runyard experiment wait``."""

from __future__ import annotations

import click

from runyard.cli.experiment import SUMMARIES
from runyard.cli.refs import find, open_store, ref_argument
from runyard.cli.watch import changes, last_event
from runyard.engine import report
from runyard.engine.follow import View


@click.command("wait", short_help=SUMMARIES["wait"])
@ref_argument
@click.option("--quiet", "-q", is_flag=True, help="Say nothing of what happens meanwhile.")
def command(ref: str, quiet: bool) -> int:
    """Wait until every task of an experiment has ended.

    The exit code is that of an attached run: the task's own when there is one, else 0 or 1. Ctrl-C stops
    the waiting and nothing else.
    """
    with open_store() as db:
        row = find(db, ref)
        view: View | None = None
        try:
            for jobs, news in changes(db, row.id, last_event(db, row.id)):
                view = view or View(list(jobs), frozenset())
                for event in news if not quiet else []:
                    status = jobs[event.name].status
                    view.event(event, report.seconds_of(status) if status.state is event.state else None)
                if not quiet:
                    view.progress(list(jobs.values()), row.created)
        finally:
            if view:
                view.clear()
        if failure := report.failure(db, report.results(db, row.id)):
            raise failure
    return 0
