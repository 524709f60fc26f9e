"""What a backend may offer beyond its protocol: the store of code on the machine where its jobs run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from runyard.errors import PackagingError
from runyard.snapshots import remote
from runyard.tunnels import Tunnel

_SECONDS = 3600.0
"""Limit for one script: hashes of a large store are read from a slow disk."""


class Usage(NamedTuple):
    """What a store of code holds.

    Args:
        objects: Number of stored contents.
        bytes: Their bytes.
        unused_objects: Those that no code tree needs.
        unused_bytes: Their bytes.
    """

    objects: int
    bytes: int
    unused_objects: int
    unused_bytes: int


class CodeStore(Protocol):
    """A store of code on another machine."""

    @property
    def place(self) -> str:
        """Machine and folder; the same text means the same store. Made without contacting it."""
        ...

    def usage(self) -> Usage:
        """Return what it holds.

        Raises:
            RunyardError: when it cannot be asked.
        """
        ...

    def clean(self, trees: Sequence[str], dry_run: bool = False) -> int:
        """Remove code trees, and what no tree needs then; what was sent within the hour stays.

        Args:
            trees: Paths of trees that no job uses, below the store's folder.
            dry_run: Change nothing, and count what no tree needs already.

        Returns:
            The number of removed contents.
        """
        ...

    def damaged(self, repair: bool = False) -> list[str]:
        """Return the contents that are not what their hash says.

        Args:
            repair: Take them out, so that they are sent again.
        """
        ...


@runtime_checkable
class KeepsCode(Protocol):
    """A backend that may keep code where its jobs run."""

    def code_store(self) -> CodeStore | None:
        """Return its store, or None where that is this machine's own."""
        ...


class TunnelStore:
    """The store below the folder of a tunnel, worked on by shell scripts there."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    @property
    def place(self) -> str:
        """Machine and folder."""
        return f"{self._tunnel.name}:{self._tunnel.root}"

    def usage(self) -> Usage:
        """Return what it holds; see :class:`CodeStore`."""
        said = self._ask(remote.usage_script(self._tunnel.root))
        counts = {word: (int(n), int(size)) for word, n, size in (line.split() for line in said.splitlines())}
        return Usage(*counts["objects"], *counts["unused"])

    def clean(self, trees: Sequence[str], dry_run: bool = False) -> int:
        """Remove trees and what no tree needs; see :class:`CodeStore`."""
        return int(self._ask(remote.gc_script(self._tunnel.root, trees=trees, dry_run=dry_run)).split()[-1])

    def damaged(self, repair: bool = False) -> list[str]:
        """Return what is damaged; see :class:`CodeStore`."""
        said = self._ask(remote.verify_script(self._tunnel.root))
        keys = [line.removeprefix("damaged ") for line in said.splitlines() if line.startswith("damaged ")]
        if keys and repair:
            self._ask(remote.discard_script(self._tunnel.root, keys))
        return keys

    def _ask(self, script: str) -> str:
        answer = self._tunnel.shell()(script.encode("utf-8", "surrogateescape"), repeat=True, timeout=_SECONDS)
        if answer.code:
            said = answer.stderr.strip() or f"exit code {answer.code}"
            raise PackagingError(
                f"{self.place}: the stored code could not be read: {said}",
                hint="check the profile's remote_job_dir; the machine needs sh, find, awk and sha256sum",
            )
        return answer.stdout
