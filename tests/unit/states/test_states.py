"""The rule that turns observations into states, on plain values."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.states import (
    DEPENDENCY_TYPES,
    ENDED,
    IN_FLIGHT,
    MISSES_UNTIL_LOST,
    JobState,
    Observation,
    Status,
    advance,
    dependency_met,
)

S = JobState
SEEN = (S.PENDING, S.RUNNING, S.SUCCEEDED, S.FAILED, S.CANCELLED, S.LOST)
times = st.none() | st.floats(0, 2e9)
statuses = st.builds(
    Status,
    state=st.sampled_from(list(S)),
    attempt=st.integers(1, 9),
    reason=st.sampled_from(["", "exit code 3"]),
    exit_code=st.none() | st.integers(0, 255),
    misses=st.integers(0, MISSES_UNTIL_LOST - 1),
    restarts=st.integers(0, 5),
    started=times,
    ended=times,
    where=st.sampled_from(["", "node-1"]),
)
observations = st.builds(
    Observation,
    state=st.none() | st.sampled_from(SEEN),
    exit_code=st.none() | st.integers(0, 255),
    reason=st.sampled_from(["", "time limit"]),
    native=st.text(max_size=5),
    restarts=st.integers(0, 5),
    started=times,
    ended=times,
    where=st.sampled_from(["", "node-2"]),
)


@given(statuses)
def test_could_not_ask_changes_nothing(old: Status) -> None:
    assert advance(old, None) is old


@given(statuses, observations)
def test_an_end_is_final(old: Status, seen: Observation) -> None:
    if old.state.ended:
        assert advance(old, seen) is old


@given(statuses, st.lists(st.none() | observations, max_size=8))
def test_only_what_was_seen_becomes_true(old: Status, several: list[Observation | None]) -> None:
    """No state appears that nobody saw, but LOST; attempts and restarts never go back."""
    shown = {s.state for s in several if s} | {old.state, S.LOST}
    now = old
    for seen in several:
        before, now = now, advance(now, seen)
        assert now.state in shown
        assert now.attempt >= before.attempt
        assert now.restarts >= before.restarts
        assert (now.attempt - before.attempt) == (now.restarts - before.restarts) or before.state.ended
    if now.state is S.SUCCEEDED and old.state is not S.SUCCEEDED:
        assert any(s and s.state is S.SUCCEEDED for s in several), "a success that nobody saw"


@given(statuses, observations)
def test_the_same_observation_again_changes_nothing_more(old: Status, seen: Observation) -> None:
    once = advance(old, seen)
    if seen.state is not None:
        assert advance(once, seen) is once


@pytest.mark.parametrize("state", [S.PENDING, S.RUNNING])
def test_lost_after_several_successful_queries_that_do_not_show_it(state: JobState) -> None:
    now = Status(state)
    for number in range(1, MISSES_UNTIL_LOST):
        now = advance(advance(now, Observation(None)), None)  # failed queries in between don't count
        assert (now.state, now.misses) == (state, number)
    now = advance(now, Observation(None))
    assert now.state is S.LOST
    assert "no result" in now.reason


@given(st.integers(1, MISSES_UNTIL_LOST - 1))
def test_one_that_is_shown_again_was_never_lost(misses: int) -> None:
    now = Status(S.RUNNING)
    for _ in range(misses):
        now = advance(now, Observation(None))
    assert advance(now, Observation(S.RUNNING)) == Status(S.RUNNING)


@pytest.mark.parametrize("state", [S.CREATED, S.SUBMITTING])
def test_one_not_yet_submitted_is_not_missed(state: JobState) -> None:
    old = Status(state)
    assert advance(old, Observation(None)) is old


@given(statuses, observations)
def test_misses_stay_below_the_limit_and_vanish_with_a_sight(old: Status, seen: Observation) -> None:
    new = advance(old, seen)
    if new is not old and seen.state is not None:
        assert new.misses == 0
    assert new.misses < MISSES_UNTIL_LOST or new.state is S.LOST


def test_a_requeue_is_a_new_attempt() -> None:
    running = Status(S.RUNNING, started=100.0, where="node-1")
    waiting = advance(running, Observation(S.PENDING, restarts=1))
    assert waiting == Status(S.PENDING, attempt=2, restarts=1, where="node-1")
    assert advance(waiting, Observation(S.RUNNING, restarts=1, started=200.0)).started == 200.0
    assert advance(running, Observation(S.PENDING)).attempt == 1


def test_a_success_without_a_code_has_code_0_and_a_failure_without_one_has_none() -> None:
    assert advance(Status(S.RUNNING), Observation(S.SUCCEEDED)).exit_code == 0
    assert advance(Status(S.RUNNING), Observation(S.FAILED)).exit_code is None


@pytest.mark.parametrize("state", [S.CREATED, S.SUBMITTING, S.SKIPPED])
def test_a_backend_cannot_see_what_only_the_engine_decides(state: JobState) -> None:
    with pytest.raises(ValueError, match=f"cannot observe {state}"):
        advance(Status(S.RUNNING), Observation(state))


def test_an_unknown_native_state_is_kept_as_text() -> None:
    assert advance(Status(S.RUNNING), Observation(S.RUNNING, native="SPECIAL_EXIT")).native == "SPECIAL_EXIT"


def test_every_state_is_on_one_side() -> None:
    assert ENDED.isdisjoint(IN_FLIGHT)
    assert set(S) - ENDED - IN_FLIGHT == {S.CREATED}


TRUTH = {
    #            CREATED SUBM.  PEND.  RUNN.  SUCC.  FAILED CANC.  SKIP.  LOST
    "afterok": (None, None, None, None, True, False, False, False, False),
    "afternotok": (None, None, None, None, False, True, True, True, True),
    "afterany": (None, None, None, None, True, True, True, True, True),
    "after": (None, None, None, True, True, True, True, True, True),
}


@pytest.mark.parametrize("kind", DEPENDENCY_TYPES)
def test_dependencies(kind: str) -> None:
    assert tuple(dependency_met(kind, state) for state in S) == TRUTH[kind]


@given(st.sampled_from(DEPENDENCY_TYPES), st.sampled_from(sorted(ENDED)))
def test_an_ended_job_leaves_no_dependent_waiting(kind: str, state: JobState) -> None:
    assert dependency_met(kind, state) is not None


def test_an_unknown_dependency_type() -> None:
    with pytest.raises(ValueError, match="'afterwards'"):
        dependency_met("afterwards", S.SUCCEEDED)


@given(statuses)
def test_a_status_survives_its_record(status: Status) -> None:
    import json

    from runyard.store.records import status_json

    assert Status(state=status.state, **json.loads(status_json(status))) == status
    assert replace(status) == status
