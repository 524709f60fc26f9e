"""Task groups: members that run side by side as one job."""

from __future__ import annotations

from runyard.errors import ConfigError
from runyard.states import JobState
from runyard.task import Script
from runyard.testing.conformance.harness import IDLE, Harness, Scenario, raised


def group_succeeds(h: Harness) -> None:
    """A group has succeeded when all members have; they run at the same time, each with its own log."""
    exp = h.experiment()
    one = Script(inline=f"touch {h.shared}/go-two\n{h.waits_for('go-one')}echo from one")
    two = Script(inline=f"touch {h.shared}/go-one\n{h.waits_for('go-two')}echo from two")
    exp.add([one, two], name="pair")
    assert exp.run()["pair"].ok
    assert sorted(h.log(exp.id, "pair").values()) == [b"from one\n", b"from two\n"]


def group_fails_when_any_member_fails(h: Harness) -> None:
    """When one member fails, the others are told to end, and the group has failed with that member's code."""
    exp = h.experiment()
    stays = f"trap 'echo told >> {h.shared}/proof; exit 0' TERM\ntouch {h.shared}/go\n{IDLE}"
    exp.add([Script(inline=stays), Script(inline=h.waits_for("go") + "exit 5"), Script(inline="true")], name="trio")
    exp.add(h.writes("wrong", "proof"), name="next", dependencies=["trio"])
    results = exp.run(raise_on_failure=False)
    assert (results["trio"].status, results["trio"].exit_code) == (JobState.FAILED, 5)
    assert results["next"].status is JobState.SKIPPED
    assert h.lines("proof") == ["told"]


def group_waits_for_all_members(h: Harness) -> None:
    """A member that ends with 0 ends nobody else: the group ends with its last member."""
    exp = h.experiment()
    exp.add(
        [Script(inline="true"), h.writes("slow", "proof", f"sleep 0.5; echo done >> {h.shared}/proof")], name="pair"
    )
    exp.add(h.writes("next", "proof"), name="next", dependencies=["pair"])
    exp.run()
    assert h.lines("proof") == ["slow", "done", "next"]


def group_fails_by_a_late_member(h: Harness) -> None:
    """That the first member succeeded does not make the group succeed."""
    exp = h.experiment()
    exp.add([Script(inline="true"), Script(inline="sleep 0.3; exit 9")], name="pair")
    result = exp.run(raise_on_failure=False)["pair"]
    assert (result.status, result.exit_code) == (JobState.FAILED, 9)


def group_is_retried_as_one(h: Harness) -> None:
    """All members of a group that failed run again."""
    exp = h.experiment(retries=1)
    exp.add(
        [h.writes("a$RUNYARD_ATTEMPT", "a"), h.writes("b$RUNYARD_ATTEMPT", "b", "[ $RUNYARD_ATTEMPT = 2 ]")], name="g"
    )
    assert exp.run()["g"].attempts == 2
    assert h.lines("b") == ["b1", "b2"]
    assert h.lines("a")[-1] == "a2"


def cancel_a_group(h: Harness) -> None:
    """Cancelling a group tells every member to end."""
    exp = h.experiment()
    # Once: the group may be told a second time, because its first member that ends does so with a failure.
    told = f"trap '' TERM; echo told >> {h.shared}/proof; exit 1"
    text = f'trap "{told}" TERM\necho began >> {h.shared}/proof\n{IDLE}'
    exp.add([Script(inline=text), Script(inline=text)], name="pair")
    exp.run(detach=True)
    h.until_lines("proof", 2)
    exp.cancel("pair")
    assert h.states(exp.id)["pair"] is JobState.CANCELLED
    assert sorted(h.lines("proof")) == ["began", "began", "told", "told"]


def group_is_offered_or_refused(h: Harness) -> None:
    """A backend without groups refuses one in words, before anything is recorded; one with groups takes it."""
    exp = h.experiment()
    exp.add([Script(inline="true"), Script(inline="true")], name="pair")
    if h.features.groups:
        assert exp.run()["pair"].ok
        return
    error = raised(ConfigError, exp.run)
    assert "group" in str(error)
    assert "'pair'" in str(error)
    assert not list(h.home.glob("experiments/*/*"))


SCENARIOS: dict[str, Scenario] = {
    f.__name__: f
    for f in (
        group_is_offered_or_refused,
        group_succeeds,
        group_fails_when_any_member_fails,
        group_waits_for_all_members,
        group_fails_by_a_late_member,
        group_is_retried_as_one,
        cancel_a_group,
    )
}
