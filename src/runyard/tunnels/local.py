"""This machine, through the same kind of shell as a remote one."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from runyard.home import runyard_home
from runyard.tunnels.base import Tunnel, in_bash

if TYPE_CHECKING:
    from runyard.tunnels.session import Session
    from runyard.tunnels.shells import PersistentShell


@dataclass
class LocalTunnel(Tunnel):
    """The machine that this process runs on, for example a login node.

    Args:
        job_dir: Folder for Runyard's files; default: ``RUNYARD_HOME``.

    Example:
        >>> LocalTunnel().run("echo hello").stdout
        'hello\\n'
    """

    kind: ClassVar[str] = "local"

    job_dir: str = ""

    @property
    def name(self) -> str:
        """Always ``local``."""
        return "local"

    @property
    def root(self) -> str:
        """``job_dir``, else Runyard's home."""
        return self.job_dir or str(runyard_home())

    def shell(self) -> PersistentShell:
        """Return the shell, shared by all local tunnels of this process.

        It begins anew when this process's environment has changed.
        """
        from runyard.tunnels import shells

        return shells.shared("local", lambda: shells.PersistentShell("this machine", _Here()))

    def attach(self, cmd: str) -> int:
        """Run a command with this terminal as its own, and return its exit code."""
        import subprocess

        return subprocess.run(["sh", "-c", in_bash(cmd)], check=False).returncode

    def expand(self, path: str) -> str:
        """Return an absolute path."""
        return os.path.abspath(os.path.expanduser(path))

    def _path(self, path: str) -> str:
        slash = "/" if path.endswith("/") and path != "/" else ""
        return self.expand(path) + slash

    def _command_script(self, cmd: str) -> str:
        return f"cd -- {shlex.quote(os.getcwd())} && {{ {in_bash(cmd)}; }}"


class _Here:
    """Sessions on this machine."""

    def open_session(self) -> Session:
        from runyard.tunnels import protocol
        from runyard.tunnels.session import Session

        session = Session(["sh", "-c", protocol.LOOP], group=True, env=os.environ)
        session.greet(30)
        return session

    def is_stale(self, session: Session) -> bool:
        return session.env != dict(os.environ)

    def release(self, ending: bool) -> None:
        pass

    def forget(self) -> None:
        pass
