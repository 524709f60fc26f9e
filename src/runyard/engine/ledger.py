"""What a driver knows of its experiment: the jobs that have not ended, and what each of them waits for.

It is kept in memory, follows what is written to the store, and is indexed by what has to be done, so that a step's
cost does not grow with the number of jobs that wait or have ended.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runyard import executors
from runyard.backends.base import Backend, Handle, Job, Request
from runyard.backends.registry import backend_class
from runyard.engine import external
from runyard.engine.record import forget_secrets
from runyard.states import JobState, Status
from runyard.store import layout, records
from runyard.store.db import Database
from runyard.store.records import Change


@dataclass
class Tracked:
    """A job that has not ended.

    Args:
        job: The job.
        request: What is submitted.
        status: Where it stands.
        handle: Its submission, once there is one.
        stop: Why it is to end, or nothing.
        secrets: Its file of secrets, or nothing.
        backend: Key of its backend.
        certain: Its handle is that of the only submission of the attempt there can be.
    """

    job: Job
    request: Request
    status: Status
    handle: Handle | None
    stop: str
    secrets: str
    backend: str
    certain: bool = False


class Ledger:
    """The jobs of one experiment, for the process that holds its lease.

    Attributes:
        jobs: Jobs that have not ended, by name.
        states: Where every task stands, also those that have ended and those of other experiments that ours wait for.
        backends: The backends, by key.
        in_flight: Names of jobs that were submitted and have not ended, in order.
        unsubmitted: Names of jobs whose submission may or may not have happened.
        wished: Names of jobs that are to end.
        ready: By backend, names of jobs that may have become ready.

    Args:
        db: The store.
        experiment_id: Which experiment.
        epoch: Epoch of the lease this process holds; every write carries it.
        notify: Called after changes were written.
    """

    def __init__(self, db: Database, experiment_id: str, epoch: int, notify: Callable[[], None]) -> None:
        self._db, self._id, self._epoch, self._notify = db, experiment_id, epoch, notify
        row = records.experiment(db, experiment_id)
        self.folder = db.home / row.folder
        layout.publish(db.home, row.folder)
        self._events = (self.folder / layout.EVENTS).open("a", encoding="utf-8")
        self.jobs: dict[str, Tracked] = {}
        self.states: dict[str, JobState] = {}
        self.backends: dict[str, Backend] = {}
        self.in_flight: dict[str, None] = {}
        self.unsubmitted: dict[str, None] = {}
        self.wished: set[str] = set()
        self.ready: dict[str, deque[str]] = {}
        self._dependents: dict[str, list[str]] = {}
        for job_row in records.jobs(db, experiment_id):
            self._load(job_row)
        self._elsewhere = {n for n in self._dependents if external.is_external(n)}
        self.look_elsewhere()
        self.offer_all()

    def _load(self, row: records.JobRow) -> None:
        job = Job.from_json(row.spec)
        self.states[row.name] = row.status.state
        for dependency in job.dependencies:
            self._dependents.setdefault(dependency.name, []).append(row.name)
        if row.status.state.ended:
            return
        executor = executors.from_dict(job.components[0].executor)
        backend_type = backend_class(executor)
        key = f"{job.kind}:{backend_type.cluster(executor)}"
        if key not in self.backends:
            self.backends[key] = backend_type.connect(executor, str(self._db.home))
        request = Request.from_json(row.request, _Files(job.local_dir, row.request["files"]))
        handle = Handle(*row.handle) if row.handle else None
        self.jobs[row.name] = Tracked(job, request, row.status, handle, row.stop, row.secrets, key)
        if row.stop:
            self.wished.add(row.name)
        if row.status.state.in_flight:
            (self.in_flight if handle else self.unsubmitted)[row.name] = None

    def look_elsewhere(self) -> None:
        """See how the tasks of other experiments stand that ours depend on."""
        if not self._elsewhere:
            return
        for name, state in external.states(self._db, self._elsewhere).items():
            if self.states.get(name) is not state:
                self.states[name] = state
                for dependent in self._dependents[name]:
                    self._offer(dependent)
            if state.ended:
                self._elsewhere.discard(name)

    def offer_all(self) -> None:
        """Look at every waiting job at the next chance."""
        self.ready.clear()
        for name in self.jobs:
            self._offer(name)

    def _offer(self, name: str) -> None:
        """Look at a waiting job at the next chance."""
        tracked = self.jobs.get(name)
        if tracked and tracked.status.state is JobState.CREATED:
            self.ready.setdefault(tracked.backend, deque()).append(name)

    def by_backend(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Return names of jobs by the key of their backend."""
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(self.jobs[name].backend, []).append(name)
        return groups

    def occupied(self, backend: str) -> int:
        """Return how many jobs a backend has in flight, or may have."""
        return sum(self.jobs[name].backend == backend for name in (*self.in_flight, *self.unsubmitted))

    def write(self, changes: Sequence[Change]) -> None:
        """Store changes, then follow them up in memory.

        Raises:
            LeaseLost: when another process has taken the experiment over; nothing is written.
            StoreError: when they could not be written; nothing is.
        """
        if not changes:
            return
        at = time.time()
        for change in changes:
            # Before the end is written: nobody looks after a job that has ended, should we be killed in between.
            if change.status.state.ended and self.jobs[change.name].secrets:
                forget_secrets(self._db.home, self._id, change.name)
        records.apply(self._db, self._id, self._epoch, changes, at)
        for change in changes:
            self._follow_up(change)
        with suppress(OSError):  # the database has it; this file is for people and for rebuilding
            for change in changes:
                if change.ended_attempt:
                    self._events.write(layout.event_line(change.name, change.ended_attempt, at))
                if change.event:
                    self._events.write(layout.event_line(change.name, change.status, at))
            self._events.flush()
        self._notify()

    def _follow_up(self, change: Change) -> None:
        name, status, tracked = change.name, change.status, self.jobs[change.name]
        tracked.status = status
        if change.stop is not None:
            tracked.stop = change.stop
            (self.wished.add if change.stop else self.wished.discard)(name)
        if change.handle is not None:
            tracked.handle = Handle(*change.handle) if change.handle else None
        before, self.states[name] = self.states[name], status.state
        self.in_flight.pop(name, None)
        self.unsubmitted.pop(name, None)
        if status.state.in_flight:
            (self.in_flight if tracked.handle else self.unsubmitted)[name] = None
        elif status.state is JobState.CREATED:
            self._offer(name)
        else:
            del self.jobs[name]
            self.wished.discard(name)
        if before != status.state:
            for dependent in self._dependents.get(name, ()):
                self._offer(dependent)

    def close(self) -> None:
        """Close the file of events."""
        self._events.close()


class _Files(dict[str, str]):
    """The text of a request's files, read from the job's folder when a backend asks for it."""

    def __init__(self, folder: str, names: Iterable[str]) -> None:
        super().__init__(dict.fromkeys(names, ""))
        self._folder = folder

    def __getitem__(self, name: str) -> str:
        return Path(self._folder, name).read_text("utf-8", "surrogateescape")
