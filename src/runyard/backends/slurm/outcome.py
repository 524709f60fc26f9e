"""How a job stands: the queue's word, then the accounting's, then what its wrapper left. Pure.

Source: "JOB STATE CODES" in the ``squeue`` manual page, "JOB REASON CODES" likewise.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from runyard.backends import results
from runyard.backends.slurm.parse import Left, Seen
from runyard.backends.wrapper import CLAIMED
from runyard.states import NEVER_SATISFIED, JobState, Observation

_WAITING = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
)
_ACTIVE = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"})
_FAILURES = {
    "TIMEOUT": "time limit",
    "NODE_FAIL": "node failure",
    "OUT_OF_MEMORY": results.OUT_OF_MEMORY,
    "PREEMPTED": "preempted",
    "DEADLINE": "deadline reached before it could end",
    "BOOT_FAIL": "a node could not be booted",
    "REVOKED": "revoked by another cluster",
}
NEVER = "DependencyNeverSatisfied"
BAD_NODE = frozenset({"NODE_FAIL", "BOOT_FAIL"})


def judge(seen: Seen | None, left: Left | None, job: str, first: int = 1) -> Observation:
    """Return what is known about a job.

    Args:
        seen: The scheduler's row, of the queue or else the accounting; ``None`` when neither shows it.
        left: What wrappers left in its folder; ``None`` where that is not known.
        job: The job's number.
        first: The attempt that it was submitted for.
    """
    mine = left if left is not None and left.attempt and left.owner in (job, "") else None
    claimed = left is not None and bool(left.attempt) and left.owner not in (job, "")
    restarts = seen.restarts if seen else 0
    if left is not None:
        # An attempt is what has begun. Slurm counts a restart, too, whose script could not be started.
        restarts = mine.attempt - first if mine else 0
        if mine and seen and seen.restarts > mine.restarts:
            restarts, mine = restarts + 1, None  # what it left belongs to the attempt before
    if seen is None:
        return _forgotten(mine, claimed, restarts)
    started = mine.started if mine else None
    where, state = seen.nodes, seen.state
    common = {"native": state, "restarts": restarts, "where": where}
    if state in _WAITING:
        return _waiting(seen, restarts)
    if state in _ACTIVE:
        code = mine.code if mine else None
        if state == "COMPLETING" and code is not None and (code == 0 or code < 128) and mine:
            return _left_behind(mine, where, state, restarts)
        if state == "COMPLETING" and claimed:
            return Observation(None, reason="another submission had claimed this attempt", native=state)
        return Observation(JobState.RUNNING, started=started or seen.start, **common)  # type: ignore[arg-type]
    ended = (mine.ended if mine else None) or seen.end
    exit_code = mine.code if mine and mine.code is not None else seen.exit_code
    if claimed or (exit_code == CLAIMED and not mine):
        return Observation(None, reason="another submission had claimed this attempt", native=state)
    if state in ("COMPLETED", "FAILED") and mine and mine.code is not None:
        return _left_behind(mine, where, state, restarts)
    if state == "COMPLETED":
        return Observation(JobState.SUCCEEDED, 0, started=started or seen.start, ended=ended, **common)  # type: ignore[arg-type]
    if state == "CANCELLED":
        reason = NEVER_SATISFIED if seen.reason == NEVER else "cancelled in Slurm"
        return Observation(JobState.CANCELLED, exit_code or None, reason, started=started, ended=ended, **common)  # type: ignore[arg-type]
    if state == "FAILED":
        reason = _failed(seen, exit_code)
        exit_code = exit_code or (128 + seen.signal if 0 < seen.signal < 65 else None)
    else:
        reason = _FAILURES.get(state, state.lower().replace("_", " "))
        if state in BAD_NODE and where:
            reason = f"{reason} ({where})"
        if exit_code == 0:
            exit_code = None
    return Observation(JobState.FAILED, exit_code, reason, started=started or seen.start, ended=ended, **common)  # type: ignore[arg-type]


def is_under_way(seen: Seen) -> bool:
    """Say whether a row shows a job that has not ended."""
    return seen.state in _WAITING or seen.state in _ACTIVE


def _failed(seen: Seen, code: int | None) -> str:
    if seen.signal:
        return f"signal {results.signal_name(seen.signal)}"
    if code:
        return results.reason_for(code)
    if seen.reason and seen.reason not in ("NonZeroExitCode",):
        return f"failed in Slurm ({seen.reason})"
    return "failed before it left a result: see slurm.log in its folder"


def _waiting(seen: Seen, restarts: int) -> Observation:
    reason = NEVER_SATISFIED if seen.reason == NEVER else seen.reason
    if reason and seen.start and reason != NEVER_SATISFIED:
        reason += time.strftime(", expected to start %m-%d %H:%M", time.localtime(seen.start))
    return Observation(
        JobState.PENDING,
        reason=reason,
        native=seen.state,
        restarts=restarts,
    )


def _forgotten(mine: Left | None, claimed: bool, restarts: int) -> Observation:
    """Judge a job that the scheduler does not know, or no longer."""
    if mine and mine.code is not None:
        return _left_behind(mine, "", "", restarts)
    if claimed:
        return Observation(None, reason="another submission had claimed this attempt")
    if mine:
        return Observation(None, reason="Slurm does not know it any more, and it left no exit code")
    return Observation(None, reason="Slurm does not know it, and it never started")


def _left_behind(mine: Left, where: str, native: str, restarts: int) -> Observation:
    assert mine.code is not None
    seen = results.ended(mine.code, at=mine.ended, started=mine.started, where=where)
    return Observation(seen.state, seen.exit_code, seen.reason, native, restarts, seen.started, seen.ended, seen.where)


def of_array(rows: Sequence[Observation]) -> Observation:
    """Return how an array as a whole stands, from its elements."""
    states = [o.state for o in rows]
    for state in (JobState.RUNNING, JobState.PENDING):
        if state in states:
            return next(o for o in rows if o.state is state)
    for ended in (JobState.FAILED, JobState.CANCELLED, None):
        if ended in states:
            return next(o for o in rows if o.state is ended)
    return rows[-1] if rows else Observation(None)
