"""Watching an experiment from an attached process: states, live logs, and the user's Ctrl-C."""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TextIO

from runyard.engine import controller as controllers
from runyard.engine import logs
from runyard.engine.controller import Controller
from runyard.errors import BackendError, ConfigError, RunyardError, StoreError
from runyard.states import JobState
from runyard.store import records
from runyard.store.db import Database
from runyard.store.records import EventRow, JobRow
from runyard.terminal import LABEL_COLOURS, duration, has_colour, is_terminal, paint, width

STATE_STYLE = {
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.LOST: "red",
    JobState.CANCELLED: "yellow",
    JobState.SKIPPED: "yellow",
    JobState.RUNNING: "blue",
}
TERMINATE_SECONDS = 30.0
"""How long a terminated launcher waits for the end of its jobs."""
_LOOK_SECONDS = 0.1
_DEATHS = 5
"""So many controllers may die under one experiment before watching it gives up."""


class Detached(Exception):
    """The user chose to leave an attached run; it goes on."""


class Terminated(BaseException):
    """This process was asked to end (SIGTERM)."""


@dataclass
class View:
    """Prints what happens.

    Args:
        names: All tasks, for the width of labels.
        tail: Tasks whose logs are streamed.
        out: Where log lines go.
        err: Where everything else goes.
    """

    names: Sequence[str]
    tail: frozenset[str]
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)

    def __post_init__(self) -> None:
        self._wide = min(max(map(len, self.names), default=0), 28)
        self._single = len(self.names) == 1
        self._colour, self._err_colour = has_colour(self.out), has_colour(self.err)
        self._live = is_terminal(self.err) and not self._single
        self._shown = ""
        self._index = {name: i for i, name in enumerate(self.names)}

    def line(self, name: str, member: str, text: str) -> None:
        """Print one log line, labelled unless there is only one task."""
        self.clear()
        label = f"{name}/{member}" if member else name
        if self._single:
            prefix = f"{member} | " if member else ""
        else:
            colour = LABEL_COLOURS[self._index.get(name, 0) % len(LABEL_COLOURS)]
            prefix = paint(f"{label:<{self._wide}} | ", colour, self._colour)
        self.out.write(f"{prefix}{text}\n")

    def event(self, event: EventRow, seconds: float | None) -> None:
        """Print a change of state that a person wants to know."""
        state = event.state
        if state not in STATE_STYLE or (self._single and not (state.ended or event.attempt > 1)):
            return
        if state is JobState.RUNNING and event.attempt == 1 and self._single:
            return
        self.clear()
        self.out.flush()
        attempt = f" (attempt {event.attempt})" if event.attempt > 1 else ""
        took = f" in {duration(seconds)}" if state.ended and seconds is not None else ""
        why = f": {event.reason}" if event.reason and state is not JobState.SUCCEEDED else ""
        word = paint(state.lower(), STATE_STYLE[state], self._err_colour)
        self.err.write(f"{event.name:<{self._wide}} * {word}{attempt}{took}{why}\n")

    def progress(self, rows: Sequence[JobRow], since: float) -> None:
        """Redraw the line of progress at the bottom of a terminal."""
        if not self._live:
            return
        ended = sum(r.status.state.ended for r in rows)
        running = sum(r.status.state is JobState.RUNNING for r in rows)
        parts = [f"{ended}/{len(rows)} done", f"{running} running", f"{len(rows) - ended - running} waiting"]
        text = f"{' · '.join(parts)} · {duration(time.time() - since)}"[: width() - 1]
        if text != self._shown:
            self.clear()
            self.err.write(paint(text, "dim", self._err_colour))
            self._shown = text
        self.err.flush()

    def clear(self) -> None:
        """Remove the line of progress."""
        if self._shown:
            self.err.write("\r\033[K")
            self.err.flush()
            self._shown = ""

    def flush(self) -> None:
        """Write out what is buffered."""
        self.out.flush()
        self.err.flush()


class Follower:
    """Follows an experiment until it has ended.

    Args:
        db: The store.
        experiment_id: Which one.
        view: Where it is shown.
        controller: The one this process started, if any.
        after: Event number to begin after; earlier changes are not shown.
    """

    def __init__(
        self,
        db: Database,
        experiment_id: str,
        view: View,
        controller: Controller | None = None,
        after: int = 0,
    ) -> None:
        self.db, self.id, self.view, self.controller = db, experiment_id, view, controller
        self.interrupted = False  # by the user, who had everything cancelled
        self._after = after
        self._readers: dict[str, logs.LogReader] = {}
        self._finished: set[str] = set()
        self._rows: dict[str, JobRow] = {}
        self._version = -1
        self._deaths = 0
        self._created = records.experiment(db, experiment_id).created

    def run(self) -> list[JobRow]:
        """Show what happens until every job has ended; return the jobs.

        Raises:
            Detached: when the user chose so.
        """
        while True:
            try:
                with _interruptible():
                    self._follow()
                break
            except KeyboardInterrupt:
                self._ask()
            except Terminated:
                self._terminate()
        if self.controller:
            self.controller.finish()
        return list(self._rows.values())

    def _follow(self, until: float = math.inf) -> None:
        while time.monotonic() < until:
            changed = self._refresh()
            live = any(not r.status.state.ended for r in self._rows.values())
            self._show_logs()
            if not live:
                self.view.clear()
                self.view.flush()
                return
            self.view.progress(list(self._rows.values()), self._created)
            self.view.flush()
            if not changed:
                self._wait()

    def _refresh(self) -> bool:
        version = self.db.version()
        if version == self._version:
            return False
        self._version = version
        # Events first: a change that comes between the two queries is then seen again at the next look.
        events = records.events(self.db, self.id, self._after)
        fresh = records.jobs_since(self.db, self.id, self._after) if self._rows else records.jobs(self.db, self.id)
        self._rows |= {row.name: row for row in fresh}
        for event in events:
            self._after = event.id
            row = self._rows[event.name]
            if event.state.ended and event.name in self.view.tail:
                self._drain(row)
            status = row.status
            seconds = status.ended - status.started if status.ended and status.started else None
            self.view.event(event, seconds)
        return True

    def _show_logs(self) -> None:
        for name, row in self._rows.items():
            if name in self.view.tail and name not in self._finished:
                self._drain(row)

    def _drain(self, row: JobRow) -> None:
        if row.name in self._finished or (not row.handle and not row.status.state.ended):
            return
        if row.name not in self._readers:
            found = logs.reader(self.db, row)
            if found is None:
                self._finished.add(row.name)
                return
            self._readers[row.name] = found
        ended = row.status.state.ended
        if not ended and not self._readers[row.name].is_due():
            return
        try:
            for stream, text in self._readers[row.name].lines(final=ended):
                self.view.line(row.name, logs.member_of(stream), text)
        except BackendError:
            return  # could not ask: the next look reads on from here
        if ended:
            self._finished.add(row.name)
            del self._readers[row.name]

    def _wait(self) -> None:
        if self.controller is None:
            time.sleep(_LOOK_SECONDS)
            self.controller = controllers.ensure(self.db.home, self.db, self.id)
            return
        fd = self.controller.changes.fileno()
        if select.select([fd], [], [], _LOOK_SECONDS)[0] and not os.read(fd, 4096):
            # It has ended: with the experiment, or before its time, and then another one takes over.
            self.controller.finish()
            self._deaths += 1
            if self._deaths > _DEATHS and records.experiment(self.db, self.id).live:
                folder = self.db.home / records.experiment(self.db, self.id).folder
                raise StoreError(
                    f"the controller of {self.id} has ended {self._deaths} times before its experiment",
                    hint=f"its last words are in {folder / 'controller.log'}",
                )
            self.controller = controllers.ensure(self.db.home, self.db, self.id)

    # -- the user's signals --------------------------------------------------------------------

    def _ask(self) -> None:
        asks = is_terminal(sys.stdin) and is_terminal(self.view.err)
        try:
            answer = self._answer() if asks else "c"
        except KeyboardInterrupt:  # again, be it before the whole question stands there
            answer = "d"
        if answer == "d":
            self.detach()
            raise Detached
        if answer == "c":
            self.interrupted = True
            self.view.clear()
            self.view.flush()
            self.view.err.write(f"cancelling {self.id} …\n")
            self.view.err.flush()
            self.cancel()

    def _answer(self) -> str:
        self.view.clear()
        self.view.flush()
        self.view.err.write("\nInterrupted. [d]etach (it goes on), [c]ancel it, or [g]o on watching? ")
        self.view.err.flush()
        return sys.stdin.readline().strip().lower()[:1] or "g"

    def detach(self) -> None:
        """Leave the experiment to its controller."""
        self.view.clear()
        if self.controller:
            self.controller.forget()
            self.controller = None

    def cancel(self) -> None:
        """Ask for the end of every job that has not ended."""
        records.request_stop(self.db, self.id, [r.name for r in records.jobs(self.db, self.id)])

    def _terminate(self) -> None:
        self.cancel()
        self.view.err.write(f"terminated: cancelling {self.id} …\n")
        with suppress(RunyardError, KeyboardInterrupt):
            # No longer: where a cluster cannot be asked, only the controller goes on trying.
            self._follow(until=time.monotonic() + TERMINATE_SECONDS)
        raise SystemExit(128 + signal.SIGTERM)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn SIGTERM into :class:`Terminated` while the block runs, where signals can be caught."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def caught(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    signal.signal(signal.SIGTERM, caught)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def names_of(rows: Sequence[JobRow], wanted: Sequence[str]) -> list[str]:
    """Return the names of jobs, given by name or by position; all of them when nothing is given.

    Raises:
        ConfigError: for an unknown one, with the nearest name.
    """
    from difflib import get_close_matches

    if not wanted:
        return [r.name for r in rows]
    known = [r.name for r in rows]
    out = []
    for name in wanted:
        if name in known:
            out.append(name)
        elif name.isdigit() and int(name) < len(known):
            out.append(known[int(name)])
        else:
            near = get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"no task {name!r} in {rows[0].experiment}", hint=f"{meant}its tasks are: {', '.join(known)}"
            )
    return out
