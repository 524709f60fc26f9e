"""What became of an experiment, for people and programs: results, tables, dry-runs, commands."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runyard.backends.base import Job
from runyard.backends.results import attempt_dir
from runyard.engine import controller as controllers
from runyard.engine import logs
from runyard.engine.follow import STATE_STYLE
from runyard.engine.plan import Launch, PlannedJob
from runyard.errors import StoreError, TaskFailed
from runyard.states import JobState, Status
from runyard.store import records
from runyard.store.db import Database
from runyard.store.records import JobRow
from runyard.terminal import duration, table

CANCEL_SECONDS = 30.0
TAIL_LINES = 10


@dataclass(frozen=True)
class JobResult:
    """What became of one task.

    Args:
        experiment: Id of its experiment.
        name: The task's id.
        status: Where it stands.
        exit_code: Its exit code, where it ended with one.
        reason: Why it did not succeed, in words.
        attempts: How many attempts were made.
        log_path: The log of its last attempt.
        output_dir: The output folder of its last attempt.
        seconds: How long the last attempt ran.
    """

    experiment: str
    name: str
    status: JobState
    exit_code: int | None
    reason: str
    attempts: int
    log_path: Path
    output_dir: Path
    seconds: float | None

    @property
    def ok(self) -> bool:
        """True when it succeeded."""
        return self.status is JobState.SUCCEEDED


def results(db: Database, id: str) -> list[JobResult]:
    """Return what is known of each job of an experiment."""
    return [_result(row) for row in records.jobs(db, id)]


def _result(row: JobRow) -> JobResult:
    status = row.status
    folder = Job.from_json(row.spec).local_dir
    base = attempt_dir(folder, status.attempt)
    return JobResult(
        experiment=row.experiment,
        name=row.name,
        status=status.state,
        exit_code=status.exit_code,
        reason=status.reason,
        attempts=status.attempt,
        log_path=base / "log",
        output_dir=base / "output",
        seconds=seconds_of(status),
    )


def seconds_of(status: Status, now: float | None = None) -> float | None:
    """Return how long the current attempt ran, or runs already when ``now`` is given."""
    if status.started is None:
        return None
    end = status.ended if status.ended is not None else now
    return None if end is None else max(0.0, end - status.started)


def failure(db: Database, found: Sequence[JobResult], shown: frozenset[str] = frozenset()) -> TaskFailed | None:
    """Return the error for what did not succeed, or ``None``.

    Args:
        db: The store.
        found: The results.
        shown: Tasks whose log was on screen already, so that it need not be repeated.
    """
    bad = [r for r in found if not r.ok]
    if not bad:
        return None
    # The cause, before what was skipped because of it.
    order = [JobState.FAILED, JobState.LOST, JobState.CANCELLED, JobState.SKIPPED]
    first = min(bad, key=lambda r: order.index(r.status) if r.status in order else len(order))
    tail: tuple[str, ...] = ()
    if first.name not in shown:
        (row,) = (r for r in records.jobs(db, first.experiment) if r.name == first.name)
        tail = logs.tail(logs.reader(db, row), TAIL_LINES, first.attempts)
    code = first.exit_code if len(found) == 1 and first.exit_code else 1
    others = tuple(f"{r.name} ({r.status.lower()})" for r in bad if r is not first)
    return TaskFailed(
        first.name,
        first.reason or first.status.lower(),
        tail,
        exit_code=code,
        others=others[:8] + ((f"and {len(others) - 8} more",) if len(others) > 8 else ()),
        hint=f"whole log: {first.log_path}"
        if first.log_path.exists()
        else f"runyard experiment status {first.experiment}",
    )


def shown_state(state: JobState | None) -> str:
    """Return a state as tables show it."""
    if state is None:
        return "not launched"
    return "waiting" if state is JobState.CREATED else state.lower()


STYLES = {shown_state(s): style for s, style in STATE_STYLE.items()}


def status_table(db: Database, id: str, colour: bool = False, fit: int = 0) -> str:
    """Return the table of an experiment's jobs, within ``fit`` columns where there are not more."""
    now = time.time()
    rows = []
    for row in records.jobs(db, id):
        s = row.status
        why = s.reason if s.state is not JobState.SUCCEEDED else ""
        if row.stop and not s.state.ended:
            why = f"being ended: {row.stop}"
        rows.append(
            (
                row.name,
                shown_state(s.state),
                str(s.attempt),
                duration(seconds_of(s, now)),
                row.spec["kind"],
                why or "",
            )
        )
    head = f"{id}"
    return f"{head}\n{table(('TASK', 'STATE', 'ATTEMPT', 'TIME', 'ON', 'REASON'), rows, colour, STYLES, fit)}"


def status_dict(db: Database, id: str) -> dict[str, dict[str, Any]]:
    """Return where each job stands, by name, as plain JSON."""
    out = {}
    for row in records.jobs(db, id):
        s = row.status
        out[row.name] = {
            "status": str(s.state),
            "handle": "/".join(row.handle[:3]) if row.handle else None,
            "local_dir": Job.from_json(row.spec).local_dir,
            "attempt": s.attempt,
            "reason": s.reason,
            "exit_code": s.exit_code,
            "started": s.started,
            "ended": s.ended,
            "where": s.where,
        }
    return out


def commands(id: str, found: Sequence[JobResult]) -> str:
    """Return the commands that are of use now for an experiment."""
    verbs = ["status", "logs"]
    if any(not r.status.ended for r in found):
        verbs += ["logs -f", "cancel"]
    elif any(not r.ok for r in found):
        verbs.append("rerun --failed")
    return "\n".join(f"  runyard experiment {verb} {shlex.quote(id)}" for verb in verbs)


def dryrun(where: Launch, jobs: Sequence[PlannedJob], code: Sequence[str] = ()) -> str:
    """Return what would be submitted, byte for byte, after the lines about the code that ships."""
    count = "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"
    out = [f"# {where.id}: {count}; nothing is submitted\n", *(f"# {line}\n" for line in code)]
    for planned in jobs:
        job = planned.job
        out.append(f"\n# ---- {job.id.name} ({planned.executor.info()})\n")
        if job.dependencies:
            out.append(f"# after: {', '.join(f'{d.name} ({d.kind})' for d in job.dependencies)}\n")
        if job.retries:
            out.append(f"# retries: {job.retries}\n")
        if job.time_limit:
            out.append(f"# time limit: {job.time_limit:g} s\n")
        if planned.secrets:
            out.append(f"# secrets: {', '.join(f'{name}=***' for name in sorted(planned.secrets))}\n")
        out.append(f"# command: {shlex.join(planned.request.command)}\n")
        for name, text in planned.request.files.items():
            out.append(f"# file: {planned.request.folder}/{name}\n{text}")
    return "".join(out)


def cancel(db: Database, id: str, names: Sequence[str], wait_seconds: float = CANCEL_SECONDS) -> list[JobResult]:
    """Ask for the end of jobs, and wait until they have ended.

    Returns:
        The results of these jobs.

    Raises:
        StoreError: when some have not ended in time; they are still being ended then.
    """
    records.request_stop(db, id, names)
    if controller := controllers.ensure(db.home, db, id):
        controller.forget()
    wanted = set(names)
    until = time.monotonic() + wait_seconds
    while True:
        mine = [r for r in results(db, id) if r.name in wanted]
        left = [r.name for r in mine if not r.status.ended]
        if not left:
            return mine
        if time.monotonic() > until:
            raise StoreError(
                f"{_some(left)} of {id} did not end within {wait_seconds:g} s; they are still being ended",
                hint=f"look again with: runyard experiment status {id}",
            )
        time.sleep(0.05)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def counts_text(counts: Mapping[JobState, int]) -> str:
    """Return how many jobs are in which state, in words.

    Example:
        >>> counts_text({JobState.SUCCEEDED: 3, JobState.FAILED: 1})
        '3 succeeded, 1 failed'
    """
    order = list(JobState)
    shown = sorted(counts.items(), key=lambda kv: (-kv[1], order.index(kv[0])))
    return ", ".join(f"{n} {shown_state(s)}" for s, n in shown)
