"""The shell that a process shares for one machine: opened at first use, reopened when lost, one script at a time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from runyard.errors import TunnelError
from runyard.shell import Answer
from runyard.tunnels.base import RawAnswer
from runyard.tunnels.failures import Interrupted, TimedOut, Unreachable, tail
from runyard.tunnels.session import Lost, Session

BACKOFF = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts to reach again a machine that was reached before."""
BUSY_BACKOFF = (0.3, 0.8, 2.0)
"""The same for a machine that answered and turned the connection down (``MaxStartups`` in sshd_config(5))."""
REPEATS = 3
"""How often a script that changes nothing is sent."""
IDLE = 15.0
"""Seconds without use after which a connection is tried before a script that changes something is sent on it."""
PING = 10.0


class Link(Protocol):
    """Where the sessions of a shell come from."""

    def open_session(self) -> Session:
        """Return a session that answers; called again after a loss."""
        ...

    def is_stale(self, session: Session) -> bool:
        """Say whether a session that answers must be replaced nevertheless."""
        ...

    def release(self, ending: bool) -> None:
        """Close what the sessions ran on; when the process ends, a connection may stay for the next one."""
        ...

    def forget(self) -> None:
        """Let go of what belongs to the parent process, after a fork."""
        ...


class PersistentShell:
    """Runs ``sh`` scripts on one machine through one session; call it like a function.

    Scripts of several threads take turns. Each runs in a subshell that starts in the home folder (on this machine: in
    the folder where the session began), without standard input unless some is given. ``$$`` is the session's, so make
    names of temporary files otherwise. A program that a script leaves in the background must redirect its output.

    A script whose stdin breaks off with the connection sees its end: it must know what to expect before it acts on it.

    Args:
        name: The machine, for messages.
        link: Where its sessions come from.
    """

    def __init__(self, name: str, link: Link) -> None:
        self.name = name
        self.home = ""
        """The home folder there, once somebody asked."""
        self.opened = 0
        """How many sessions were opened."""
        self._link = link
        self._session: Session | None = None
        self._lock = threading.Lock()
        self._owner = 0
        self._sleep: Callable[[float], object] = time.sleep

    def __call__(
        self,
        script: bytes,
        stdin: Iterable[bytes] | None = None,
        *,
        repeat: bool = False,
        timeout: float | None = None,
    ) -> Answer:
        """Run a script and return how it ended, as text; see :meth:`raw`."""
        raw = self.raw(script, stdin, repeat=repeat, timeout=timeout)
        return Answer(raw.code, raw.stdout.decode("utf-8", "replace"), raw.stderr.decode("utf-8", "replace"))

    def raw(
        self,
        script: bytes,
        stdin: Iterable[bytes] | None = None,
        *,
        repeat: bool = False,
        timeout: float | None = None,
        sink: Callable[[bytes], object] | None = None,
    ) -> RawAnswer:
        """Run a script and return how it ended, byte for byte.

        Args:
            script: POSIX ``sh``, of any size, in any encoding, without NUL bytes.
            stdin: Its standard input, of any length; without, it is empty.
            repeat: The script changes nothing, so it is sent again when the connection is lost. Any other script is
                sent once. With a ``stdin`` that can be read only once (an iterator) nothing is sent again.
            timeout: Seconds until :class:`TimedOut`; the connection is then given up. A script marked ``repeat`` is
                also ended on the target, where there is ``timeout`` (GNU, BusyBox); any other one goes on there.
            sink: Called with pieces of stdout as they arrive; the answer's ``stdout`` has them nevertheless.

        Raises:
            Interrupted: when it is not known how the script ended; ``ambiguous`` says whether it may have run.
            TunnelError: when the machine cannot be reached.
        """
        once = not repeat or (stdin is not None and iter(stdin) is stdin)
        for attempt in range(1, REPEATS + 1):
            try:
                with self.stream(script, stdin, limit=repeat, timeout=timeout, checked=once) as stream:
                    out = []
                    for piece in stream:
                        out.append(piece)
                        if sink is not None:
                            sink(piece)
                return RawAnswer(stream.code, b"".join(out), stream.stderr)
            except TimedOut:
                raise
            except Interrupted as lost:
                # What a sink was shown cannot be taken back.
                if (once and lost.ambiguous) or sink is not None or attempt == REPEATS:
                    raise
        raise AssertionError("unreachable")

    @contextmanager
    def stream(
        self,
        script: bytes,
        stdin: Iterable[bytes] | None = None,
        *,
        limit: bool = False,
        timeout: float | None = None,
        checked: bool = True,
    ) -> Iterator[Stream]:
        """Run a script once and give its stdout piece by piece; the shell is taken until the block is left.

        Args:
            script: What to run.
            stdin: Its standard input.
            limit: End it on the target when the time is up.
            timeout: Seconds for all of it.
            checked: Try a connection that was idle before sending.

        Leaving the block early gives the session up: what the script does then is unknown.
        """
        if b"\0" in script:
            raise TunnelError("a script for a shell cannot hold NUL bytes", hint="send them on its stdin")
        me = threading.get_ident()
        if self._owner == me:
            raise TunnelError(
                f"{self.name}: the shell is running another script of this thread", hint="use them in turn"
            )
        with self._lock:
            self._owner = me
            try:
                session = self._ready(checked)
                pieces = session.exchange(script, stdin, timeout, limit=limit)
                stream = Stream(self.name, pieces, timeout if limit else None)
                try:
                    yield stream
                    stream.drain()
                except Lost as lost:
                    raise self._explained(lost, timeout) from None
                finally:
                    pieces.close()
            finally:
                self._owner = 0

    @property
    def session(self) -> Session | None:
        """The session in use, if any."""
        return self._session

    def close(self) -> None:
        """End the session and what it ran on. The next script opens a new one."""
        with self._lock:
            self._drop()
            self._link.release(False)

    def leave(self) -> None:
        """End the session, as the process ends; the connection stays for the next one."""
        if self._session is not None:
            self._session.close()
            self._session = None
        self._link.release(True)

    def forget(self) -> None:
        """Let go of everything that belongs to the parent process, after a fork."""
        self._lock = threading.Lock()
        self._owner = 0
        if self._session is not None:
            self._session.forget()
            self._session = None
        self._link.forget()

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _ready(self, checked: bool) -> Session:
        """Return a session that answers, as far as can be known before something is sent."""
        session = self._session
        if session is not None and session.alive() and not self._link.is_stale(session):
            if not checked or time.monotonic() - session.used < IDLE:
                return session
            try:
                for _ in session.exchange(b":", timeout=PING):
                    pass
                return session
            except Lost:
                pass
        self._drop()
        waits = list(BACKOFF if self.opened else BUSY_BACKOFF)
        while True:
            try:
                self._session = self._link.open_session()
                self.opened += 1
                return self._session
            except Unreachable as error:
                if not waits or not (self.opened or error.busy):
                    raise
                self._sleep(waits.pop(0))

    def _explained(self, lost: Lost, timeout: float | None) -> Interrupted:
        self._drop()
        if lost.expired:
            return TimedOut(
                f"{self.name}: a script did not end within {timeout:g} s",
                hint="the machine, its file system or a service there may hang; try again later",
            )
        said = tail(lost.text, 4)
        return Interrupted(
            f"{self.name}: the connection was lost while a script ran" + (f"\n{said}" if said else ""),
            hint="it may have run; look before doing it again",
        )


class Stream:
    """The stdout of a running script, in pieces; afterwards its exit code and stderr.

    Args:
        name: The machine, for messages.
        pieces: What arrives.
        limit: Seconds after which the target itself ends the script.
    """

    def __init__(self, name: str, pieces: Generator[tuple[bool, bytes], None, int], limit: float | None) -> None:
        self._name = name
        self._pieces = pieces
        self._limit = limit
        self._started = time.monotonic()
        self._err: list[bytes] = []
        self.code = -1

    @property
    def stderr(self) -> bytes:
        """What came on stderr so far."""
        return b"".join(self._err)

    def __iter__(self) -> Iterator[bytes]:
        while self.code < 0:
            try:
                is_err, body = next(self._pieces)
            except StopIteration as end:
                self.code = end.value
                # 124: GNU's `timeout` ended it, 143: BusyBox's, 137: it had to kill it.
                late = self._limit is not None and time.monotonic() - self._started >= self._limit
                if late and self.code in (124, 137, 143):
                    raise TimedOut(
                        f"{self._name}: a script did not end within {self._limit:g} s, and was ended there",
                        hint="the machine, its file system or a service there may hang; try again later",
                        ambiguous=False,
                    ) from None
                return
            if is_err:
                self._err.append(body)
            else:
                yield body

    def drain(self) -> None:
        """Read on to the end, and drop what comes."""
        for _ in self:
            pass


_shells: dict[Hashable, PersistentShell] = {}
_pool = threading.Lock()


def shared(key: Hashable, make: Callable[[], PersistentShell]) -> PersistentShell:
    """Return this process's shell for a machine, made when it is first asked for."""
    with _pool:
        if not _shells:
            _at_exit()
        if key not in _shells:
            _shells[key] = make()
        return _shells[key]


def close_all() -> None:
    """End all sessions of this process. Connections stay open for a while for the next one."""
    for shell in list(_shells.values()):
        shell.leave()


def _forget_all() -> None:
    global _pool
    _pool = threading.Lock()
    for shell in _shells.values():
        shell.forget()


_registered = False


def _at_exit() -> None:
    global _registered
    if not _registered:
        import atexit

        _registered = True
        atexit.register(close_all)
        os.register_at_fork(after_in_child=_forget_all)
