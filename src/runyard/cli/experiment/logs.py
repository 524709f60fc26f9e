"""``runyard experiment logs``."""

from __future__ import annotations

import re
import sys

import click

from runyard.cli.experiment import SUMMARIES
from runyard.cli.logprinter import LogPrinter, Wanted
from runyard.cli.output import say
from runyard.cli.refs import complete_task, find, open_store, ref_argument, revive
from runyard.cli.watch import changes
from runyard.engine.follow import names_of
from runyard.errors import ConfigError
from runyard.store import records


@click.command("logs", short_help=SUMMARIES["logs"])
@ref_argument
@click.argument("tasks", metavar="[TASK]...", nargs=-1, shell_complete=complete_task)
@click.option("--task", "more_tasks", multiple=True, metavar="TASK", shell_complete=complete_task, help="The same.")
@click.option("--follow", "-f", is_flag=True, help="Go on until the tasks have ended.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Only this attempt.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines, of the newest attempt.")
@click.option("--grep", metavar="RE", help="Only lines in which this regular expression is found.")
@click.option("--rank", type=click.IntRange(min=0), metavar="R", help="Only this process of a job that has several.")
@click.option("--member", metavar="M", help="Only this member of a task group.")
def command(
    ref: str,
    tasks: tuple[str, ...],
    more_tasks: tuple[str, ...],
    follow: bool,
    attempt: int | None,
    tail: int | None,
    grep: str | None,
    rank: int | None,
    member: str | None,
) -> None:
    """Print the logs of an experiment's tasks, given by name or number; without TASK, of all.

    The lines of several tasks are labelled. With --follow, Ctrl-C stops the printing and nothing else.
    """
    try:
        pattern = re.compile(grep) if grep is not None else None
    except re.error as e:
        raise ConfigError(f"--grep {grep!r} is no regular expression: {e}", hint="escape special characters") from e
    with open_store() as db:
        row = find(db, ref)
        revive(db, row)
        rows = records.jobs(db, row.id)
        names = names_of(rows, [*tasks, *more_tasks])
        printer = LogPrinter(db, list(dict.fromkeys(names)), Wanted(attempt, member, pattern, tail, rank))
        if not follow:
            for job in rows:
                printer.drain(job, last=True)
        else:
            for jobs, _news in changes(db, row.id):
                for job in jobs.values():
                    printer.drain(job, last=job.status.state.ended)
                sys.stdout.flush()
                if all(jobs[name].status.state.ended for name in names):
                    break
        if not printer.printed and (note := printer.why_nothing()):
            say(note)
