"""ssh's ControlMaster: one connection per machine that outlives commands, shared by all of a user's processes.

Facts are from ssh(1) and ssh_config(5) (ControlMaster, ControlPath, ControlPersist). A master runs in the background
until it was idle for :data:`KEEP` seconds, so that the next command neither logs in nor asks for a second factor.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runyard.errors import TunnelError
from runyard.tunnels.destination import Destination, Facts, is_attended, no_client, run_ssh
from runyard.tunnels.failures import Unreachable, explain

KEEP = 600
"""Seconds that a connection nobody uses stays open."""
LOGIN_LIMIT = 60.0
"""Seconds for a login that asks nobody."""
ATTENDED_LIMIT = 300.0
"""Seconds for a login in which a person may be typing a code."""
_LONGEST = 70
"""Longest control directory: a socket's path has 107 bytes (unix(7)), and ssh binds it with 17 more at first."""


def control_dir() -> Path:
    """Return the private folder for control sockets: in ``$XDG_RUNTIME_DIR``, else in ``/tmp``; made when missing.

    Raises:
        TunnelError: when somebody else could use it.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    usable = base and len(os.fsencode(base)) <= _LONGEST and os.access(base, os.W_OK)
    path = Path(base) / "runyard" if usable else Path(f"/tmp/ry-{os.getuid()}")
    if len(os.fsencode(tempfile.gettempdir())) <= _LONGEST and not usable and not os.access("/tmp", os.W_OK):
        path = Path(tempfile.gettempdir()) / f"ry-{os.getuid()}"
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise TunnelError(
            f"{path}: is not a folder that only you can use, so no connection is kept there",
            hint=f"remove it, or: chmod 700 {path}",
        )
    return path


class Master:
    """One background connection.

    Args:
        destination: The machine.
        facts: What the configuration says of it.
        path: Its control socket.
        private: Only this process knows it.
    """

    def __init__(self, destination: Destination, facts: Facts, path: Path, *, private: bool = False) -> None:
        self._to = destination
        self._facts = facts
        self.path = path
        self._private = private
        self._use: int | None = None

    @property
    def words(self) -> list[str]:
        """The options of ssh(1) that address this connection."""
        return [*self._to.words, "-S", str(self.path)]

    def alive(self) -> bool:
        """Say whether the connection is open, as far as its process knows."""
        return self.path.exists() and run_ssh([*self.words, "-O", "check", "--", self._to.host]).returncode == 0

    def hold(self) -> None:
        """Note that this process uses the connection, until :meth:`let_go` or its end."""
        if self._use is None:
            self._use = os.open(f"{self.path}.use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._use, fcntl.LOCK_SH)

    def let_go(self) -> None:
        """Close the connection if no other process uses it."""
        if self._use is not None:
            with suppress(BlockingIOError):
                fcntl.flock(self._use, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.exit()
            os.close(self._use)
            self._use = None
            if self._private:
                for lock in ("use", "start"):
                    Path(f"{self.path}.{lock}").unlink(missing_ok=True)

    def forget(self) -> None:
        """Leave the connection to the parent process, after a fork: a lock taken here would be its lock."""
        if self._use is not None:
            os.close(self._use)
            self._use = None

    def exit(self) -> None:
        """End the connection, whoever uses it."""
        if self.path.exists():
            run_ssh([*self.words, "-O", "exit", "--", self._to.host])

    def start(self) -> None:
        """Log in, unless another process just did.

        Raises:
            HostKeyError: when the machine is not known to be the right one.
            AuthError: when it refuses the login.
            TunnelError: when it cannot be reached.
        """
        attended = is_attended()
        limit = ATTENDED_LIMIT if attended else LOGIN_LIMIT
        with self._starting(limit):
            if self.alive():
                return
            # Left by a master that was killed. ssh would see it, and go on in the background without a socket.
            self.path.unlink(missing_ok=True)
            options = [
                *("-f", "-N", "-M", "-T", "-x"),
                *("-o", f"ControlPersist={KEEP}"),
                *("-o", f"BatchMode={'no' if attended else 'yes'}"),
                *("-o", "LogLevel=INFO", "-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes"),
                *("-o", "PermitLocalCommand=no"),
                *self._facts.policy(),
            ]
            code, said = _log_in(["ssh", *self.words, *options, "--", self._to.host], limit, attended)
        if code is None:
            raise Unreachable(
                f"{self._to.name}: the login did not end within {limit:g} s", hint=f"try by hand: {self._to.typed}"
            )
        if code:
            raise explain(said, name=self._to.name, typed=self._to.typed, scan=self._facts.scan, interactive=attended)

    @contextmanager
    def _starting(self, seconds: float) -> Iterator[None]:
        """Let one process at a time log in."""
        fd = os.open(f"{self.path}.start", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + seconds
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Unreachable(
                            f"{self._to.name}: another process has been logging in for {seconds:g} s",
                            hint="answer its question, or end it",
                        ) from None
                    time.sleep(0.02)
            yield
        finally:
            os.close(fd)


def _log_in(argv: list[str], seconds: float, attended: bool) -> tuple[int | None, str]:
    """Run an ssh that goes to the background once it is logged in; return its exit code (None: time up) and stderr.

    With somebody at the terminal ssh stays in its foreground group, so that it may ask on ``/dev/tty``, and what it
    says goes there as well (the explanation of a second factor, for example).
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=not attended,
        )
    except FileNotFoundError:
        raise no_client() from None
    assert process.stderr is not None
    said = b""
    deadline = time.monotonic() + seconds
    try:
        with process.stderr as stderr:
            os.set_blocking(stderr.fileno(), False)
            poller = select.poll()
            poller.register(stderr, select.POLLIN)
            with _exit_of(process, poller):
                ended = False
                # The end of the stream is not waited for: older versions keep it open in the background.
                while not ended:
                    if time.monotonic() > deadline:
                        return None, said.decode("utf-8", "replace")
                    poller.poll(20)
                    ended = process.poll() is not None
                    while data := stderr.read(4096):
                        said += data
                        if attended:
                            sys.stderr.write(data.decode("utf-8", "replace"))
                            sys.stderr.flush()
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                if attended:
                    process.kill()
                else:
                    os.killpg(process.pid, signal.SIGKILL)  # with the ssh of a ProxyJump
            process.wait()
    return process.returncode, said.decode("utf-8", "replace")


@contextmanager
def _exit_of(process: subprocess.Popen[bytes], poller: select.poll) -> Iterator[None]:
    """Wake a poller when a process ends, where the system can (Linux)."""
    if not hasattr(os, "pidfd_open"):
        yield
        return
    fd = os.pidfd_open(process.pid)
    try:
        poller.register(fd, select.POLLIN)
        yield
    finally:
        os.close(fd)
