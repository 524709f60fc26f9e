"""How a job stands: what its wrappers left behind, and what the engine says of its containers. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runyard.backends import results
from runyard.backends.wrapper import CLAIMED
from runyard.states import ENDED, JobState, Observation

_TAKEN = "another submission had claimed this attempt"
_LIVE = frozenset({"running", "paused", "restarting", "removing"})


@dataclass(frozen=True)
class Seen:
    """A container as the engine shows it.

    Args:
        id: Its id.
        state: ``created``, ``running``, ``paused``, ``restarting``, ``removing``, ``exited`` or ``dead``.
        exit_code: Once it has ended.
        oom: The kernel killed something in it for lack of memory.
        error: What the engine says went wrong.
        started: Start, seconds since the epoch.
        ended: End.
        health: What its health check says, if it has one.
        said: Its own last words, when it ended before its wrapper began.
    """

    id: str
    state: str
    exit_code: int | None = None
    oom: bool = False
    error: str = ""
    started: float | None = None
    ended: float | None = None
    health: str = ""
    said: str = ""

    @property
    def live(self) -> bool:
        """True while it runs."""
        return self.state in _LIVE


@dataclass(frozen=True)
class Left:
    """What the wrapper of a container left in the attempt's folder: start, exit code and end."""

    started: float | None = None
    code: int | None = None
    ended: float | None = None


def inspected(data: Mapping[str, Any], said: str = "") -> Seen:
    """Return a container from the engine's ``inspect``."""
    state = data.get("State") or {}
    return Seen(
        id=str(data.get("Id", "")),
        state=str(state.get("Status", "")),
        exit_code=state.get("ExitCode"),
        oom=bool(state.get("OOMKilled")),
        error=str(state.get("Error") or ""),
        started=when(str(state.get("StartedAt") or "")),
        ended=when(str(state.get("FinishedAt") or "")),
        said=said,
    )


def listed(data: Mapping[str, Any]) -> Seen:
    """Return a container from the engine's list."""
    health = re.search(r"\((healthy|unhealthy|health: starting)\)", str(data.get("Status", "")))
    return Seen(str(data["Id"]), str(data.get("State", "")), health=health[1] if health else "")


def when(text: str) -> float | None:
    """Return an engine's time as seconds since the epoch; ``None`` for its "never".

    Example:
        >>> when("2026-11-21T10:57:38.583333015Z"), when("0001-01-01T00:00:00Z")
        (1795258658.583333, None)
    """
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,6})?\d*(Z|[+-]\d\d:\d\d)", text)
    if not found or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(f"{found[1]}{(found[2] or '.0').ljust(7, '0')}{found[3]}").timestamp()


def judge(seen: Seen | None, left: Left, where: str) -> Observation:
    """Return how one container's task stands.

    Args:
        seen: The container; ``None`` when the engine does not have it.
        left: What its wrapper left.
        where: The machine.
    """
    if seen is None:
        if left.code is not None:
            return results.ended(left.code, at=left.ended, started=left.started, where=where)
        if left.started:
            return Observation(None, reason="its container was removed, and it left no exit code")
        return Observation(None, reason="the engine does not know its container, and it never started")
    if seen.state == "created":
        return Observation(JobState.PENDING, native=seen.state, where=where)
    if seen.live and left.code == 0:
        # Its wrapper's last word; the engine needs some time to see the end. Of a failure it may know more.
        return results.ended(0, at=left.ended, started=left.started, where=where)
    if seen.live:
        state = JobState.RUNNING if left.started else JobState.PENDING
        native = f"{seen.state} ({seen.health})" if seen.health else seen.state
        return Observation(state, native=native, started=left.started, where=where)
    if left.code is not None:
        return _with_oom(results.ended(left.code, at=left.ended, started=left.started, where=where), seen)
    if seen.exit_code == CLAIMED:
        return Observation(None, reason=_TAKEN, native=seen.state)
    return _without_result(seen, left, where)


def _with_oom(found: Observation, seen: Seen) -> Observation:
    if not seen.oom or found.state is not JobState.FAILED:
        return found
    # A child that the kernel killed may have made the task itself end with a code of its own.
    reason = f"{found.reason}; {results.OUT_OF_MEMORY} in its container"
    if found.exit_code == 137:
        reason = results.OUT_OF_MEMORY
    return Observation(
        found.state, found.exit_code, reason, started=found.started, ended=found.ended, where=found.where
    )


def _without_result(seen: Seen, left: Left, where: str) -> Observation:
    """Judge a container that has ended, and whose wrapper could not write down how."""
    code = seen.exit_code or None
    if seen.oom:
        reason = results.OUT_OF_MEMORY
    elif seen.error:
        reason = seen.error
    elif code is None:
        reason = "its container ended without a result"
    else:
        reason = results.reason_for(code)
        if left.started and code > 128:
            reason += " (its container was killed)"
    if seen.said and not left.started:
        reason += f": {seen.said}"
    return Observation(
        JobState.FAILED,
        code,
        reason,
        started=left.started or seen.started,
        ended=seen.ended,
        where=where,
    )


def of_members(found: Sequence[Observation]) -> Observation:
    """Return how a job stands as a whole: it runs until its last member ends, and fails like the first that failed."""
    if len(found) == 1:
        return found[0]
    states = [o.state for o in found]
    starts = [o.started for o in found if o.started]
    started = min(starts) if starts else None
    if JobState.RUNNING in states:
        first = next(o for o in found if o.state is JobState.RUNNING)
        return Observation(JobState.RUNNING, native=first.native, started=started, where=first.where)
    if JobState.PENDING in states:
        # Some have ended, others not begun: that is under way too.
        state = JobState.RUNNING if started else JobState.PENDING
        return Observation(state, started=started, where=found[0].where)
    ends = [o.ended for o in found if o.ended]
    failed = [o for o in found if o.state is JobState.FAILED]
    lost = [o for o in found if o.state is None]
    if lost and not failed:
        return lost[0]
    if failed:
        first = min(failed, key=lambda o: o.ended or float("inf"))
        return Observation(
            first.state,
            first.exit_code,
            first.reason,
            started=started,
            ended=max(ends) if ends else None,
            where=first.where,
        )
    return Observation(JobState.SUCCEEDED, 0, started=started, ended=max(ends) if ends else None, where=found[0].where)


def must_stop(found: Sequence[Observation]) -> bool:
    """Say whether a member has failed while others of its group have not ended."""
    states = {o.state for o in found}
    return bool(states & {JobState.FAILED, None}) and bool(states - ENDED - {None})


def to_json(seen: Observation) -> dict[str, Any]:
    """Return the end of a job as plain JSON."""
    return {
        "state": str(seen.state),
        "exit_code": seen.exit_code,
        "reason": seen.reason,
        "started": seen.started,
        "ended": seen.ended,
        "where": seen.where,
    }


def from_json(data: Mapping[str, Any]) -> Observation:
    """Undo :func:`to_json`."""
    return Observation(**{**data, "state": JobState(data["state"])})
