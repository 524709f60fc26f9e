"""Job states, what backends report, and the one rule that turns reports into states.

Nothing here does I/O: :func:`advance` is a pure function of what was known and what was
seen, so every rule ("could not ask is not gone", "a vanished job is lost, never succeeded")
is tested on plain values.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace


class JobState(enum.StrEnum):
    """Where a job stands.

    ``CREATED → SUBMITTING → PENDING → RUNNING → SUCCEEDED | FAILED | CANCELLED | SKIPPED | LOST``.
    """

    CREATED = "CREATED"
    """Recorded; waits for its dependencies or for a free slot."""
    SUBMITTING = "SUBMITTING"
    """The intent to submit is recorded; whether the scheduler has it may be unknown."""
    PENDING = "PENDING"
    """The scheduler has it and has not started it."""
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"
    """Never submitted, because a dependency can no longer be satisfied."""
    LOST = "LOST"
    """The scheduler no longer knows it and it left no result: the outcome is unknown."""

    @property
    def ended(self) -> bool:
        """True for states that never change again."""
        return self in ENDED

    @property
    def in_flight(self) -> bool:
        """True while a scheduler has, or may have, the job."""
        return self in IN_FLIGHT


ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.SKIPPED, JobState.LOST})
IN_FLIGHT = frozenset({JobState.SUBMITTING, JobState.PENDING, JobState.RUNNING})

MISSES_UNTIL_LOST = 3
"""Successful observations in a row that don't show a job before it counts as lost."""


@dataclass(frozen=True)
class Observation:
    """What one successful query of a scheduler showed about one job.

    Args:
        state: The state, or ``None`` when the scheduler answered and did not show the job.
        exit_code: Exit code of the job, where known.
        reason: Why it ended, in words: ``exit code 3``, ``signal SIGKILL``, ``out of memory (OOM)``,
            ``time limit``, ``node failure``, ``preempted`` …
        native: The scheduler's own word for the state, shown as it is.
        restarts: How many attempts more than that it was submitted for the scheduler itself made (by requeues).
        started: Start time, seconds since the epoch.
        ended: End time, seconds since the epoch.
        where: Host or hosts the job runs on.
    """

    state: JobState | None
    exit_code: int | None = None
    reason: str = ""
    native: str = ""
    restarts: int = 0
    started: float | None = None
    ended: float | None = None
    where: str = ""


@dataclass(frozen=True)
class Status:
    """What is known about the current attempt of a job.

    Args:
        state: Where it stands.
        attempt: Number of the attempt, from 1.
        reason: Why it is in this state.
        exit_code: Exit code, once ended and known.
        native: The scheduler's own word for the state.
        misses: Successful observations in a row that did not show the job.
        restarts: Restarts by the scheduler that are already counted in ``attempt``.
        started: Start of the current attempt, seconds since the epoch.
        ended: End, seconds since the epoch.
        where: Host or hosts.
    """

    state: JobState = JobState.CREATED
    attempt: int = 1
    reason: str = ""
    exit_code: int | None = None
    native: str = ""
    misses: int = 0
    restarts: int = 0
    started: float | None = None
    ended: float | None = None
    where: str = ""


def advance(old: Status, seen: Observation | None) -> Status:
    """Return what is known about a job after one observation.

    Args:
        old: What was known before.
        seen: What the query showed; ``None`` when the scheduler could not be asked.

    Returns:
        The new status; ``old`` itself when nothing changed.

    The rules: without an observation nothing changes. An ended job never changes. A job that
    the scheduler does not show is counted, and is ``LOST`` after :data:`MISSES_UNTIL_LOST`
    such observations. A rise of ``restarts`` starts a new attempt, and ``RUNNING → PENDING``
    is legal. A job being submitted is never moved by a query that does not show it: only a
    submission or ``Backend.find`` can tell.

    Example:
        >>> advance(Status(JobState.RUNNING), None).state
        <JobState.RUNNING: 'RUNNING'>
        >>> advance(Status(JobState.RUNNING), Observation(JobState.SUCCEEDED, exit_code=0)).state
        <JobState.SUCCEEDED: 'SUCCEEDED'>
    """
    if seen is None or old.state.ended:
        return old
    if seen.state is None:
        return _missed(old, seen)
    attempt, started = old.attempt, old.started
    if seen.restarts > old.restarts:
        attempt += seen.restarts - old.restarts
        started = None
    state = seen.state
    if state in (JobState.CREATED, JobState.SUBMITTING, JobState.SKIPPED):
        raise ValueError(f"a backend cannot observe {state}")
    new = replace(
        old,
        state=state,
        attempt=attempt,
        reason=seen.reason,
        exit_code=seen.exit_code if seen.exit_code is not None else (0 if state is JobState.SUCCEEDED else None),
        native=seen.native,
        misses=0,
        restarts=max(old.restarts, seen.restarts),
        started=seen.started if seen.started is not None else started,
        ended=seen.ended,
        where=seen.where or old.where,
    )
    return old if new == old else new


def _missed(old: Status, seen: Observation) -> Status:
    if old.state not in (JobState.PENDING, JobState.RUNNING):
        return old
    misses = old.misses + 1
    if misses < MISSES_UNTIL_LOST:
        return replace(old, misses=misses)
    reason = seen.reason or f"not shown by {misses} queries in a row, and no result was left behind"
    return replace(old, state=JobState.LOST, misses=misses, reason=reason, native=seen.native, ended=seen.ended)


NEEDS_LOGIN = "NEEDS_LOGIN"
"""How the reason of jobs begins on a machine that wants its user to log in again."""
NEVER_SATISFIED = "a dependency can never be satisfied"
"""The reason a backend gives for a job that its scheduler ended, or will never start, because of a dependency."""

DEPENDENCY_TYPES = ("afterok", "afterany", "afternotok", "after")


def dependency_met(kind: str, upstream: JobState) -> bool | None:
    """Say whether a dependency on a job in state ``upstream`` is satisfied.

    Args:
        kind: ``afterok`` (it succeeded), ``afternotok`` (it ended without success),
            ``afterany`` (it ended), ``after`` (it has started).
        upstream: State of the job depended on.

    Returns:
        True: satisfied. None: not yet. False: it never can be, so the dependent is skipped.

    Example:
        >>> dependency_met("afterok", JobState.FAILED)
        False
        >>> dependency_met("afterany", JobState.RUNNING) is None
        True

    Source: the ``--dependency`` option in Slurm's ``sbatch`` manual page. A job that was
    ``SKIPPED`` never ran; it satisfies ``afterany`` and ``afternotok`` like one that failed.
    """
    if kind == "after":
        if upstream is JobState.RUNNING or upstream in (JobState.SUCCEEDED, JobState.FAILED, JobState.LOST):
            return True
        return True if upstream.ended else None
    if not upstream.ended:
        return None
    if kind == "afterany":
        return True
    if kind == "afterok":
        return upstream is JobState.SUCCEEDED
    if kind == "afternotok":
        return upstream is not JobState.SUCCEEDED
    raise ValueError(f"unknown dependency type {kind!r}; one of {', '.join(DEPENDENCY_TYPES)}")
