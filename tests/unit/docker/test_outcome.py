"""Judging containers: a table of what the engine and the wrapper say, and what became of the job."""

from __future__ import annotations

import pytest

from runyard.backends.docker import outcome
from runyard.backends.docker.outcome import Left, Seen, judge, must_stop, of_members
from runyard.states import JobState, Observation

RUNNING, ENDED = Seen("1", "running"), Seen("1", "exited", 0)
BEGUN = Left(started=1.0)


@pytest.mark.parametrize(
    ("seen", "left", "state", "code", "words"),
    [
        (Seen("1", "created"), Left(), JobState.PENDING, None, ""),
        (RUNNING, Left(), JobState.PENDING, None, ""),
        (RUNNING, BEGUN, JobState.RUNNING, None, ""),
        (Seen("1", "paused"), BEGUN, JobState.RUNNING, None, ""),
        (RUNNING, Left(1.0, 0, 2.0), JobState.SUCCEEDED, 0, ""),
        (RUNNING, Left(1.0, 3, 2.0), JobState.RUNNING, None, ""),
        (Seen("1", "exited", 3), Left(1.0, 3, 2.0), JobState.FAILED, 3, "exit code 3"),
        (Seen("1", "exited", 137, oom=True), Left(1.0, 137, 2.0), JobState.FAILED, 137, "out of memory (OOM)"),
        (
            Seen("1", "exited", 1, oom=True),
            Left(1.0, 1, 2.0),
            JobState.FAILED,
            1,
            "exit code 1; out of memory (OOM) in its",
        ),
        (Seen("1", "exited", 0, oom=True), Left(1.0, 0, 2.0), JobState.SUCCEEDED, 0, ""),
        (Seen("1", "exited", 137, oom=True), BEGUN, JobState.FAILED, 137, "out of memory (OOM)"),
        (Seen("1", "exited", 137), BEGUN, JobState.FAILED, 137, "signal SIGKILL (its container was killed)"),
        (ENDED, BEGUN, JobState.FAILED, None, "ended without a result"),
        (Seen("1", "exited", 2, said="denied"), Left(), JobState.FAILED, 2, "exit code 2: denied"),
        (Seen("1", "exited", 127, error="no sh"), Left(), JobState.FAILED, 127, "no sh"),
        (Seen("1", "exited", 113), Left(), None, None, "another submission"),
        (None, Left(1.0, 0, 2.0), JobState.SUCCEEDED, 0, ""),
        (None, Left(1.0, 4, 2.0), JobState.FAILED, 4, "exit code 4"),
        (None, BEGUN, None, None, "its container was removed"),
        (None, Left(), None, None, "does not know"),
    ],
)
def test_judge(seen: Seen | None, left: Left, state: JobState | None, code: int | None, words: str) -> None:
    found = judge(seen, left, "here")
    assert (found.state, found.exit_code) == (state, code)
    assert words in found.reason
    assert bool(words) == bool(found.reason)


def member(state: JobState | None, code: int | None = None, ended: float | None = None) -> Observation:
    return Observation(state, code, f"exit code {code}" if code else "", started=1.0, ended=ended)


OK, LOST, RUNS = member(JobState.SUCCEEDED, 0, 2.0), member(None), member(JobState.RUNNING)
BAD, TOLD = member(JobState.FAILED, 5, 3.0), member(JobState.FAILED, 143, 4.0)


@pytest.mark.parametrize(
    ("members", "state", "code", "stop"),
    [
        ([OK, OK], JobState.SUCCEEDED, 0, False),
        ([OK, RUNS], JobState.RUNNING, None, False),
        ([BAD, RUNS], JobState.RUNNING, None, True),
        ([LOST, RUNS], JobState.RUNNING, None, True),
        ([TOLD, OK, BAD], JobState.FAILED, 5, False),
        ([OK, LOST], None, None, False),
        ([TOLD, LOST], JobState.FAILED, 143, False),
        ([OK, Observation(JobState.PENDING)], JobState.RUNNING, None, False),
        ([Observation(JobState.PENDING)] * 2, JobState.PENDING, None, False),
    ],
)
def test_groups(members: list[Observation], state: JobState | None, code: int | None, stop: bool) -> None:
    whole = of_members(members)
    assert (whole.state, whole.exit_code) == (state, code)
    assert must_stop(members) is stop


def test_the_written_result_is_the_same() -> None:
    assert outcome.from_json(outcome.to_json(BAD)) == BAD


def test_times() -> None:
    assert outcome.when("2026-11-21T10:57:38Z") == 1795258658.0
    assert outcome.when("2026-11-21T11:57:38.5+01:00") == 1795258658.5
    assert outcome.when("") is outcome.when("0001-01-01T00:00:00Z") is None


def test_health_is_shown() -> None:
    seen = outcome.listed({"Id": "1", "State": "running", "Status": "Up 3 seconds (unhealthy)"})
    assert judge(seen, BEGUN, "here").native == "running (unhealthy)"
