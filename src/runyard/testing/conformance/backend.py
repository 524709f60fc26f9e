"""What the engine asks of a backend's own methods: exactly once, adoption, honest answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from runyard.backends.base import Handle, Request
from runyard.engine import controller
from runyard.errors import BackendError, RunyardError, SubmitError
from runyard.states import ENDED, IN_FLIGHT, JobState, Observation, Status, advance
from runyard.store import lease, records
from runyard.store.records import Change
from runyard.task import Script
from runyard.testing.conformance.harness import Harness, Scenario, raised


def submit_takes_a_batch(h: Harness) -> None:
    """Several requests are submitted by one call, which answers for each in order; one query shows all."""
    exp = h.experiment()
    for i in range(3):
        exp.add(h.writes(f"{i}", "proof", f"exit {i}"), name=f"task-{i}")
    jobs, backend, db = h.recorded(exp)
    with db:
        handles = backend.submit([j.request.at(1) for j in jobs])
        assert len(set(handles)) == 3
        seen = _until_all_ended(h, backend.observe, handles)
    assert [seen[x].exit_code for x in handles if isinstance(x, Handle)] == [0, 1, 2]
    assert sorted(h.lines("proof")) == ["0", "1", "2"]
    assert backend.submit([]) == []
    assert not backend.observe([])
    assert not backend.find([])
    assert not backend.cancel([])


def submitted_twice_runs_once(h: Harness) -> None:
    """Of two submissions of one attempt, one runs; ``find`` names it, and the other ends as nobody's success."""
    exp = h.experiment()
    exp.add(h.writes("ran", "proof", h.waits_for("go")), name="task")
    (job,), backend, db = h.recorded(exp)
    with db:
        request = job.request.at(1)
        handles = [x for _ in range(2) for x in backend.submit([request]) if isinstance(x, Handle)]
        h.until_lines("proof")
        found = h.connect().find([(request, 1)])[request.job]
        h.go("go")
        h.until(lambda: backend.observe([found])[found].state in ENDED, "the end of the one that runs")
        assert h.connect().observe([found])[found].state is JobState.SUCCEEDED
        others = [x for x in handles if x != found]
        last: dict[Handle, Observation] = {}

        def over() -> bool:
            last.update(backend.observe(others))
            return not any(seen.state in IN_FLIGHT for seen in last.values())

        h.until(over, "the other's end")  # it may have waited all the time, and begin only now
        for seen in last.values():
            assert seen.state in (None, JobState.CANCELLED), f"a second claimant counts as {seen}"
    assert h.lines("proof") == ["ran"]


def find_knows_only_what_was_submitted(h: Harness) -> None:
    """``find`` gives a handle for what was submitted, for that attempt, and nothing for what was not."""
    exp = h.experiment()
    exp.add(h.writes("one", "proof", h.waits_for("go")), name="one")
    exp.add(h.writes("two", "proof"), name="two")
    (one, two), backend, db = h.recorded(exp)
    with db:
        assert not backend.find([(one.request, 1), (two.request, 1)])
        submitted = backend.submit([one.request.at(1)])
        h.until(lambda: h.connect().find([(one.request, 1)]), "finding what was submitted")
        found = h.connect().find([(one.request, 1), (two.request, 1)])
        assert set(found) == {one.request.job}
        assert not h.connect().find([(one.request, 2)]), "attempt 2 was not submitted"
        h.go("go")
        _until_all_ended(h, h.connect().observe, list(found.values()))
        _until_all_ended(h, backend.observe, submitted)


def ambiguous_submission_is_adopted(h: Harness) -> None:
    """A job that was submitted, without anybody noting its handle, is adopted and ends as it should."""
    exp = h.experiment()
    exp.add(h.writes("ran", "proof", h.waits_for("go")), name="task")
    (job,), backend, db = h.recorded(exp)
    with db:
        epoch = lease.acquire(db, exp.id, controller.me(), controller.is_alive)
        assert epoch is not None
        intent = Change("task", replace(Status(), state=JobState.SUBMITTING))
        records.apply(db, exp.id, epoch, [intent])
        submitted = backend.submit([job.request.at(1)])
        lease.release(db, exp.id, epoch)
    h.until_lines("proof")
    h.drive(exp.id)
    h.go("go")
    assert h.until_ended(exp.id) == {"task": JobState.SUCCEEDED}
    _until_all_ended(h, backend.observe, submitted)
    assert h.lines("proof") == ["ran"]


def late_submission_is_adopted(h: Harness) -> None:
    """A job that a forgotten submission runs already is not run again: the engine follows the one that runs."""
    exp = h.experiment()
    exp.add(h.writes("ran", "proof", h.waits_for("go")), name="task")
    (job,), backend, db = h.recorded(exp)
    with db:
        submitted = backend.submit([job.request.at(1)])
    h.until_lines("proof")
    h.drive(exp.id)  # it knows nothing of that submission, and makes its own
    h.until(lambda: h.rows(exp.id)["task"].handle, "the engine's own submission")
    h.go("go")
    assert h.until_ended(exp.id) == {"task": JobState.SUCCEEDED}
    _until_all_ended(h, backend.observe, submitted)
    assert h.lines("proof") == ["ran"]


def unknown_handle_is_no_result(h: Harness) -> None:
    """A job that the scheduler does not know is not shown: never a success, never an exception; it becomes LOST."""
    exp = h.experiment()
    exp.add(Script(inline="true"), name="task")
    exp.run()
    known = Handle(*(h.rows(exp.id)["task"].handle or ()))
    unknown = h.unknown_handle(known)
    backend = h.connect()
    seen = backend.observe([unknown, known])
    assert seen[known].state is JobState.SUCCEEDED
    status = Status(JobState.RUNNING)
    for _ in range(3):
        observation = backend.observe([unknown]).get(unknown)
        assert observation is None or observation.state is None, observation
        status = advance(status, observation or Observation(None))
    assert status.state is JobState.LOST
    backend.cancel([unknown])
    assert not list(backend.logs(unknown, {}))


def observing_does_not_change_anything(h: Harness) -> None:
    """An ended job is shown the same way by every query, and by another process."""
    exp = h.experiment()
    exp.add(Script(inline="exit 4"), name="task")
    exp.run(raise_on_failure=False)
    handle = Handle(*(h.rows(exp.id)["task"].handle or ()))
    backend = h.connect()
    views = [b.observe([handle])[handle] for b in (backend, backend, h.connect())]
    assert {(v.state, v.exit_code, v.reason) for v in views} == {(JobState.FAILED, 4, "exit code 4")}


def request_travels_as_json(h: Harness) -> None:
    """A request that was stored and read again submits the same job."""
    exp = h.experiment()
    exp.add(h.writes("ran", "proof"), name="task")
    (job,), backend, db = h.recorded(exp)
    with db:
        stored = Request.from_json(h.rows(exp.id)["task"].request, job.request.files)
        assert stored == job.request
        handles = backend.submit([stored.at(1)])
        seen = _until_all_ended(h, backend.observe, handles)
        assert [Handle(*list(x)) for x in seen] == handles
    assert h.lines("proof") == ["ran"]


def outage_changes_nothing(h: Harness) -> None:
    """While the scheduler cannot be asked, nothing is cancelled, lost or submitted twice; afterwards all goes on."""
    assert h.outage, "give the harness an outage, or declare this scenario unsupported"
    exp = h.experiment()
    exp.add(h.writes("first", "proof", h.waits_for("go")), name="first")
    exp.add(h.writes("second", "proof"), name="second", dependencies=["first"])
    exp.run(detach=True)
    h.until_lines("proof")
    h.until(lambda: h.rows(exp.id)["first"].handle, "its handle")  # a task may be faster than the record of its start
    handle = Handle(*(h.rows(exp.id)["first"].handle or ()))
    with h.outage():
        error = raised(BackendError, lambda: h.connect().observe([handle]))
        assert isinstance(error, RunyardError)
        h.go("go")
        for _ in range(20):
            assert not h.states(exp.id)["first"].ended
            time.sleep(0.05)
    assert h.until_ended(exp.id) == {"first": JobState.SUCCEEDED, "second": JobState.SUCCEEDED}
    assert h.lines("proof") == ["first", "second"]


Observe = Callable[[Sequence[Handle]], dict[Handle, Observation]]


def _until_all_ended(
    h: Harness, observe: Observe, submitted: Sequence[Handle | SubmitError]
) -> dict[Handle, Observation]:
    handles = [x for x in submitted if isinstance(x, Handle)]
    assert len(handles) == len(submitted), submitted
    last: dict[Handle, Observation] = {}

    def all_ended() -> bool:
        left = [x for x in handles if x not in last]
        last.update({x: s for x, s in observe(left).items() if s.state in ENDED})
        return len(last) == len(handles)

    h.until(all_ended, "the end of the submitted jobs")
    return last


SCENARIOS: dict[str, Scenario] = {
    f.__name__: f
    for f in (
        submit_takes_a_batch,
        submitted_twice_runs_once,
        find_knows_only_what_was_submitted,
        ambiguous_submission_is_adopted,
        late_submission_is_adopted,
        unknown_handle_is_no_result,
        observing_does_not_change_anything,
        request_travels_as_json,
        outage_changes_nothing,
    )
}
