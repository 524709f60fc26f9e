"""Staying with an experiment that this command launched, and the exit code that follows from it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from runyard.cli.failures import INTERRUPTED
from runyard.cli.output import count, emit, say
from runyard.engine import report
from runyard.engine.controller import Controller
from runyard.engine.follow import Detached, Follower, View
from runyard.engine.plan import PlannedJob
from runyard.engine.report import JobResult
from runyard.store.db import Database
from runyard.store.records import EventRow, JobRow
from runyard.terminal import look


class _Quiet(View):
    """Prints log lines only."""

    def event(self, event: EventRow, seconds: float | None) -> None:
        """Say nothing."""

    def progress(self, rows: Sequence[JobRow], since: float) -> None:
        """Draw nothing."""


def leave(db: Database, id: str, controller: Controller, quiet: bool) -> int:
    """Let a launched experiment go on by itself; its id is printed as data."""
    controller.forget()
    emit(id)
    if not quiet:
        say(f"launched, detached\n{report.commands(id, report.results(db, id))}")
    return 0


def attend(db: Database, id: str, jobs: Sequence[PlannedJob], controller: Controller, quiet: bool) -> int:
    """Show what happens until all jobs have ended. The log of a single job is streamed.

    Returns:
        The exit code: the job's own when there is one, else 0 or 1; 130 after Ctrl-C.

    Raises:
        TaskFailed: when one of several jobs did not succeed.
    """
    names = [p.job.id.name for p in jobs]
    tail = frozenset(names if len(names) == 1 else [])
    if len(names) > 1 and not quiet:
        say(f"{id}: {count(len(names), 'task')}")
    follower = Follower(db, id, (_Quiet if quiet else View)(names, tail), controller)
    try:
        follower.run()
    except Detached:
        say(f"detached; {id} goes on\n{report.commands(id, report.results(db, id))}")
        return 0
    except BrokenPipeError:
        follower.detach()
        say(f"nobody reads the output any more; {id} goes on\n{report.commands(id, report.results(db, id))}")
        raise
    found = report.results(db, id)
    if follower.interrupted:
        return INTERRUPTED
    return _single(found[0]) if len(found) == 1 else _several(db, id, found, quiet)


def _single(result: JobResult) -> int:
    return 0 if result.ok else result.exit_code or 1


def _several(db: Database, id: str, found: Sequence[JobResult], quiet: bool) -> int:
    if not quiet:
        say("\n" + report.status_table(db, id, *look(sys.stderr)) + "\n\n" + report.commands(id, found))
    if failure := report.failure(db, found):
        raise failure
    return 0
