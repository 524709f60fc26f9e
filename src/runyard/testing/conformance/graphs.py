"""Several tasks: dependencies of every type, limits, and experiments side by side."""

from __future__ import annotations

from runyard.states import JobState
from runyard.task import Script
from runyard.testing.conformance.harness import Harness, Scenario


def afterok(h: Harness) -> None:
    """``afterok`` waits for success, and never starts before it."""
    exp = h.experiment()
    exp.add(h.writes("second", "proof"), name="second", dependencies=["first"])
    exp.add(Script(inline=f"sleep 0.3; echo first >> {h.shared}/proof"), name="first")
    results = exp.run()
    assert h.lines("proof") == ["first", "second"]
    assert all(r.ok for r in results.values())


def failure_skips_what_depends_on_it(h: Harness) -> None:
    """Everything downstream of a failure is skipped, with the reason, and nothing else is."""
    exp = h.experiment()
    exp.add(Script(inline="exit 1"), name="bad")
    exp.add(h.writes("child", "proof"), name="child", dependencies=["bad"])
    exp.add(h.writes("grandchild", "proof"), name="grandchild", dependencies=["child"])
    exp.add(h.writes("other", "proof"), name="other")
    results = exp.run(raise_on_failure=False)
    assert {n: r.status for n, r in results.items()} == {
        "bad": JobState.FAILED,
        "child": JobState.SKIPPED,
        "grandchild": JobState.SKIPPED,
        "other": JobState.SUCCEEDED,
    }
    assert "'bad'" in results["child"].reason
    assert h.lines("proof") == ["other"]


def afterany(h: Harness) -> None:
    """``afterany`` starts after an end of either kind."""
    exp = h.experiment()
    exp.add(Script(inline="exit 1"), name="bad")
    exp.add(Script(inline="true"), name="good")
    exp.add(h.writes("ran", "proof"), h.executor(dependency_type="afterany"), "any", dependencies=["bad", "good"])
    assert exp.run(raise_on_failure=False)["any"].ok
    assert h.lines("proof") == ["ran"]


def afternotok(h: Harness) -> None:
    """``afternotok`` starts after a failure, and is skipped after a success."""
    exp = h.experiment()
    exp.add(Script(inline="exit 1"), name="bad")
    exp.add(Script(inline="true"), name="good")
    exp.add(h.writes("rescue", "proof"), h.executor(dependency_type="afternotok"), "rescue", dependencies=["bad"])
    exp.add(h.writes("wrong", "proof"), h.executor(dependency_type="afternotok"), "idle", dependencies=["good"])
    results = exp.run(raise_on_failure=False)
    assert (results["rescue"].status, results["idle"].status) == (JobState.SUCCEEDED, JobState.SKIPPED)
    assert h.lines("proof") == ["rescue"]


def after(h: Harness) -> None:
    """``after`` starts once the other has started, while it still runs."""
    exp = h.experiment()
    exp.add(Script(inline=h.waits_for("go") + f"echo first >> {h.shared}/proof"), name="first")
    exp.add(
        h.writes("second", "proof", f"touch {h.shared}/go"),
        h.executor(dependency_type="after"),
        "second",
        dependencies=["first"],
    )
    exp.run()
    assert h.lines("proof") == ["second", "first"]


def diamond(h: Harness) -> None:
    """One, then two side by side, then one that waits for both."""
    exp = h.experiment()
    exp.add(h.writes("top", "proof"), name="top")
    for side in ("left", "right"):
        exp.add(h.writes(side, "proof", "sleep 0.1"), name=side, dependencies=["top"])
    exp.add(h.writes("bottom", "proof"), name="bottom", dependencies=["left", "right"])
    exp.run()
    proof = h.lines("proof")
    assert (proof[0], sorted(proof[1:3]), proof[3:]) == ("top", ["left", "right"], ["bottom"])


def sequential(h: Harness) -> None:
    """A sequential run takes the tasks in the order they were added, one at a time."""
    exp = h.experiment()
    for i in range(4):
        exp.add(h.writes(f"begin {i}", "proof", f"sleep 0.05; echo end {i} >> {h.shared}/proof"), name=f"task-{i}")
    exp.run(sequential=True)
    assert h.lines("proof") == [f"{word} {i}" for i in range(4) for word in ("begin", "end")]


def dependent_of_a_retried_task(h: Harness) -> None:
    """What depends on a task waits for its last attempt: a failure that is retried is none yet."""
    exp = h.experiment(retries=1)
    exp.add(h.writes("try $RUNYARD_ATTEMPT", "proof", "[ $RUNYARD_ATTEMPT -ge 2 ]"), name="flaky")
    exp.add(h.writes("after", "proof"), name="after", dependencies=["flaky"])
    exp.run()
    assert h.lines("proof") == ["try 1", "try 2", "after"]


def fifty_tasks_within_the_limit(h: Harness) -> None:
    """Fifty tasks all run once, never more at a time than the executor's limit allows."""
    exp = h.experiment()
    for i in range(50):
        exp.add(h.writes(f"+{i}", "proof", f"sleep 0.1; echo -{i} >> {h.shared}/proof"), name=f"task-{i}")
    results = exp.run()
    assert all(r.ok for r in results.values())
    assert sorted(h.lines("proof")) == sorted(f"{sign}{i}" for sign in "+-" for i in range(50))
    limit = h.executor().parallel_limit()
    if limit is not None:
        now = most = 0
        for line in h.lines("proof"):
            now += 1 if line.startswith("+") else -1
            most = max(most, now)
        assert most <= limit, f"{most} ran at once, and {limit} may"


def two_experiments_at_once(h: Harness) -> None:
    """Two experiments with one title, launched in the same second, both run to their ends, apart."""
    ids = []
    for which in ("one", "two"):
        exp = h.experiment("twins")
        exp.add(h.writes(which, which, h.waits_for("go")), name="task")
        exp.add(h.writes("after", which), name="after", dependencies=["task"])
        exp.run(detach=True)
        ids.append(exp.id)
    assert ids[0] != ids[1]
    h.until_lines("one")
    h.until_lines("two")
    h.go("go")
    for id, which in zip(ids, ("one", "two"), strict=True):
        assert set(h.until_ended(id).values()) == {JobState.SUCCEEDED}
        assert h.lines(which) == [which, "after"]


SCENARIOS: dict[str, Scenario] = {
    f.__name__: f
    for f in (
        afterok,
        failure_skips_what_depends_on_it,
        afterany,
        afternotok,
        after,
        diamond,
        sequential,
        dependent_of_a_retried_task,
        fifty_tasks_within_the_limit,
        two_experiments_at_once,
    )
}
