"""A machine behind ssh: the system's OpenSSH, one connection, one session on it."""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from runyard.tunnels.base import Tunnel, in_bash
from runyard.tunnels.destination import Destination

if TYPE_CHECKING:
    from runyard.tunnels.shells import PersistentShell


@dataclass(init=False)
class SSHTunnel(Tunnel):
    """A machine that is reached with the system's ``ssh``.

    ``~/.ssh/config``, ProxyJump, agents, hardware keys and second factors work as they do by hand. The connection is
    shared by all commands of this user, stays for ten minutes after the last one, and is closed by :meth:`cleanup`.
    Host keys are verified; an unknown one is an error that says what to do.

    Args:
        host: Host name, address, or ``Host`` of your ssh configuration.
        user: Login name; default: ssh's.
        job_dir: Folder for Runyard's files there, absolute or in the home folder; default: ``~/.runyard``.
        port: Port; default: ssh's.
        identity: Private key file; default: ssh's.
        shell: Command of the POSIX-like shell that commands run in and take their environment from, for example
            ``bash -l`` when Slurm is on the PATH only after a login. Kept as ``shell_command``.
        pre_command: Lines that prepare that environment once per session, for example ``module load slurm``.
        config: ssh configuration file instead of ``~/.ssh/config`` and the system's.
        shell_command: Another name of ``shell``, for ``dataclasses.replace``.

    Example:
        >>> tunnel = SSHTunnel("login.cluster.org", user="alice")
        >>> tunnel.name
        'alice@login.cluster.org'
        >>> tunnel.run("squeue --me").stdout  # doctest: +SKIP
    """

    kind: ClassVar[str] = "ssh"

    host: str
    user: str | None
    job_dir: str
    port: int | None
    identity: str | None
    shell_command: str | None
    pre_command: str | None
    config: str | None

    def __init__(
        self,
        host: str,
        user: str | None = None,
        job_dir: str = "",
        port: int | None = None,
        identity: str | None = None,
        shell: str | None = None,
        pre_command: str | None = None,
        config: str | None = None,
        *,
        shell_command: str | None = None,
    ) -> None:
        # Written by hand, because the argument `shell` has the name of a method.
        self.host = host
        self.user = user
        self.job_dir = job_dir
        self.port = port
        self.identity = identity
        self.shell_command = shell or shell_command
        self.pre_command = pre_command
        self.config = config

    @classmethod
    def _arguments(cls) -> dict[str, str]:
        return {("shell" if k == "shell_command" else k): k for k in super()._arguments()}

    @property
    def name(self) -> str:
        """``user@host:port``, with what was given."""
        return self._destination().name

    @property
    def root(self) -> str:
        """``job_dir``, else ``~/.runyard``; a relative path lies in the home folder there, whatever a job's own is."""
        where = self.job_dir or "~/.runyard"
        return where if where.startswith(("/", "~")) else f"~/{where.removeprefix('./')}"

    def shell(self) -> PersistentShell:
        """Return the shell on the machine, shared by all tunnels of this process that log in there alike."""
        from runyard.tunnels import connection, shells

        to, words, lines = self._destination(), self.shell_command or "", self.pre_command or ""

        def make() -> shells.PersistentShell:
            return shells.PersistentShell(to.name, connection.Connection(to, words, lines))

        return shells.shared((to, words, lines), make)

    def attach(self, cmd: str) -> int:
        """Run a command there with this terminal as its own, on the connection that is open; return its exit code.

        Raises:
            TunnelError: when the machine cannot be reached.
        """
        import subprocess
        import sys

        from runyard.tunnels.master import control_dir

        self.connect()
        to = self._destination()
        script = self._command_script(f"{self.pre_command or ':'}\n{cmd}")
        words = [
            *("ssh", *to.words, "-S", str(control_dir() / to.facts().key), "-t" if sys.stdin.isatty() else "-T"),
            *("--", self.host, f"exec sh -c {shlex.quote(script)}"),
        ]
        return subprocess.run(words, check=False).returncode

    def expand(self, path: str) -> str:
        """Return an absolute path there; asks for the home folder once."""
        if path.startswith("/"):
            return posixpath.normpath(path)
        shell = self.shell()
        if not shell.home:
            shell.home = shell(b'printf %s "$HOME"', repeat=True).stdout
        rest = path[1:].lstrip("/") if path == "~" or path.startswith("~/") else path
        return posixpath.normpath(posixpath.join(shell.home, rest))

    def _destination(self) -> Destination:
        return Destination(self.host, self.user, self.port, self.identity, self.config)

    def _command_script(self, cmd: str) -> str:
        if self.shell_command:
            return f"exec {shlex.quote(shlex.split(self.shell_command)[0])} -c {shlex.quote(cmd)}"
        return in_bash(cmd)
