"""The copy that this machine keeps of what a job leaves on an engine elsewhere: logs, start and exit code.

Whoever asks for a log first brings what is new of it into the copy, and then reads the copy. So each byte crosses the
network about once, whatever the number of those who follow it, and everything is here when the containers are gone.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from runyard.backends.docker.files import Files
from runyard.backends.docker.helper import Helper
from runyard.backends.docker.leftovers import write, writing
from runyard.backends.wrapper import ATTEMPTS
from runyard.errors import Unavailable

LOOK_SECONDS = 0.5
"""Between two looks at a log that is followed."""
WAIT_SECONDS = 5.0
"""How long to wait for another process that brings a log: it may be stopped, or have a slow network."""
SMALL = 4096
"""A log of so many bytes is read as a whole: asking for its end costs as much."""
MOST = 16 << 20
"""Bytes of a log that are brought at once."""
_TAIL_SECONDS = 60.0
_TAIL = 'tail -c +"$1" -- "$2" | head -c "$3"'


class Mirror:
    """The copy of one job.

    Args:
        files: The engine's files.
        helper: Brings the ends of long logs.
        folder: The job's folder on this machine.
        there: Its folder in the volume.
    """

    def __init__(self, files: Files, helper: Helper, folder: str, there: str) -> None:
        self._files = files
        self._helper = helper
        self._folder = Path(folder)
        self._there = there
        self._due = 0.0

    def is_due(self) -> bool:
        """Say whether it is time to look again at a log that is followed."""
        now = time.monotonic()
        if now < self._due:
            return False
        self._due = now + LOOK_SECONDS
        return True

    def follow(self, ids: Iterable[tuple[str, str]], attempt: int) -> None:
        """Bring what is new of the logs of an attempt, unless somebody else is just doing so.

        Args:
            ids: Containers, and the member that each is.
            attempt: Which attempt.
        """
        with self._alone(0.0) as mine:
            for id, member in ids if mine else ():
                self._bring_log(id, self._name(attempt, member, "log"))

    def collect(self, id: str, attempt: int, member: str) -> None:
        """Bring all that a member left.

        Args:
            id: Its container; empty when it is gone, and only the volume can be asked.
            attempt: Which attempt.
            member: Which member.

        Raises:
            Unavailable: when it cannot be read now.
            Gone: when there is nothing to read from any more.
        """
        id = id or self._helper.id()
        with self._alone(WAIT_SECONDS) as mine:
            if not mine:
                raise Unavailable(
                    f"another process is bringing the log to {self._folder}", hint="is it stopped (Ctrl-Z)?"
                )
            self._bring_log(id, self._name(attempt, member, "log"), last=True)
            for file in ("started", "rc"):
                self._bring_file(id, self._name(attempt, member, file))

    def _name(self, attempt: int, member: str, file: str) -> str:
        return "/".join([ATTEMPTS, str(attempt), *([member] if member else []), file])

    def _bring_file(self, id: str, name: str) -> None:
        """Bring a small file, with its time."""
        found = self._files.read(id, f"{self._there}/{name}")
        if found is not None:
            stat, pieces = found
            with closing(pieces):
                data = next(pieces, b"")  # no more: a task can write there what it likes
            write(self._folder / name, data, stat.mtime)

    def _bring_log(self, id: str, name: str, last: bool = False) -> None:
        """Bring what is new of a log. What is sent is at most twice of that: no file is read again and again.

        Args:
            id: The container.
            name: Which log.
            last: Nobody looks again: one whose end cannot be had alone is read as a whole.
        """
        path = f"{self._there}/{name}"
        while stat := self._files.stat(id, path):
            size = self._size(name)
            if size == stat.size:
                return
            at = max(size, 0) if size < stat.size else 0  # a task has cut its log: begin anew
            new = stat.size - at
            if stat.size > SMALL and new * 2 < stat.size:
                end = self._end(path, at, min(new, MOST))
                self._append(name, at, [end] if end else [])
                if len(end) == new or not (end or last):
                    return
                if end:
                    continue
            if found := self._files.read(id, path):
                with closing(found[1]):
                    self._append(name, at, _beyond(found[1], at))
            return

    def _end(self, path: str, at: int, count: int) -> bytes:
        """Return some bytes of a log, or none where they cannot be had: the image may lack the tools."""
        with suppress(Unavailable):  # a helper may be all that there cannot be
            return self._helper.run(_TAIL, str(at + 1), path, str(count), seconds=_TAIL_SECONDS).out
        return b""

    def _size(self, name: str) -> int:
        """Return the bytes of a copy; -1 where there is none, which is another thing than that of an empty log."""
        try:
            return (self._folder / name).stat().st_size
        except OSError:
            return -1

    def _append(self, name: str, at: int, pieces: Iterable[bytes]) -> None:
        path = self._folder / name
        with writing(path), open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
            f.truncate(at)
            f.seek(at)
            for piece in pieces:
                f.write(piece)

    @contextmanager
    def _alone(self, seconds: float) -> Iterator[bool]:
        """Let one process at a time write the copy; say whether it is this one, after so many seconds at most."""
        lock = self._folder / ".mirror.lock"
        with writing(lock):
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + seconds
            while not (mine := _locked(fd)) and time.monotonic() < deadline:
                time.sleep(0.05)
            yield mine
        finally:
            os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: two who write, write the same
    return True


def _beyond(pieces: Iterable[bytes], skip: int) -> Iterator[bytes]:
    """Yield what a file holds beyond its first bytes."""
    for piece in pieces:
        if skip < len(piece):
            yield piece[skip:]
        skip = max(0, skip - len(piece))
