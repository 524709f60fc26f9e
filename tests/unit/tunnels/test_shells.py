"""When a session is opened again, and what is sent again: decided with sessions that do as they are told."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterable

import pytest

from runyard.errors import AuthError, TunnelError
from runyard.tunnels import Interrupted, TimedOut, shells
from runyard.tunnels.failures import Unreachable
from runyard.tunnels.session import Lost


class Fake:
    """A session that answers with the next of its outcomes."""

    def __init__(self, *outcomes: Lost | bytes) -> None:
        self.outcomes = list(outcomes)
        self.asked: list[bytes] = []
        self.usable = True
        self.used = 0.0

    def exchange(
        self, script: bytes, stdin: Iterable[bytes] | None = None, timeout: float | None = None, *, limit: bool = False
    ) -> Generator[tuple[bool, bytes], None, int]:
        self.asked.append(script)
        outcome = self.outcomes.pop(0) if self.outcomes else b"ok"
        if isinstance(outcome, Lost):
            self.usable = False
            raise outcome
        yield False, outcome
        return 0

    def alive(self) -> bool:
        return self.usable

    def close(self) -> None:
        self.usable = False

    def forget(self) -> None:
        self.usable = False


class FakeLink:
    """Gives out sessions, or fails."""

    def __init__(self, *given: Fake | Exception) -> None:
        self.given = list(given)
        self.stale = False
        self.released: list[bool] = []

    def open_session(self) -> Fake:
        outcome = self.given.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def is_stale(self, session: object) -> bool:
        return self.stale

    def release(self, ending: bool) -> None:
        self.released.append(ending)

    def forget(self) -> None:
        pass


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seen: list[float] = []
    monkeypatch.setattr(shells.time, "sleep", seen.append)
    monkeypatch.setattr(shells, "IDLE", float("inf"))
    return seen


def shell_on(*given: Fake | Exception) -> shells.PersistentShell:
    return shells.PersistentShell("login1", FakeLink(*given))  # type: ignore[arg-type]


def test_a_change_is_sent_once() -> None:
    first, second = Fake(b"a", Lost("broken pipe")), Fake()
    shell = shell_on(first, second)
    assert shell(b"one").stdout == "a"
    with pytest.raises(Interrupted, match="login1: the connection was lost while a script ran\nbroken pipe") as lost:
        shell(b"two")
    assert lost.value.ambiguous
    assert shell(b"three").stdout == "ok"
    assert (first.asked, second.asked) == ([b"one", b"two"], [b"three"])


def test_a_read_is_sent_again_but_not_for_ever() -> None:
    fakes = [Fake(Lost("")), Fake(Lost("")), Fake()]
    assert shell_on(*fakes)(b"x", repeat=True).stdout == "ok"
    assert [f.asked for f in fakes] == [[b"x"]] * 3
    with pytest.raises(Interrupted):
        shell_on(*(Fake(Lost("")) for _ in range(5)))(b"x", repeat=True)


def test_a_read_that_was_late_is_not_sent_again() -> None:
    shell = shell_on(Fake(Lost("", expired=True)), Fake())
    with pytest.raises(TimedOut, match="did not end within 3 s"):
        shell(b"x", repeat=True, timeout=3)


def test_input_that_can_be_read_once_is_sent_once() -> None:
    with pytest.raises(Interrupted):
        shell_on(Fake(Lost("")), Fake())(b"x", iter([b"y"]), repeat=True)
    assert shell_on(Fake(Lost("")), Fake())(b"x", [b"y"], repeat=True).stdout == "ok"


def test_what_was_shown_is_not_shown_again() -> None:
    seen: list[bytes] = []
    with pytest.raises(Interrupted):
        shell_on(Fake(Lost("")), Fake()).raw(b"x", repeat=True, sink=seen.append)


def test_the_first_connection_is_not_waited_for(waits: list[float]) -> None:
    with pytest.raises(Unreachable):
        shell_on(Unreachable("no such host"), Fake())(b"x")
    assert not waits
    assert shell_on(Unreachable("full", busy=True), Unreachable("full", busy=True), Fake())(b"x").code == 0
    assert tuple(waits) == shells.BUSY_BACKOFF[:2]


def test_a_lost_machine_is_waited_for(waits: list[float]) -> None:
    session = Fake()
    shell = shell_on(session, Unreachable("down"), Unreachable("down"), Fake())
    shell(b"x")
    session.usable = False
    assert shell(b"x").code == 0
    assert tuple(waits) == shells.BACKOFF[:2]


def test_a_login_that_is_refused_is_not_tried_again(waits: list[float]) -> None:
    session = Fake()
    shell = shell_on(session, AuthError("no"))
    shell(b"x")
    session.usable = False
    with pytest.raises(AuthError):
        shell(b"x")
    assert not waits


def test_an_idle_connection_is_tried_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shells, "IDLE", 5.0)
    old, new = Fake(b"first", Lost("dead")), Fake()
    shell = shell_on(old, new)
    shell(b"x")
    assert shell(b"change").stdout == "ok"
    assert (old.asked, new.asked) == ([b"x", b":"], [b"change"])
    assert shell(b"read", repeat=True).stdout == "ok"
    assert new.asked == [b"change", b"read"]


def test_a_stale_session_is_replaced() -> None:
    link = FakeLink(Fake(), Fake())
    shell = shells.PersistentShell("here", link)  # type: ignore[arg-type]
    shell(b"x")
    link.stale = True
    shell(b"x")
    assert shell.opened == 2


def test_closing_and_leaving() -> None:
    link = FakeLink(Fake(), Fake())
    shell = shells.PersistentShell("here", link)  # type: ignore[arg-type]
    shell(b"x")
    shell.close()
    assert shell(b"x").code == 0
    shell.leave()
    assert link.released == [False, True]


def test_no_nul_and_no_use_from_within() -> None:
    shell = shell_on(Fake(), Fake())
    with pytest.raises(TunnelError, match="NUL"):
        shell(b"a\0b")
    with shell.stream(b"x") as stream:
        with pytest.raises(TunnelError, match="another script of this thread"):
            shell(b"y")
        assert list(stream) == [b"ok"]
    assert stream.code == 0
    done: list[int] = []
    worker = threading.Thread(target=lambda: done.append(shell(b"z").code))
    worker.start()
    worker.join()
    assert done == [0]


def test_sessions_are_shared_by_key() -> None:
    made = [shells.shared("k", lambda: shell_on(Fake())) for _ in range(2)]
    assert made[0] is made[1]
    assert shells.shared(("k", os.getpid()), lambda: shell_on(Fake())) is not made[0]
