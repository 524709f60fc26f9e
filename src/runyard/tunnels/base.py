"""What every tunnel offers, and what scripts answer. A tunnel is a plain object; it connects when it is first used."""

from __future__ import annotations

import shlex
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

from runyard.errors import ConfigError
from runyard.shell import Answer as Answer

if TYPE_CHECKING:
    from runyard.tunnels.shells import PersistentShell

Progress = Callable[[int, int], None]
"""Called with the bytes done and their total; a total of 0 is not known."""


class RawAnswer(NamedTuple):
    """What a script on the target did, byte for byte."""

    code: int
    stdout: bytes
    stderr: bytes


class Shell(Protocol):
    """Runs ``sh`` scripts on the target, one after the other. :meth:`Tunnel.shell` returns one."""

    def __call__(
        self,
        script: bytes,
        stdin: Iterable[bytes] | None = None,
        *,
        repeat: bool = False,
        timeout: float | None = None,
    ) -> Answer:
        """Run ``script`` with ``sh``, feed it ``stdin`` if given, and return how it ended."""
        ...


@dataclass(frozen=True)
class Result:
    """What a command did.

    Args:
        stdout: Its output.
        stderr: Its messages.
        exited: Its exit code; 128 and the signal's number when one ended it.
        command: What was run.
    """

    stdout: str
    stderr: str
    exited: int
    command: str = ""

    @property
    def ok(self) -> bool:
        """Say whether it ended with exit code 0."""
        return self.exited == 0


class Tunnel(ABC):
    """How to reach the machine that submits jobs; base of :class:`LocalTunnel` and :class:`SSHTunnel`.

    Tunnels that reach the same machine in the same way share one shell in a process, whatever their ``job_dir``.
    """

    kind: ClassVar[str] = ""
    if TYPE_CHECKING:
        job_dir: str

    @property
    @abstractmethod
    def name(self) -> str:
        """The machine's name, as a key: the same text means the same machine. Made from the fields alone."""

    @property
    @abstractmethod
    def root(self) -> str:
        """The folder on the target below which Runyard keeps its files: ``job_dir`` or the default."""

    @abstractmethod
    def shell(self) -> PersistentShell:
        """Return the shell on the target; it connects with its first script."""

    def run(
        self,
        cmd: str,
        hide: bool = True,
        warn: bool = False,
        *,
        repeat: bool = False,
        timeout: float | None = None,
    ) -> Result:
        """Run a command in the tunnel's ``shell`` (default: bash where there is one, else sh).

        Args:
            cmd: The command, or several lines. Its standard input is empty.
            hide: Print nothing here; otherwise output appears as it arrives.
            warn: Return a failure instead of raising.
            repeat: It changes nothing, so it may be sent again when the connection is lost.
            timeout: Seconds; see :meth:`~runyard.tunnels.shells.PersistentShell.raw`.

        Raises:
            TunnelError: when the target cannot be reached, or the command failed (``CommandFailed``).
        """
        from runyard.tunnels.failures import CommandFailed, tail

        def show(piece: bytes) -> None:
            sys.stdout.write(piece.decode("utf-8", "replace"))
            sys.stdout.flush()

        script = self._command_script(cmd).encode("utf-8", "surrogateescape")
        raw = self.shell().raw(script, repeat=repeat, timeout=timeout, sink=None if hide else show)
        out, err = (data.decode("utf-8", "replace") for data in (raw.stdout, raw.stderr))
        result = Result(out, err, raw.code, cmd)
        if not hide:
            sys.stderr.write(result.stderr)
        if result.ok or warn:
            return result
        said = tail(result.stderr) or tail(result.stdout) or "it printed nothing"
        first = cmd.strip().partition("\n")[0]
        raise CommandFailed(
            f"{self.name}: `{first[:200]}` ended with exit code {raw.code}\n{said}",
            result,
            hint="run(…, warn=True) returns failures instead of raising",
        )

    @abstractmethod
    def attach(self, cmd: str) -> int:
        """Run a command with this terminal as its own, and return its exit code.

        Raises:
            TunnelError: when the target cannot be reached.
        """

    def put(self, local: str | Path, remote: str, progress: Progress | None = None) -> None:
        """Bring a file or a folder to the target.

        A file appears there whole or not at all, under a temporary name until then. A folder's files join those that
        are there already, each replaced as a whole. Missing parent folders are made; a lost connection starts it over.

        Args:
            local: The file or folder.
            remote: Its path there; ``~/`` is the home folder. A file goes *into* a folder that exists or ends in ``/``.
            progress: Called with bytes sent and their total.

        Raises:
            TunnelError: naming what could not be read or written.
        """
        from runyard.tunnels import transfer

        transfer.put(self.shell(), self.name, Path(local), self._path(remote), progress)

    def get(self, remote: str, local: str | Path, progress: Progress | None = None) -> None:
        """Bring a file or a folder from the target; the mirror image of :meth:`put`.

        After a lost connection a file goes on where it stopped, when it did not change meanwhile.

        Args:
            remote: The file or folder there.
            local: Its path here. A file goes *into* a folder that exists or ends in ``/``.
            progress: Called with bytes received and their total (0: unknown, for folders).

        Raises:
            TunnelError: naming what could not be read or written.
        """
        from runyard.tunnels import transfer

        transfer.get(self.shell(), self.name, self._path(remote), local, progress)

    def connect(self) -> None:
        """Connect now instead of with the first command, for example to be asked for a password early."""
        self.shell()(b":", repeat=True)

    def cleanup(self) -> None:
        """Close the connection. It opens again when the tunnel is used again."""
        self.shell().close()

    @abstractmethod
    def expand(self, path: str) -> str:
        """Return an absolute path on the target: ``~/x`` and relative paths lie in the home folder there."""

    def to_dict(self) -> dict[str, Any]:
        """Return kind and constructor arguments as plain JSON."""
        values = {name: getattr(self, field) for name, field in self._arguments().items()}
        return {"kind": self.kind} | {k: v for k, v in values.items() if v not in (None, "")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Undo :meth:`to_dict`; called on ``Tunnel`` itself it returns the right kind."""
        from runyard.tunnels.local import LocalTunnel
        from runyard.tunnels.ssh import SSHTunnel

        kinds: dict[str, type[Tunnel]] = {LocalTunnel.kind: LocalTunnel, SSHTunnel.kind: SSHTunnel}
        kind = data.get("kind", cls.kind)
        found = kinds.get(kind)
        if found is None or not issubclass(found, cls):
            raise ConfigError(f"there is no tunnel of kind {kind!r}", hint=f"one of {', '.join(kinds)}")
        known = found._arguments()
        if unknown := sorted(set(data) - set(known) - {"kind"}):
            raise ConfigError(
                f"{found.__name__} has no argument {', '.join(unknown)}", hint=f"it has {', '.join(known)}"
            )
        return found(**{k: v for k, v in data.items() if k != "kind"})

    @classmethod
    def _arguments(cls) -> dict[str, str]:
        """Return the constructor's arguments, and the field that keeps each."""
        return {f.name: f.name for f in fields(cls)}  # type: ignore[arg-type]

    def _path(self, path: str) -> str:
        """Return a path for the target's shell; ``~/`` is expanded there."""
        return path

    @abstractmethod
    def _command_script(self, cmd: str) -> str:
        """Return the ``sh`` script that runs a user's command."""


def in_bash(cmd: str) -> str:
    """Return the ``sh`` script that runs a command in bash, or in sh where there is none."""
    word = shlex.quote(cmd)
    return f"if command -v bash >/dev/null 2>&1; then exec bash -c {word}; else exec sh -c {word}; fi"
