"""Back: the loop that observes jobs, advances their states, and submits what became ready.

One driver at a time holds an experiment's lease. What it knows of the jobs is its :mod:`ledger`; it works only on what
changed, so the cost of a step does not grow with the history.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from runyard.backends.base import Handle
from runyard.engine import graph, trouble
from runyard.engine.ledger import Ledger, Tracked
from runyard.engine.trouble import Trouble
from runyard.errors import BackendError, LeaseLost, StoreError, SubmitError, UnknownExperiment
from runyard.executors.duration import clock
from runyard.states import NEVER_SATISFIED, JobState, Observation, Status, advance
from runyard.store import lease, records
from runyard.store.db import Database
from runyard.store.records import Change

CANCELLED = "cancelled"
TIME_LIMIT = "time limit"

_LOOK_SECONDS = 0.2
"""How often other processes' wishes (cancel) are looked for."""
_ASK_AGAIN_SECONDS = 5.0
"""How often a backend is reminded of a job it was to end."""


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
        self.ledger = Ledger(db, experiment_id, epoch, notify)
        self._asked: dict[str, float] = {}
        self._next_poll: dict[str, float] = {}
        self._not_before: dict[str, float] = {}
        self._doubtful: set[str] = set()
        self._trouble = Trouble(lambda text: leave_note(self.ledger.folder, text))
        self._beat = time.monotonic()
        self._version = -1

    # -- the loop ------------------------------------------------------------------------------

    def run(self) -> None:
        """Drive until every job has ended.

        Raises:
            LeaseLost: when another process took the experiment over.
        """
        looked = False
        try:
            while self.ledger.jobs:
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
                    leave_note(self.ledger.folder, e)
                    time.sleep(1.0)
                if self.ledger.jobs:
                    self.wait()
        finally:
            self.ledger.close()

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
        due = [self._next_poll.get(self.ledger.jobs[n].backend, now) for n in self.ledger.in_flight]
        timeout = max(0.001, min([_LOOK_SECONDS, *(d - now for d in due)]))
        poll = select.poll()
        count = 0
        for backend in self.ledger.backends.values():
            for fd in backend.wakeups():
                poll.register(fd, select.POLLIN)
                count += 1
        if poll.poll(timeout * 1000) and count:
            self._next_poll.clear()

    def _check_home(self) -> None:
        """Stop when somebody deleted the records: an open database does not notice, and there is nothing to keep."""
        if not self.db.path.exists() or not self.ledger.folder.is_dir():
            raise LeaseLost(f"the records of {self.id} were deleted", hint="its running jobs go on by themselves")

    # -- wishes of others ----------------------------------------------------------------------

    def _read_wishes(self) -> None:
        version = self.db.version()
        if version == self._version:
            return
        self._version = version
        self.ledger.look_elsewhere()
        for name, why in records.stops(self.db, self.id).items():
            if name in self.ledger.jobs and not self.ledger.jobs[name].stop:
                self.ledger.jobs[name].stop = why
                self.ledger.wished.add(name)

    def _stop_wished(self) -> None:
        if not self.ledger.wished:
            return
        waiting = [n for n in self.ledger.wished if self.ledger.jobs[n].status.state is JobState.CREATED]
        self.ledger.write([self._never_started(n) for n in waiting])
        again = time.monotonic() - _ASK_AGAIN_SECONDS
        due = [n for n in self.ledger.wished if n in self.ledger.in_flight and self._asked.get(n, 0.0) <= again]
        self._cancel(due)

    def _cancel(self, names: Iterable[str]) -> None:
        by_backend: dict[str, list[Handle]] = {}
        for name in names:
            tracked = self.ledger.jobs[name]
            if tracked.handle:
                by_backend.setdefault(tracked.backend, []).append(tracked.handle)
                self._asked[name] = time.monotonic()
        for key, handles in by_backend.items():
            with suppress(BackendError):  # asked again soon
                self.ledger.backends[key].cancel(handles)

    def _limit_time(self) -> None:
        now = time.time()
        over = []
        for name in self.ledger.in_flight:
            tracked = self.ledger.jobs[name]
            limit, started = tracked.job.time_limit, tracked.status.started
            if limit and started and not tracked.stop and now > started + limit:
                over.append(name)
        if over:
            self.ledger.write([Change(n, self.ledger.jobs[n].status, stop=TIME_LIMIT, event=False) for n in over])
            self._cancel(over)

    # -- observing -----------------------------------------------------------------------------

    def _observe(self) -> None:
        now = time.monotonic()
        by_backend: dict[str, dict[Handle, str]] = {}
        for name in self.ledger.in_flight:
            tracked = self.ledger.jobs[name]
            if tracked.handle and now >= self._next_poll.get(tracked.backend, 0.0):
                by_backend.setdefault(tracked.backend, {})[tracked.handle] = name
        for key, handles in by_backend.items():
            backend = self.ledger.backends[key]
            self._next_poll[key] = now + backend.features.poll_interval
            try:
                seen = backend.observe(list(handles))
            except BackendError as e:
                self._next_poll[key] = now + self._trouble.pause(key, e, backend.features.poll_interval)
                self._say_why(handles.values(), trouble.reason(e, "not seen since: "))
                continue  # could not ask: nothing is known, nothing changes
            self._trouble.over(key)
            adopted = self._adopted(key, [handles[h] for h, o in seen.items() if o.state is None])
            self.ledger.write(adopted)
            others = {c.name for c in adopted}
            changes = [self._change(handles[h], o) for h, o in seen.items() if handles[h] not in others]
            self.ledger.write([c for c in changes if c is not None])

    def _change(self, name: str, seen: Observation) -> Change | None:
        tracked = self.ledger.jobs[name]
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

    def _held_back(self, tracked: Tracked, seen: Status) -> Change | None:
        """Return what to do with a job that its scheduler ended because of a dependency, before it began."""
        if tracked.stop or seen.started or not tracked.job.dependencies:
            return None
        name = tracked.job.id.name
        go, why = graph.verdict(tracked.job.dependencies, self.ledger.states)
        if go is False:
            return Change(name, replace(seen, state=JobState.SKIPPED, reason=why, ended=time.time()))
        if seen.reason != NEVER_SATISFIED:
            return None
        # It waited for a submission that is no longer the one that counts; what it depends on is known soon, or is now.
        return Change(name, replace(tracked.status, state=JobState.CREATED, reason=""), handle=(), event=False)

    def _adopted(self, key: str, names: Sequence[str]) -> list[Change]:
        """Return changes to other submissions of the same attempts, where those are the ones that claimed them."""
        mine = [self.ledger.jobs[n] for n in names]
        if not mine:
            return []
        try:
            found = self.ledger.backends[key].find([(t.request, t.status.attempt) for t in mine])
        except BackendError:
            return []
        return [
            Change(t.job.id.name, replace(t.status, misses=0, restarts=0), handle=other, event=False)
            for t in mine
            if (other := found.get(t.job.id)) and other != t.handle
        ]

    # -- submitting ----------------------------------------------------------------------------

    def _recover(self) -> None:
        """Adopt or submit again the jobs whose submission may or may not have happened."""
        now = time.monotonic()
        due = [n for n in self.ledger.unsubmitted if self._not_before.get(n, 0.0) <= now]
        self._doubtful.update(due)
        if not due:
            return
        for key, names in self.ledger.by_backend(due).items():
            tracked = [self.ledger.jobs[n] for n in names]
            try:
                found = self.ledger.backends[key].find([(t.request, t.status.attempt) for t in tracked])
            except BackendError as e:
                self._not_before |= dict.fromkeys(names, now + self._trouble.pause(key, e))
                continue  # not knowing is no reason to submit again
            missing = [t for t in tracked if t.job.id not in found]
            self.ledger.write([self._submitted(id.name, handle) for id, handle in found.items()])
            unwanted = [t.job.id.name for t in missing if t.stop == CANCELLED]
            self.ledger.write([self._never_started(n) for n in unwanted])
            self._submit([t.job.id.name for t in missing if t.stop != CANCELLED])

    def _say_why(self, names: Iterable[str], reason: str) -> None:
        """Show in the status of jobs why nothing happens."""
        changed = [n for n in names if self.ledger.jobs[n].status.reason != reason]
        self.ledger.write([Change(n, replace(self.ledger.jobs[n].status, reason=reason), event=False) for n in changed])

    def _never_started(self, name: str) -> Change:
        status = self.ledger.jobs[name].status
        return Change(name, replace(status, state=JobState.CANCELLED, reason="before it started", ended=time.time()))

    def _release(self) -> None:
        """Submit what has become ready, as far as the limits allow; skip what never can."""
        batch: list[str] = []
        try:
            for backend, queue in list(self.ledger.ready.items()):  # what is skipped may offer more
                if queue:
                    batch += self._admit(queue, self.ledger.occupied(backend))
            self.ledger.write(
                [Change(n, replace(self.ledger.jobs[n].status, state=JobState.SUBMITTING), event=False) for n in batch]
            )
        except StoreError:
            self.ledger.offer_all()  # nothing is written: all that waits is looked at again
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
            tracked = self.ledger.jobs.get(name)
            if tracked is None or tracked.status.state is not JobState.CREATED or name in batch:
                continue
            go, why = graph.verdict(tracked.job.dependencies, self.ledger.states)
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

    def _native(self, tracked: Tracked) -> tuple[tuple[Handle, str], ...]:
        """Return the dependencies of a job, if its own scheduler can see to all that are not satisfied yet.

        A job that may be submitted anew, for a retry or because of a lost answer, is not what its dependents should
        wait for under its present number: ``afterok`` would then never be satisfied (and the dependent is offered
        again), but the other kinds would be, too early.
        """
        out = []
        if not self.ledger.backends[tracked.backend].features.native_dependencies:
            return ()
        for dependency in tracked.job.dependencies:
            if graph.verdict([dependency], self.ledger.states)[0]:
                continue
            upstream = self.ledger.jobs.get(dependency.name)
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
        status = replace(self.ledger.jobs[name].status, state=JobState.SKIPPED, reason=why, ended=time.time())
        self.ledger.write([Change(name, status)])

    def _submit(self, names: Sequence[str]) -> None:
        for key, group in self.ledger.by_backend(names).items():
            mine = [self.ledger.jobs[n] for n in group]
            requests = [t.request.at(t.status.attempt, t.secrets, self._native(t)) for t in mine]
            try:
                results = self.ledger.backends[key].submit(requests)
            except BackendError as e:
                # Whether any of them arrived is unknown; the next step asks with `find` before it submits again.
                self._doubtful.update(group)
                self._not_before |= dict.fromkeys(group, time.monotonic() + self._trouble.pause(key, e))
                self._say_why(group, trouble.reason(e))
                continue
            self._trouble.over(key)
            changes = []
            for name, result in zip(group, results, strict=True):
                self.ledger.jobs[name].certain = name not in self._doubtful
                changes.append(self._submitted(name, result))
            self.ledger.write(changes)

    def _submitted(self, name: str, result: Handle | SubmitError) -> Change:
        status = self.ledger.jobs[name].status
        if isinstance(result, Handle):
            if len(self.ledger.jobs[name].job.components) == 1:
                _link_log(result.folder, status.attempt)
            return Change(name, replace(status, state=JobState.PENDING), handle=result)
        if result.retryable:
            self._not_before[name] = time.monotonic() + 1.0
            state = JobState.CREATED if status.attempt == 1 else JobState.SUBMITTING
            return Change(name, replace(status, state=state, reason=result.message), event=False)
        return Change(name, replace(status, state=JobState.FAILED, reason=str(result), ended=time.time()))


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
