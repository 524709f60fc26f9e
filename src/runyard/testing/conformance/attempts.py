"""Retries, limits and cancelling."""

from __future__ import annotations

import time

from runyard.states import JobState
from runyard.store import records
from runyard.store.db import Database
from runyard.task import Script
from runyard.testing.conformance.harness import IDLE, Harness, Scenario


def retries_until_it_succeeds(h: Harness) -> None:
    """A task that fails twice and then succeeds has succeeded, at its third attempt; each attempt's log is kept."""
    exp = h.experiment(retries=5)
    text = 'echo "attempt $RUNYARD_ATTEMPT"; [ $RUNYARD_ATTEMPT -ge 3 ]'
    exp.add(h.writes("$RUNYARD_ATTEMPT", "proof", text), name="stubborn")
    result = exp.run()["stubborn"]
    assert (result.status, result.attempts, result.exit_code) == (JobState.SUCCEEDED, 3, 0)
    assert h.lines("proof") == ["1", "2", "3"]
    assert list(h.log(exp.id, "stubborn").values()) == [b"attempt 1\n", b"attempt 2\n", b"attempt 3\n"]
    with Database(h.home) as db:
        tried = [(a.attempt, a.state, a.exit_code) for a in records.attempts(db, exp.id)]
    assert tried == [(1, JobState.FAILED, 1), (2, JobState.FAILED, 1), (3, JobState.SUCCEEDED, 0)]


def retries_come_to_an_end(h: Harness) -> None:
    """A task that always fails is tried ``retries + 1`` times, and has failed like its last attempt."""
    exp = h.experiment(retries=2)
    exp.add(h.writes("$RUNYARD_ATTEMPT", "proof", "exit $((10 + RUNYARD_ATTEMPT))"), name="hopeless")
    result = exp.run(raise_on_failure=False)["hopeless"]
    assert (result.status, result.attempts, result.exit_code) == (JobState.FAILED, 3, 13)
    assert h.lines("proof") == ["1", "2", "3"]


def each_attempt_has_its_output_folder(h: Harness) -> None:
    """``RUNYARD_OUTPUT_DIR`` is a new, empty, writable folder for each attempt."""
    exp = h.experiment(retries=1)
    text = 'ls -A "$RUNYARD_OUTPUT_DIR" | wc -l; touch "$RUNYARD_OUTPUT_DIR/result"; [ $RUNYARD_ATTEMPT -ge 2 ]'
    exp.add(Script(inline=f'echo "$RUNYARD_OUTPUT_DIR" >> {h.shared}/folders\n{text}'), name="writes")
    exp.run()
    assert h.text(exp.id, "writes").split() == ["0", "0"]
    assert len(set(h.lines("folders"))) == 2


def time_limit_ends_it(h: Harness) -> None:
    """A task beyond its wall-time limit is ended, and has failed for that reason."""
    exp = h.experiment(time=h.time_limit)
    exp.add(h.writes("began", "proof", "sleep 300; echo late"), name="slow")
    result = exp.run(raise_on_failure=False)["slow"]
    assert result.status is JobState.FAILED
    assert "time limit" in result.reason
    assert "late" not in h.text(exp.id, "slow")


def cancel_a_running_task(h: Harness) -> None:
    """A running task is told to end (SIGTERM, with time to clean up), and is then cancelled; it is not retried."""
    exp = h.experiment(retries=3)
    text = f"trap 'echo cleaned >> {h.shared}/proof; exit 0' TERM\necho began >> {h.shared}/proof\n"
    exp.add(Script(inline=text + IDLE), name="long")
    exp.run(detach=True)
    h.until_lines("proof")
    exp.cancel("long")
    result = h.results(exp.id)["long"]
    # It cleaned up and ended with 0: whether that counts as a success is not ours to deny.
    assert result.status in (JobState.CANCELLED, JobState.SUCCEEDED)
    assert result.attempts == 1
    assert h.lines("proof") == ["began", "cleaned"]


def cancel_ends_what_ignores_it(h: Harness) -> None:
    """A task that ignores SIGTERM is killed after a grace period, with all its children."""
    exp = h.experiment()
    text = f"trap '' TERM\n(while :; do echo alive >> {h.shared}/pulse; sleep 0.1; done) &\nwait"
    exp.add(Script(inline=text), name="stubborn")
    exp.run(detach=True)
    h.until_lines("pulse")
    exp.cancel("stubborn")
    assert h.results(exp.id)["stubborn"].status is JobState.CANCELLED
    h.until(lambda: _still(h), "the end of the task's children")


def _still(h: Harness) -> bool:
    before = len(h.lines("pulse"))
    time.sleep(0.35)  # three beats
    return len(h.lines("pulse")) == before


def cancel_a_waiting_task(h: Harness) -> None:
    """A task that waits for another is cancelled without ever running; what depends on it is skipped."""
    exp = h.experiment()
    exp.add(h.writes("first", "proof", h.waits_for("go")), name="first")
    exp.add(h.writes("second", "proof"), name="second", dependencies=["first"])
    exp.add(h.writes("third", "proof"), name="third", dependencies=["second"])
    exp.run(detach=True)
    h.until_lines("proof")
    exp.cancel("second")
    h.go("go")
    assert h.until_ended(exp.id) == {
        "first": JobState.SUCCEEDED,
        "second": JobState.CANCELLED,
        "third": JobState.SKIPPED,
    }
    assert h.lines("proof") == ["first"]


def cancel_what_has_ended(h: Harness) -> None:
    """Cancelling a task that has ended changes nothing, however often."""
    exp = h.experiment()
    exp.add(Script(inline="exit 3"), name="bad")
    exp.run(raise_on_failure=False)
    exp.cancel("bad")
    exp.cancel()
    result = h.results(exp.id)["bad"]
    assert (result.status, result.exit_code) == (JobState.FAILED, 3)


SCENARIOS: dict[str, Scenario] = {
    f.__name__: f
    for f in (
        retries_until_it_succeeds,
        retries_come_to_an_end,
        each_attempt_has_its_output_folder,
        time_limit_ends_it,
        cancel_a_running_task,
        cancel_ends_what_ignores_it,
        cancel_a_waiting_task,
        cancel_what_has_ended,
    )
}
