"""How a job stands: the scheduler's row, and what its wrapper left."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.backends.slurm import outcome
from runyard.backends.slurm.parse import Left, Seen
from runyard.states import ENDED, JobState, Observation

JOB = "12"
RUNNING, PENDING, FAILED = JobState.RUNNING, JobState.PENDING, JobState.FAILED
SUCCEEDED, CANCELLED = JobState.SUCCEEDED, JobState.CANCELLED
NOTHING = Left(JOB, 0, "", None, 0, None, None, False, "/f")
STARTED = Left(JOB, 1, JOB, 100.0, 0, None, None, False, "/f")
OTHERS = replace(STARTED, owner="99")


def left(code: int) -> Left:
    return replace(STARTED, ended=160.0, code=code)


def seen(state: str, reason: str = "", code: int | None = None, signal: int = 0, **more: object) -> Seen:
    values: dict[str, object] = {"start": 90.0, "end": 170.0, "nodes": "n1"}
    return Seen(JOB, state, "name", reason, exit_code=code, signal=signal, **(values | more))  # type: ignore[arg-type]


WAITING = ["PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"]
ACTIVE = ["RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"]
FAILURES = {
    "TIMEOUT": "time limit",
    "NODE_FAIL": "node failure (n1)",
    "BOOT_FAIL": "a node could not be booted (n1)",
    "OUT_OF_MEMORY": "out of memory (OOM)",
    "PREEMPTED": "preempted",
    "DEADLINE": "deadline reached before it could end",
    "REVOKED": "revoked by another cluster",
    "LAUNCH_FAILED": "launch failed",
    "WHAT_COMES_NEXT": "what comes next",
}

# What the scheduler shows, what was left, and: state, exit code, reason.
TABLE: list[tuple[Seen | None, Left | None, JobState | None, int | None, str]] = [
    (seen("COMPLETED"), left(0), SUCCEEDED, 0, ""),
    (seen("COMPLETED"), None, SUCCEEDED, 0, ""),
    (seen("COMPLETED"), left(143), FAILED, 143, "signal SIGTERM"),
    (seen("FAILED", "NonZeroExitCode"), left(7), FAILED, 7, "exit code 7"),
    (seen("FAILED", "NonZeroExitCode", 7), None, FAILED, 7, "exit code 7"),
    (
        seen("FAILED", "NonZeroExitCode"),
        None,
        FAILED,
        None,
        "failed before it left a result: see slurm.log in its folder",
    ),
    (seen("FAILED", "JobLaunchFailure"), None, FAILED, None, "failed in Slurm (JobLaunchFailure)"),
    (seen("FAILED", "RaisedSignal:11(Segmentation_fault)", 0, 11), None, FAILED, 139, "signal SIGSEGV"),
    (seen("FAILED"), left(139), FAILED, 139, "signal SIGSEGV"),
    (seen("CANCELLED"), STARTED, CANCELLED, None, "cancelled in Slurm"),
    (seen("CANCELLED", code=0), None, CANCELLED, None, "cancelled in Slurm"),
    (seen("CANCELLED", "DependencyNeverSatisfied"), None, CANCELLED, None, "a dependency can never be satisfied"),
    (seen("TIMEOUT"), left(143), FAILED, 143, "time limit"),
    (seen("TIMEOUT", code=0), None, FAILED, None, "time limit"),
    (seen("OUT_OF_MEMORY", code=0, signal=125), left(137), FAILED, 137, "out of memory (OOM)"),
    (seen("NODE_FAIL"), left(0), FAILED, None, "node failure (n1)"),
    (seen("NODE_FAIL", nodes=""), None, FAILED, None, "node failure"),
    (seen("DEADLINE", code=1, nodes=""), None, FAILED, 1, "deadline reached before it could end"),
    (seen("PENDING", "Resources", start=None), None, PENDING, None, "Resources"),
    (seen("PENDING", "DependencyNeverSatisfied"), None, PENDING, None, "a dependency can never be satisfied"),
    (seen("RUNNING"), NOTHING, RUNNING, None, ""),
    (seen("RUNNING"), left(0), RUNNING, None, ""),
    (seen("COMPLETING"), left(0), SUCCEEDED, 0, ""),
    (seen("COMPLETING"), left(3), FAILED, 3, "exit code 3"),
    (seen("COMPLETING"), left(137), RUNNING, None, ""),  # the state that comes says why
    (seen("COMPLETING"), STARTED, RUNNING, None, ""),
    # Neither the queue nor the accounting knows it.
    (None, left(0), SUCCEEDED, 0, ""),
    (None, left(3), FAILED, 3, "exit code 3"),
    (None, STARTED, None, None, "Slurm does not know it any more, and it left no exit code"),
    (None, NOTHING, None, None, "Slurm does not know it, and it never started"),
    (None, None, None, None, "Slurm does not know it, and it never started"),
    # Another submission had claimed the attempt.
    (seen("FAILED", code=113), None, None, None, "another submission had claimed this attempt"),
    (seen("FAILED"), OTHERS, None, None, "another submission had claimed this attempt"),
    (seen("COMPLETED"), replace(OTHERS, code=0), None, None, "another submission had claimed this attempt"),
    (None, replace(OTHERS, code=0), None, None, "another submission had claimed this attempt"),
    # The task itself may end with that code.
    (seen("FAILED", code=113), left(113), FAILED, 113, "exit code 113"),
]


@pytest.mark.parametrize(("row", "files", "state", "code", "reason"), TABLE)
def test_verdict(row: Seen | None, files: Left | None, state: JobState | None, code: int | None, reason: str) -> None:
    got = outcome.judge(row, files, JOB)
    assert (got.state, got.exit_code, got.reason) == (state, code, reason)
    if row:
        assert got.native == row.state


@pytest.mark.parametrize("state", WAITING)
def test_waiting_states_are_pending(state: str) -> None:
    assert outcome.judge(seen(state), None, JOB).state is PENDING


@pytest.mark.parametrize("state", ACTIVE)
def test_active_states_are_running(state: str) -> None:
    got = outcome.judge(seen(state), STARTED, JOB)
    assert (got.state, got.started, got.where) == (RUNNING, 100.0, "n1")


@pytest.mark.parametrize("state", FAILURES)
def test_other_states_are_failures_with_a_reason(state: str) -> None:
    got = outcome.judge(seen(state), None, JOB)
    assert (got.state, got.reason, got.native, got.where) == (FAILED, FAILURES[state], state, "n1")


def test_times_are_the_wrappers_where_it_left_any() -> None:
    got = outcome.judge(seen("COMPLETED"), left(0), JOB)
    assert (got.started, got.ended) == (100.0, 160.0)
    got = outcome.judge(seen("COMPLETED"), None, JOB)
    assert (got.started, got.ended) == (90.0, 170.0)


def test_restarts_are_kept() -> None:
    for state in ("PENDING", "RUNNING", "COMPLETED", "TIMEOUT"):
        assert outcome.judge(seen(state, restarts=2), None, JOB).restarts == 2


# Restarts that Slurm counts, what the last attempt's script left, and the attempt that the job is at.
ATTEMPTS: list[tuple[int, Left, int]] = [
    (0, STARTED, 1),
    (1, left(143), 2),  # the next one is about to begin
    (1, replace(STARTED, attempt=2, restarts=1), 2),
    (2, replace(STARTED, attempt=2, restarts=2), 2),  # once, its script could not be started
    (3, replace(STARTED, attempt=2, restarts=2), 3),
    (2, NOTHING, 1),  # it could never be started so far
    (0, replace(STARTED, attempt=3, restarts=2), 3),  # the accounting does not tell
]


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "TIMEOUT", "FAILED"])
@pytest.mark.parametrize(("restarts", "files", "attempt"), ATTEMPTS)
def test_an_attempt_is_what_began(state: str, restarts: int, files: Left, attempt: int) -> None:
    assert 1 + outcome.judge(seen(state, restarts=restarts), files, JOB).restarts == attempt
    later = replace(files, attempt=files.attempt + 4 if files.attempt else 0)
    assert 5 + outcome.judge(seen(state, restarts=restarts), later, JOB, 5).restarts == attempt + 4


@pytest.mark.parametrize("state", ["COMPLETING", "FAILED"])
def test_the_result_of_the_attempt_before_is_not_taken_for_that_of_a_restarted_one(state: str) -> None:
    got = outcome.judge(seen(state, restarts=1), left(0), JOB)
    assert (got.state, got.restarts) == (RUNNING if state == "COMPLETING" else FAILED, 1)


def test_what_slurm_forgot_keeps_its_attempts() -> None:
    assert outcome.judge(None, replace(left(0), attempt=3, restarts=2), JOB).restarts == 2


WORDS = st.sampled_from([*WAITING, *ACTIVE, *FAILURES, "COMPLETED", "FAILED", "CANCELLED"]) | st.text(min_size=1)
LEFT = st.none() | st.builds(
    Left,
    st.just(JOB),
    st.integers(0, 3),
    st.sampled_from([JOB, "", "99"]),
    st.none() | st.just(100.0),
    st.integers(0, 3),
    st.none() | st.just(160.0),
    st.none() | st.integers(0, 255),
    st.booleans(),
    st.just("/f"),
)
ROWS = st.none() | st.builds(
    Seen, st.just(JOB), WORDS, exit_code=st.none() | st.integers(0, 255), signal=st.sampled_from([0, 9, 125, 999])
)


@given(ROWS, LEFT)
def test_any_combination_is_judged_and_none_is_a_false_success(row: Seen | None, files: Left | None) -> None:
    got = outcome.judge(row, files, JOB)
    mine = files if files and files.attempt and files.owner in (JOB, "") else None
    if got.state is SUCCEEDED:
        assert got.exit_code == 0
        assert mine is None or mine.code in (0, None)
        assert (row and row.state == "COMPLETED") or (mine and mine.code == 0)
    if got.state is FAILED:
        assert got.reason
        assert got.exit_code != 0
    if files and files.attempt and not mine and got.state in ENDED:
        assert got.state is not SUCCEEDED


S = [Observation(s) for s in (SUCCEEDED, FAILED, CANCELLED, RUNNING, PENDING, None)]


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([S[0], S[0]], SUCCEEDED),
        ([S[0], S[1], S[0]], FAILED),
        ([S[0], S[2]], CANCELLED),
        ([S[2], S[1]], FAILED),
        ([S[1], S[3]], RUNNING),
        ([S[4], S[1]], PENDING),
        ([S[4], S[3]], RUNNING),
        ([S[0], S[5]], None),
        ([], None),
    ],
)
def test_an_array_has_ended_when_all_elements_have_and_succeeded_when_all_did(
    rows: list[Observation], state: JobState | None
) -> None:
    assert outcome.of_array(rows).state is state
