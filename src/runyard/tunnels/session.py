"""One running shell behind three pipes: a process here (``sh``, or ``ssh`` to one), frames in, output out."""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from runyard.tunnels import protocol

_READ = 1 << 17
_NOISE = 4096
_GRACE = 7.0
"""Seconds beyond a script's own limit before we stop waiting: ``timeout`` kills 5 s after it terminates."""


_LAST_WORDS = 0.5
"""Seconds to wait for what a dying session has to say."""


class Lost(Exception):
    """The session ended, or its time was up, before a script's end was known; internal to this package.

    Args:
        text: What was said last.
        noise: What came on stdout instead of an answer to the greeting.
        begun: The script certainly started.
        expired: The time was up.
    """

    def __init__(self, text: str, noise: str = "", *, begun: bool = False, expired: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.noise = noise
        self.begun = begun
        self.expired = expired


class Session:
    """A shell that answers. Not thread-safe; no thread of its own.

    Args:
        argv: What to start; it must run :data:`protocol.LOOP`.
        shell: See :func:`protocol.opening`.
        pre_command: See :func:`protocol.opening`.
        env: Environment of the process.
        group: Ending it early ends its whole process group: right for a shell on this machine.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        shell: str = "",
        pre_command: str = "",
        env: Mapping[str, str] | None = None,
        group: bool = False,
    ) -> None:
        self._token = protocol.new_token()
        self._count = 0
        self._group = group
        self._deaf = 0.0
        self.env = dict(env) if env is not None else None
        self.noise = b""
        self.usable = False
        self.used = time.monotonic()
        self.asked = 0
        # A session of its own: Ctrl-C at the terminal must not reach it (its end would be ambiguous).
        self.process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=self.env,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._in = self.process.stdin.fileno()
        self._out = self.process.stdout.fileno()
        self._err = self.process.stderr.fileno()
        for fd in (self._in, self._out, self._err):
            os.set_blocking(fd, False)
        self._pending = bytearray(protocol.opening(self._token, shell, pre_command))

    def greet(self, seconds: float) -> None:
        """Wait until the shell answers; whatever login scripts print before is kept in :attr:`noise`.

        Raises:
            Lost: when it does not; ``text`` holds what came on stderr.
        """
        mark = f"\n{self._token}\n".encode()
        failed = f"\n{self._token}pre ".encode()
        seen = {self._out: b"", self._err: b""}
        found: set[int] = set()
        deadline = time.monotonic() + seconds
        try:
            while len(found) < 2:
                for fd, data in self._transfer(deadline):
                    if not data:
                        text = (seen[self._err] + self._last_words()).decode("utf-8", "replace")
                        _, bad, rest = seen[self._out].partition(failed)
                        if bad:
                            raise PreCommandFailed(rest.split()[0].decode(), text)
                        raise Lost(text, seen[self._out].decode("utf-8", "replace"))
                    seen[fd] += data
                    if mark in seen[fd]:
                        found.add(fd)
                    elif failed not in seen[fd]:
                        seen[fd] = seen[fd][-_NOISE:]
                self.noise = seen[self._out].partition(mark)[0][-_NOISE:]
            self.usable = True
        except Lost as lost:
            if lost.expired:
                lost.text = seen[self._err].decode("utf-8", "replace")
            raise
        finally:
            if not self.usable:
                self.close(gently=False)

    def exchange(
        self, script: bytes, stdin: Iterable[bytes] | None = None, timeout: float | None = None, *, limit: bool = False
    ) -> Generator[tuple[bool, bytes], None, int]:
        """Run a script: yield (is it stderr?, bytes) as they arrive, and return its exit code.

        A generator that is closed early, or fails, leaves the session unusable: the script's end is unknown.

        Args:
            script: What to run.
            stdin: Its standard input.
            timeout: Seconds until :class:`Lost`.
            limit: Let the target end the script at that time.
        """
        self._count += 1
        self.asked += 1
        token = f"{self._token}{self._count}"
        # Whole seconds: BusyBox's `timeout` knows no others.
        seconds = max(1, math.ceil(timeout)) if limit and timeout is not None and stdin is None else None
        deadline = None if timeout is None else time.monotonic() + (seconds + _GRACE if seconds else timeout)
        self._pending += protocol.frame(token, script, stdin=stdin is not None, seconds=seconds)
        feed = iter(stdin) if stdin is not None else None
        cutters = {
            self._out: protocol.Cutter(token, coded=True),
            self._err: protocol.Cutter(token, coded=False),
        }
        out = cutters[self._out]
        said = b""
        complete = False
        try:
            while not (all(c.done for c in cutters.values()) and feed is None and not self._pending):
                if feed is not None and not self._pending and not self._deaf:
                    data = b"" if out.done else _next_chunk(feed)
                    self._pending += protocol.chunk(data) if data else protocol.LAST
                    feed = feed if data else None
                for fd, data in self._transfer(deadline):
                    if not data:
                        said += b"".join(cutters[self._err].feed(self._last_words()))
                        raise Lost(said.decode("utf-8", "replace"))
                    for body in cutters[fd].feed(data):
                        if fd == self._err:
                            said = (said + body)[-_NOISE:]
                        yield fd == self._err, body
            complete = True
        except Lost as lost:
            lost.begun = out.begun
            raise
        finally:
            self.used = time.monotonic()
            if not complete:
                self.close(gently=False)
        return out.code

    def alive(self) -> bool:
        """Say whether the shell is still there, as far as this machine knows; drops what background jobs printed."""
        if not self.usable or self.process.poll() is not None:
            return False
        for fd in (self._out, self._err):
            try:
                for _ in range(100):  # one that never stops printing must not keep us here
                    if not os.read(fd, _READ):
                        return False
            except BlockingIOError:
                pass
            except OSError:
                return False
        return True

    def close(self, *, gently: bool = True) -> None:
        """End the shell: by the end of its input, else by signals."""
        self.usable = False
        process = self.process
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        if process.returncode is not None:
            return
        for step, seconds in ((None, 0.5), (signal.SIGTERM, 1.0), (signal.SIGKILL, None)):
            if step is None and not gently:
                continue
            with suppress(ProcessLookupError):
                if step is not None and self._group:
                    os.killpg(process.pid, step)
                elif step is not None:
                    process.send_signal(step)
            try:
                process.wait(seconds)
                return
            except subprocess.TimeoutExpired:
                continue

    def forget(self) -> None:
        """Let go of a session that belongs to the parent process, after a fork."""
        self.usable = False
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self.process.returncode = 0  # it is not our child: nothing to wait for

    def _last_words(self) -> bytes:
        """Return what is still coming on stderr once one of the streams has ended: the reason, often."""
        said = b""
        deadline = time.monotonic() + _LAST_WORDS
        poller = select.poll()
        poller.register(self._err, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0 and poller.poll(left * 1000 + 1):
            try:
                data = os.read(self._err, _READ)
            except OSError:
                break
            if not data:
                break
            said += data
        return said

    def _transfer(self, deadline: float | None) -> Iterator[tuple[int, bytes]]:
        """Write what is pending and yield what arrived; an empty piece means that the stream ended."""
        poller = select.poll()
        poller.register(self._out, select.POLLIN)
        poller.register(self._err, select.POLLIN)
        if self._pending:
            poller.register(self._in, select.POLLOUT)
        if self._deaf:
            # Nobody reads what we send; what the other streams say last is the reason.
            deadline = min(deadline or self._deaf + _LAST_WORDS, self._deaf + _LAST_WORDS)
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise Lost("the time is up", expired=not self._deaf)
        for fd, _ in poller.poll(None if left is None else left * 1000 + 1):
            if fd == self._in:
                try:
                    with memoryview(self._pending) as view:
                        sent = os.write(fd, view[:_READ])
                    del self._pending[:sent]
                except BlockingIOError:
                    pass
                except OSError:
                    self._pending.clear()
                    self._deaf = time.monotonic()
                continue
            try:
                yield fd, os.read(fd, _READ)
            except BlockingIOError:
                continue
            except OSError:
                yield fd, b""


class PreCommandFailed(Exception):
    """The user's ``pre_command`` ended with an exit code other than 0."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(code)
        self.code = code
        self.said = said


def _next_chunk(feed: Iterator[bytes]) -> bytes:
    """Return some bytes of a stream, put together from small pieces; none when it has ended."""
    pieces: list[bytes] = []
    size = 0
    while size < protocol.CHUNK:
        piece = next(feed, None)
        if piece is None:
            break
        pieces.append(bytes(piece))
        size += len(piece)
    return b"".join(pieces)
