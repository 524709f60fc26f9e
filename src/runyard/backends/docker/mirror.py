"""The copy that this machine keeps of what a job leaves on an engine elsewhere: logs, start and exit code.

Whoever asks for a log first brings what is new of it into the copy, and then reads the copy. So each byte crosses the
network about once, whatever the number of those who follow it, and everything is here when the containers are gone.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from runyard.backends.docker.files import Files, Gone
from runyard.backends.docker.helper import Helper
from runyard.backends.wrapper import ATTEMPTS

LOOK_SECONDS = 0.5
"""Between two looks at a log that is followed."""
SMALL = 4096
"""A log of so many bytes is read as a whole: asking for its end costs as much."""
MOST = 16 << 20
"""Bytes of a log that are brought at once."""
_BLOCK = 1 << 18
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
        with self._alone(wait=False) as mine:
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
        with self._alone(wait=True):
            self._bring_log(id, self._name(attempt, member, "log"))
            for file in ("started", "rc"):
                self._bring_file(id, self._name(attempt, member, file))

    def _name(self, attempt: int, member: str, file: str) -> str:
        return "/".join([ATTEMPTS, str(attempt), *([member] if member else []), file])

    def _bring_file(self, id: str, name: str) -> None:
        """Bring a small file, with its time."""
        with self._files.reading(id, f"{self._there}/{name}") as found:
            if found is None:
                return
            stat, file = found
            data = file.read()
        target = self._place(name)
        new = target.with_name(f".{target.name}.{os.getpid()}")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
            f.write(data)
        os.utime(new, (stat.mtime, stat.mtime))
        os.replace(new, target)

    def _bring_log(self, id: str, name: str) -> None:
        """Bring what is new of a log. What is sent is at most twice of that: no file is read again and again."""
        path = f"{self._there}/{name}"
        while stat := self._files.stat(id, path):
            at = self._size(name)
            if at == stat.size:
                return
            if at > stat.size:
                os.truncate(self._place(name), 0)  # the task has cut its log: begin anew
                at = 0
            new = stat.size - at
            if stat.size <= SMALL or new * 2 >= stat.size:
                with self._files.reading(id, path) as found:
                    if found is not None:
                        self._append(name, at, _blocks(found[1], at))
                return
            count = min(new, MOST)
            said = self._helper.run(_TAIL, str(at + 1), path, str(count))
            if not said.out:
                raise Gone
            self._append(name, at, [said.out])
            if count == new:
                return

    def _size(self, name: str) -> int:
        try:
            return (self._folder / name).stat().st_size
        except OSError:
            return 0

    def _append(self, name: str, at: int, pieces: Iterable[bytes]) -> None:
        with open(os.open(self._place(name), os.O_WRONLY | os.O_CREAT, 0o600), "r+b") as f:
            f.seek(at)
            for piece in pieces:
                f.write(piece)

    def _place(self, name: str) -> Path:
        path = self._folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    @contextmanager
    def _alone(self, wait: bool) -> Iterator[bool]:
        """Let one process at a time write the copy; say whether it is this one."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._folder / ".mirror.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(fd)


def _blocks(file: IO[bytes], skip: int) -> Iterator[bytes]:
    """Yield what a file holds beyond its first bytes."""
    while skip and (data := file.read(min(skip, _BLOCK))):
        skip -= len(data)
    while data := file.read(_BLOCK):
        yield data
