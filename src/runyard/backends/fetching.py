"""What a backend may offer beyond its protocol: a look at the files of its jobs, and a way to bring them here.

A backend :class:`Fetches` when files of its jobs can be read from the launching machine. One whose jobs leave their
files on this machine returns a :class:`HereFetcher`.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

PULLED = "pulled"
"""In a job's folder on this machine: files of its working directory that were brought here."""
_BLOCK = 1 << 18
_KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}

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

    def look(self, folder: str, starts: Sequence[str]) -> Listing | None:
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


@runtime_checkable
class FetchesFor(Protocol):
    """A backend that :class:`Fetches`, and whose jobs do not all keep their files in the same place."""

    def fetcher_for(self, folder: str) -> Fetcher:
        """Return what reads the files of the job whose folder this is. Must not do I/O elsewhere yet."""
        ...


class HereFetcher:
    """The files of this machine."""

    here = True

    def where(self, folder: str) -> str:
        """Return the folder itself."""
        return folder

    def look(self, folder: str, starts: Sequence[str]) -> Listing | None:
        """Return what lies in a folder of this machine; see :meth:`Fetcher.look`."""
        if not os.path.isdir(folder):
            return None
        problems: list[str] = []
        found = {e.name: e for e in _inside(folder, "", problems)}
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
                # A pipe that took the file's place meanwhile must not keep us here.
                source = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NONBLOCK)
            except OSError as e:
                said.append(f"{name}: {e.strerror}")
                continue
            with open(source, "rb") as file:
                done += _copy(file, into / name)
            progress(done)
        return "\n".join(said[:3])


def _copy(source: BinaryIO, target: Path) -> int:
    """Copy an open file; one that is written to meanwhile gets the time it had before, so it counts as old."""
    info = os.fstat(source.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(source, file, _BLOCK)
        size = file.tell()
    os.chmod(target, stat.S_IMODE(info.st_mode) & 0o777)
    os.utime(target, ns=(info.st_mtime_ns, info.st_mtime_ns))
    return size


def _below(folder: str, start: str, problems: list[str]) -> Iterator[Entry]:
    """Yield a place below a folder and all that lies below it; the place itself may be a link."""
    try:
        entry = _entry(start, os.path.join(folder, start), follow=True)
    except OSError:
        return
    if start != ".":
        yield entry
    folders = [entry] if entry.kind == "d" else []
    while folders:
        name = folders.pop().name
        for entry in _inside(folder, "" if name == "." else name, problems):
            if entry.kind == "d":
                folders.append(entry)
            yield entry


def _inside(folder: str, name: str, problems: list[str]) -> Iterator[Entry]:
    path = os.path.join(folder, name)
    try:
        names = os.listdir(path)
    except OSError as e:
        problems.append(f"{path}: {e.strerror}")
        return
    for inner in names:
        with suppress(FileNotFoundError):  # gone meanwhile
            yield _entry(f"{name}/{inner}" if name else inner, os.path.join(path, inner))


def _entry(name: str, path: str, follow: bool = False) -> Entry:
    info = os.stat(path) if follow else os.lstat(path)
    target = os.readlink(path) if stat.S_ISLNK(info.st_mode) else ""
    return Entry(name, _KINDS.get(stat.S_IFMT(info.st_mode), "?"), info.st_size, info.st_mtime_ns, target)
