"""What a backend may offer beyond its protocol: a look at the files of its jobs, and a way to bring them here.

A backend :class:`Fetches` when files of its jobs can be read from the launching machine. One whose jobs leave their
files on this machine returns a :class:`HereFetcher`.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

Progress = Callable[[int], None]
"""Called with the bytes that have arrived so far."""


class Entry(NamedTuple):
    """One name below a folder.

    Args:
        name: Its path below the folder; bytes that are not UTF-8 are surrogates.
        kind: ``f`` for a file, ``d`` for a folder, ``l`` for a link, another letter for anything else.
        size: Bytes.
        mtime: Time of the last change, in nanoseconds since the epoch.
        target: Where a link leads.
    """

    name: str
    kind: str
    size: int = 0
    mtime: int = 0
    target: str = ""


@dataclass(frozen=True)
class Listing:
    """What lies below a folder.

    Args:
        root: The folder's own path, without links in it.
        entries: What was found, by path below the folder.
        problems: What could not be read, in words.
    """

    root: str
    entries: Mapping[str, Entry] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class Fetcher(Protocol):
    """Reads folders of the machine that keeps the files of jobs."""

    @property
    def here(self) -> bool:
        """Say whether that machine is this one."""
        ...

    def where(self, folder: str) -> str:
        """Return a folder as messages name it."""
        ...

    def list(self, folder: str, starts: Sequence[str]) -> Listing | None:
        """Return what lies directly in a folder, and all that lies below some places in it.

        Args:
            folder: The folder; ``~/`` is the home folder there.
            starts: Paths below it, of files or folders; ``.`` is the folder itself. One that is not there is left
                out; one that is a link is followed, all others are not.

        Returns:
            The listing, or ``None`` when there is no such folder.

        Raises:
            TunnelError: when the machine cannot be asked.
        """
        ...

    def fetch(self, folder: str, names: Sequence[str], into: Path, progress: Progress) -> str:
        """Copy files to a new folder of this machine, with their modes and times.

        A file that is gone, cannot be read, or was cut short while it was read is left out.

        Args:
            folder: Where they lie.
            names: Their paths below it.
            into: The folder to make; the paths below it are the same.
            progress: Told of the bytes that arrive.

        Returns:
            What was said about files that were left out.

        Raises:
            TunnelError: when the machine cannot be asked.
            OSError: when something cannot be written here.
        """
        ...


@runtime_checkable
class Fetches(Protocol):
    """A backend whose jobs' files can be brought back."""

    def fetcher(self) -> Fetcher:
        """Return what reads them. Must not do I/O yet."""
        ...


class HereFetcher:
    """The files of this machine."""

    here = True

    def where(self, folder: str) -> str:
        """Return the folder itself."""
        return folder

    def list(self, folder: str, starts: Sequence[str]) -> Listing | None:
        """Return what lies in a folder of this machine; see :meth:`Fetcher.list`."""
        problems: list[str] = []
        try:
            found = {e.name: e for e in map(_entry, *zip(*_inside(folder, ""), strict=True))} if _any(folder) else {}
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:
            return Listing(folder, {}, (f"{folder}: {e.strerror}",))
        for start in starts:
            found |= {e.name: e for e in _below(folder, start, problems)}
        return Listing(os.path.realpath(folder), found, tuple(dict.fromkeys(problems)))

    def fetch(self, folder: str, names: Sequence[str], into: Path, progress: Progress) -> str:
        """Copy files of this machine; see :meth:`Fetcher.fetch`."""
        said = []
        done = 0
        into.mkdir(mode=0o700)
        for name in names:
            try:
                source = open(os.path.join(folder, name), "rb")
            except OSError as e:
                said.append(f"{name}: {e.strerror}")
                continue
            with source:
                done += _copy(source.fileno(), into / name)
            progress(done)
        return "\n".join(said[:3])
