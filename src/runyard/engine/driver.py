"""Back: the loop that observes jobs, advances their states, and submits what became ready.

One driver at a time holds an experiment's lease. It keeps what it needs in memory, works only on
what changed, and writes every change with its lease's epoch; so the cost of a step does not grow
with the number of jobs that wait or have ended, nor with the history.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from runyard import executors
from runyard.backends.base import Backend, Handle, Job, Request
from runyard.backends.registry import backend_class
from runyard.engine import external, graph, trouble
from runyard.engine.record import forget_secrets
from runyard.engine.trouble import Trouble
from runyard.errors import BackendError, LeaseLost, StoreError, SubmitError, UnknownExperiment
from runyard.executors.duration import clock
from runyard.states import NEVER_SATISFIED, JobState, Observation, Status, advance
from runyard.store import layout, lease, records
from runyard.store.db import Database
from runyard.store.records import Change

CANCELLED = "cancelled"
TIME_LIMIT = "time limit"

_LOOK_SECONDS = 0.2
"""How often other processes' wishes (cancel) are looked for."""
_ASK_AGAIN_SECONDS = 5.0
"""How often a backend is reminded of a job it was to end."""


@dataclass
class _Tracked:
    """A job that has not ended, as the driver knows it."""

    job: Job
    request: Request
    status: Status
    handle: Handle | None
    stop: str
    secrets: str
    backend: str
    certain: bool = False
    """Its handle is that of the only submission of the attempt there can be."""


class Driver:
    """Drives one experiment to its end.

    Args:
        db: The store.
        experiment_id: Which experiment.
        epoch: Epoch of the lease this process holds.
        notify: Called after changes were written.
    """

    def __init__(self, db: Database, experiment_id: str, epoch: int, notify: Callable[[], None] = lambda: None) -> None:
        self.db, self.id, self.epoch, self._notify = db, experiment_id, epoch, notify
        row = records.experiment(db, experiment_id)
        self._folder = db.home / row.folder
        layout.publish(db.home, row.folder)
        self._events = (self._folder / layout.EVENTS).open("a", encoding="utf-8")
        self._states: dict[str, JobState] = {}
        self._jobs: dict[str, _Tracked] = {}
        self._backends: dict[str, Backend] = {}
        self._dependents: dict[str, list[str]] = {}
        self._ready: dict[str, deque[str]] = {}
        self._wished: set[str] = set()
        self._asked: dict[str, float] = {}
        self._in_flight: dict[str, None] = {}
        self._unsubmitted: dict[str, None] = {}
        self._next_poll: dict[str, float] = {}
        self._not_before: dict[str, float] = {}
        self._doubtful: set[str] = set()
        self._trouble = Trouble(lambda text: leave_note(self._folder, text))
        self._beat = time.monotonic()
        self._version = -1
        for job_row in records.jobs(db, experiment_id):
            self._load(job_row)
        self._elsewhere = {n for n in self._dependents if external.is_external(n)}
        if self._elsewhere:
            self._look_elsewhere()
        for name in self._jobs:
            self._offer(name)

    def _look_elsewhere(self) -> None:
        """See how the tasks of other experiments stand that ours depend on."""
        for name, state in external.states(self.db, self._elsewhere).items():
            if self._states.get(name) is not state:
                self._states[name] = state
                for dependent in self._dependents[name]:
                    self._offer(dependent)
            if state.ended:
                self._elsewhere.discard(name)

    def _load(self, row: records.JobRow) -> None:
        job = Job.from_json(row.spec)
        self._states[row.name] = row.status.state
        for dependency in job.dependencies:
            self._dependents.setdefault(dependency.name, []).append(row.name)
        if row.status.state.ended:
            return
        executor = executors.from_dict(job.components[0].executor)
        backend_type = backend_class(executor)
        key = f"{job.kind}:{backend_type.cluster(executor)}"
        if key not in self._backends:
            self._backends[key] = backend_type.connect(executor, str(self.db.home))
        request = Request.from_json(row.request, _Files(job.local_dir, row.request["files"]))
        handle = Handle(*row.handle) if row.handle else None
        self._jobs[row.name] = _Tracked(job, request, row.status, handle, row.stop, row.secrets, key)
        if row.stop:
            self._wished.add(row.name)
        if row.status.state.in_flight:
            (self._in_flight if handle else self._unsubmitted)[row.name] = None

    def _offer(self, name: str) -> None:
        """Look at a waiting job at the next chance."""
        tracked = self._jobs.get(name)
        if tracked and tracked.status.state is JobState.CREATED:
            self._ready.setdefault(tracked.backend, deque()).append(name)

    # -- the loop ------------------------------------------------------------------------------

    def run(self) -> None:
        """Drive until every job has ended.

        Raises:
            LeaseLost: when another process took the experiment over.
        """
        looked = False
        try:
            while self._jobs:
                try:
                    self.step()
                    if not looked:
                        looked = True
                        self._notify()  # who waits for news knows now that there is none
                except (LeaseLost, UnknownExperiment):
                    raise
                except StoreError as e:
                    self._check_home()
                    # A full disk, say. Nothing is lost by waiting: what was not written is seen again.
                    leave_note(self._folder, e)
                    time.sleep(1.0)
                if self._jobs:
                    self.wait()
        finally:
            self._events.close()

    def step(self) -> None:
        """Do all that can be done now."""
        self._read_wishes()
        self._stop_wished()
        self._observe()
        self._limit_time()
        self._recover()
        self._release()

    def wait(self) -> None:
        """Wait until a job may have changed, or it is time to look."""
        now = time.monotonic()
        if now - self._beat > lease.BEAT_SECONDS:
            self._check_home()
            with suppress(StoreError):  # a full disk, say; the next beat may succeed
                lease.beat(self.db, self.id, self.epoch)
            self._beat = now
        due = [self._next_poll.get(self._jobs[n].backend, now) for n in self._in_flight]
        timeout = max(0.001, min([_LOOK_SECONDS, *(d - now for d in due)]))
        poll = select.poll()
        count = 0
        for backend in self._backends.values():
            for fd in backend.wakeups():
                poll.register(fd, select.POLLIN)
                count += 1
        if poll.poll(timeout * 1000) and count:
            self._next_poll.clear()

    def _check_home(self) -> None:
        """Stop when somebody deleted the records: an open database does not notice, and there is nothing to keep."""
        if not self.db.path.exists() or not self._folder.is_dir():
            raise LeaseLost(f"the records of {self.id} were deleted", hint="its running jobs go on by themselves")

    # -- wishes of others ----------------------------------------------------------------------

    def _read_wishes(self) -> None:
        version = self.db.version()
        if version == self._version:
            return
        self._version = version
        if self._elsewhere:
            self._look_elsewhere()
        for name, why in records.stops(self.db, self.id).items():
            if name in self._jobs and not self._jobs[name].stop:
                self._jobs[name].stop = why
                self._wished.add(name)

    def _stop_wished(self) -> None:
        if not self._wished:
            return
        waiting = [n for n in self._wished if self._jobs[n].status.state is JobState.CREATED]
        self._write([self._never_started(n) for n in waiting])
        again = time.monotonic() - _ASK_AGAIN_SECONDS
        due = [n for n in self._wished if n in self._in_flight and self._asked.get(n, 0.0) <= again]
        self._cancel(due)

    def _cancel(self, names: Iterable[str]) -> None:
        by_backend: dict[str, list[Handle]] = {}
        for name in names:
            tracked = self._jobs[name]
            if tracked.handle:
                by_backend.setdefault(tracked.backend, []).append(tracked.handle)
                self._asked[name] = time.monotonic()
        for key, handles in by_backend.items():
            with suppress(BackendError):  # asked again soon
                self._backends[key].cancel(handles)

    def _limit_time(self) -> None:
        now = time.time()
        over = []
        for name in self._in_flight:
            tracked = self._jobs[name]
            limit, started = tracked.job.time_limit, tracked.status.started
            if limit and started and not tracked.stop and now > started + limit:
                over.append(name)
        if over:
            self._write([Change(n, self._jobs[n].status, stop=TIME_LIMIT, event=False) for n in over])
            self._cancel(over)

    # -- observing -----------------------------------------------------------------------------

    def _observe(self) -> None:
        now = time.monotonic()
        by_backend: dict[str, dict[Handle, str]] = {}
        for name in self._in_flight:
            tracked = self._jobs[name]
            if tracked.handle and now >= self._next_poll.get(tracked.backend, 0.0):
                by_backend.setdefault(tracked.backend, {})[tracked.handle] = name
        for key, handles in by_backend.items():
            backend = self._backends[key]
            self._next_poll[key] = now + backend.features.poll_interval
            try:
                seen = backend.observe(list(handles))
            except BackendError as e:
                self._next_poll[key] = now + self._trouble.pause(key, e, backend.features.poll_interval)
                self._say_why(handles.values(), trouble.reason(e, "not seen since: "))
                continue  # could not ask: nothing is known, nothing changes
            self._trouble.over(key)
            adopted = self._adopted(key, [handles[h] for h, o in seen.items() if o.state is None])
            self._write(adopted)
            others = {c.name for c in adopted}
            changes = [self._change(handles[h], o) for h, o in seen.items() if handles[h] not in others]
            self._write([c for c in changes if c is not None])

    def _change(self, name: str, seen: Observation) -> Change | None:
        tracked = self._jobs[name]
        old, new = tracked.status, advance(tracked.status, seen)
        if new == old:
            return None
        if new.state in (JobState.CANCELLED, JobState.LOST) and (held := self._held_back(tracked, new)):
            return held
        if not new.state.ended:
            return Change(name, new, event=(new.state, new.attempt) != (old.state, old.attempt))
        new = _judge(new, tracked.stop, tracked.job.time_limit)
        if new.state is JobState.FAILED and tracked.stop != CANCELLED and new.attempt <= tracked.job.retries:
            again = Status(JobState.SUBMITTING, attempt=new.attempt + 1, reason=f"retry after {new.reason}")
            return Change(name, again, handle=(), ended_attempt=new, stop="")
        return Change(name, new)

    def _held_back(self, tracked: _Tracked, seen: Status) -> Change | None:
        """Return what to do with a job that its scheduler ended because of a dependency, before it began."""
        if tracked.stop or seen.started or not tracked.job.dependencies:
            return None
        name = tracked.job.id.name
        go, why = graph.verdict(tracked.job.dependencies, self._states)
        if go is False:
            return Change(name, replace(seen, state=JobState.SKIPPED, reason=why, ended=time.time()))
        if seen.reason != NEVER_SATISFIED:
            return None
        # It waited for a submission that is no longer the one that counts; what it depends on is known soon, or is now.
        return Change(name, replace(tracked.status, state=JobState.CREATED, reason=""), handle=(), event=False)

    def _adopted(self, key: str, names: Sequence[str]) -> list[Change]:
        """Return changes to other submissions of the same attempts, where those are the ones that claimed them."""
        mine = [self._jobs[n] for n in names]
        if not mine:
            return []
        try:
            found = self._backends[key].find([(t.request, t.status.attempt) for t in mine])
        except BackendError:
            return []
        return [
            Change(t.job.id.name, replace(t.status, misses=0), handle=other, event=False)
            for t in mine
            if (other := found.get(t.job.id)) and other != t.handle
        ]

    # -- submitting ----------------------------------------------------------------------------

    def _recover(self) -> None:
        """Adopt or submit again the jobs whose submission may or may not have happened."""
        now = time.monotonic()
        due = [n for n in self._unsubmitted if self._not_before.get(n, 0.0) <= now]
        self._doubtful.update(due)
        if not due:
            return
        for key, names in self._by_backend(due).items():
            tracked = [self._jobs[n] for n in names]
            try:
                found = self._backends[key].find([(t.request, t.status.attempt) for t in tracked])
            except BackendError as e:
                self._not_before |= dict.fromkeys(names, now + self._trouble.pause(key, e))
                continue  # not knowing is no reason to submit again
            missing = [t for t in tracked if t.job.id not in found]
            self._write([self._submitted(id.name, handle) for id, handle in found.items()])
            unwanted = [t.job.id.name for t in missing if t.stop == CANCELLED]
            self._write([self._never_started(n) for n in unwanted])
            self._submit([t.job.id.name for t in missing if t.stop != CANCELLED])

    def _say_why(self, names: Iterable[str], reason: str) -> None:
        """Show in the status of jobs why nothing happens."""
        changed = [n for n in names if self._jobs[n].status.reason != reason]
        self._write([Change(n, replace(self._jobs[n].status, reason=reason), event=False) for n in changed])

    def _by_backend(self, names: Iterable[str]) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(self._jobs[name].backend, []).append(name)
        return groups

    def _never_started(self, name: str) -> Change:
        status = self._jobs[name].status
        return Change(name, replace(status, state=JobState.CANCELLED, reason="before it started", ended=time.time()))

    def _release(self) -> None:
        """Submit what has become ready, as far as the limits allow; skip what never can."""
        room: dict[str, int] = {}
        for name in (*self._in_flight, *self._unsubmitted):
            backend = self._jobs[name].backend
            room[backend] = room.get(backend, 0) + 1
        batch: list[str] = []
        try:
            for backend, queue in list(self._ready.items()):
                batch += self._admit(queue, room.get(backend, 0))
            self._write(
                [Change(n, replace(self._jobs[n].status, state=JobState.SUBMITTING), event=False) for n in batch]
            )
        except StoreError:
            self._ready.clear()  # nothing is written: all that waits is looked at again
            for name in self._jobs:
                self._offer(name)
            raise
        if batch:
            self._submit(batch)

    def _admit(self, queue: deque[str], used: int) -> list[str]:
        """Take from a backend's queue what may start now."""
        now = time.monotonic()
        batch: dict[str, None] = {}
        held: list[str] = []
        while queue:
            name = queue.popleft()
            tracked = self._jobs.get(name)
            if tracked is None or tracked.status.state is not JobState.CREATED or name in batch:
                continue
            go, why = graph.verdict(tracked.job.dependencies, self._states)
            if go is False:
                self._skip(name, why)
            if not go and not (go is None and self._native(tracked)):
                continue  # what it waits for offers it again
            if tracked.job.parallel_limit is not None and used >= tracked.job.parallel_limit:
                queue.appendleft(name)
                break
            if self._not_before.get(name, 0.0) > now:
                held.append(name)
                continue
            used += 1
            batch[name] = None
        queue.extendleft(reversed(held))
        return list(batch)

    def _native(self, tracked: _Tracked) -> tuple[tuple[Handle, str], ...]:
        """Return the dependencies of a job, if its own scheduler can see to all that are not satisfied yet.

        A job that may be submitted anew, for a retry or because of a lost answer, is not what its dependents should
        wait for under its present number: ``afterok`` would then never be satisfied (and the dependent is offered
        again), but the other kinds would be, too early.
        """
        out = []
        if not self._backends[tracked.backend].features.native_dependencies:
            return ()
        for dependency in tracked.job.dependencies:
            if graph.verdict([dependency], self._states)[0]:
                continue
            upstream = self._jobs.get(dependency.name)
            if (
                upstream is None
                or upstream.backend != tracked.backend
                or upstream.handle is None
                or upstream.status.state not in (JobState.PENDING, JobState.RUNNING)
                or upstream.job.retries
                or upstream.stop
                or (dependency.kind != "afterok" and not upstream.certain)
            ):
                return ()
            out.append((upstream.handle, dependency.kind))
        return tuple(out)

    def _skip(self, name: str, why: str) -> None:
        status = replace(self._jobs[name].status, state=JobState.SKIPPED, reason=why, ended=time.time())
        self._write([Change(name, status)])

    def _submit(self, names: Sequence[str]) -> None:
        for key, group in self._by_backend(names).items():
            mine = [self._jobs[n] for n in group]
            requests = [t.request.at(t.status.attempt, t.secrets, self._native(t)) for t in mine]
            try:
                results = self._backends[key].submit(requests)
            except BackendError as e:
                # Whether any of them arrived is unknown; the next step asks with `find` before it submits again.
                self._doubtful.update(group)
                self._not_before |= dict.fromkeys(group, time.monotonic() + self._trouble.pause(key, e))
                self._say_why(group, trouble.reason(e))
                continue
            self._trouble.over(key)
            changes = []
            for name, result in zip(group, results, strict=True):
                self._jobs[name].certain = name not in self._doubtful
                changes.append(self._submitted(name, result))
            self._write(changes)

    def _submitted(self, name: str, result: Handle | SubmitError) -> Change:
        status = self._jobs[name].status
        if isinstance(result, Handle):
            if len(self._jobs[name].job.components) == 1:
                _link_log(result.folder, status.attempt)
            return Change(name, replace(status, state=JobState.PENDING), handle=result)
        if result.retryable:
            self._not_before[name] = time.monotonic() + 1.0
            state = JobState.CREATED if status.attempt == 1 else JobState.SUBMITTING
            return Change(name, replace(status, state=state, reason=result.message), event=False)
        return Change(name, replace(status, state=JobState.FAILED, reason=str(result), ended=time.time()))

    # -- writing -------------------------------------------------------------------------------

    def _write(self, changes: Sequence[Change]) -> None:
        """Store changes, then follow them up in memory."""
        if not changes:
            return
        at = time.time()
        for change in changes:
            # Before the end is written: nobody looks after a job that has ended, should we be killed in between.
            if change.status.state.ended and self._jobs[change.name].secrets:
                forget_secrets(self.db.home, self.id, change.name)
        records.apply(self.db, self.id, self.epoch, changes, at)
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
        name, status, tracked = change.name, change.status, self._jobs[change.name]
        tracked.status = status
        if change.stop is not None:
            tracked.stop = change.stop
            (self._wished.add if change.stop else self._wished.discard)(name)
        if change.handle is not None:
            tracked.handle = Handle(*change.handle) if change.handle else None
        before, self._states[name] = self._states[name], status.state
        self._in_flight.pop(name, None)
        self._unsubmitted.pop(name, None)
        if status.state.in_flight:
            (self._in_flight if tracked.handle else self._unsubmitted)[name] = None
        elif status.state is JobState.CREATED:
            self._offer(name)
        else:
            del self._jobs[name]
            self._wished.discard(name)
        if before != status.state:
            for dependent in self._dependents.get(name, ()):
                self._offer(dependent)


class _Files(dict[str, str]):
    """The text of a request's files, read from the job's folder when a backend asks for it."""

    def __init__(self, folder: str, names: Iterable[str]) -> None:
        super().__init__(dict.fromkeys(names, ""))
        self._folder = folder

    def __getitem__(self, name: str) -> str:
        return Path(self._folder, name).read_text("utf-8", "surrogateescape")


def _judge(status: Status, stop: str, limit: float | None) -> Status:
    """Put together how a job ended and what we had asked for."""
    if status.state is JobState.SUCCEEDED or not stop:
        return status
    if stop == CANCELLED:
        return replace(status, state=JobState.CANCELLED, reason=CANCELLED)
    return replace(status, state=JobState.FAILED, reason=f"{stop} ({clock(limit or 0)})")


def _link_log(folder: str, attempt: int) -> None:
    """Point ``log`` in a job's folder to the newest attempt's, for people."""
    link = os.path.join(folder, "log")
    with suppress(OSError):
        if attempt > 1:
            os.unlink(link)
        os.symlink(f"attempts/{attempt}/log", link)


def leave_note(folder: Path, error: object) -> None:
    """Write down what troubled the driver, where a person looks for it."""
    with suppress(OSError), open(folder / "controller.log", "a", encoding="utf-8") as f:
        f.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {error}\n")
