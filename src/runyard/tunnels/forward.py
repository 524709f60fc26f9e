"""A unix socket of another machine, brought here by ssh: one login, whatever number of connections.

Uses the connection that :mod:`runyard.tunnels.master` keeps, or the user's own, and ``ssh -O forward`` (ssh(1)), so
that no further session is opened there.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runyard.errors import TunnelError
from runyard.tunnels.destination import Destination, Facts, run_ssh
from runyard.tunnels.failures import tail
from runyard.tunnels.master import Master, control_dir


class ForwardedSocket:
    """A socket here that leads to one there. All processes of this user share it.

    Args:
        to: The machine.
        remote: Path of the socket there.
    """

    def __init__(self, to: Destination, remote: str) -> None:
        self._to = to
        self._remote = remote
        self._facts: Facts | None = None
        self._master: Master | None = None

    @property
    def path(self) -> Path:
        """Where it lies on this machine."""
        self._facts = self._facts or self._to.facts()
        digest = hashlib.sha256(os.fsencode(self._remote)).hexdigest()[:8]
        return control_dir() / f"{self._facts.key}.{digest}"

    def open(self) -> Path:
        """See to it that the socket is there and somebody listens; log in where no connection is open.

        Raises:
            TunnelError: when there can be none.
        """
        path = self.path
        if listens(path):
            return path
        with _alone(path):
            if listens(path):
                return path
            path.unlink(missing_ok=True)  # left by a connection that has ended: ssh would refuse to bind it
            words = self._connection()
            # -F none: the configuration's own forwardings must not be asked for once more.
            ask = ["-F", "none", "-S", words, "-O", "forward", "-L", f"{path}:{self._remote}", "--", self._to.host]
            done = run_ssh(ask)
            if done.returncode or not listens(path):
                raise TunnelError(
                    f"{self._to.name}: ssh does not forward {self._remote}\n{tail(done.stderr, 4)}".rstrip(),
                    hint="does the server's sshd_config forbid it (AllowStreamLocalForwarding)?",
                )
        return path

    def _connection(self) -> str:
        """Return the control socket of an open connection."""
        facts = self._facts
        assert facts is not None
        if facts.control_path and os.path.exists(facts.control_path):
            own = Master(self._to, facts, Path(facts.control_path))
            if own.alive():
                return facts.control_path
        if self._master is None:
            self._master = Master(self._to, facts, control_dir() / facts.key)
        self._master.hold()
        if not self._master.alive():
            self._master.start()
        return str(self._master.path)


def listens(path: Path) -> bool:
    """Say whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
