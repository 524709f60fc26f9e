"""Reading the logs of jobs: in pieces from where one left off, or the last lines only."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from runyard import executors
from runyard.backends.base import REST, Backend, Handle, Job
from runyard.backends.logfiles import attempt_key, streams
from runyard.backends.registry import backend_class
from runyard.errors import BackendError
from runyard.store import records
from runyard.store.db import Database

TAIL_BYTES = 1 << 16
MOST_TAIL_BYTES = 1 << 25
REMOTE_SECONDS = 0.7
"""Between two looks at a log that is followed on another machine."""


@dataclass
class LogReader:
    """Reads the log streams of one job, each byte once, in whole lines.

    Args:
        backend: Who can read them.
        handle: Which job.
        cursor: How far each stream was read.
    """

    backend: Backend
    handle: Handle
    cursor: dict[str, int] = field(default_factory=dict)
    _due: float = 0.0
    _partial: dict[str, bytes] = field(default_factory=dict)
    _cut: set[str] = field(default_factory=set)

    def is_due(self) -> bool:
        """Say whether it is worth while to look again: where each look is a question to another machine, not yet."""
        now = time.monotonic()
        if now < self._due:
            return False
        if self.backend.features.poll_interval >= 1.0:
            self._due = now + REMOTE_SECONDS
        return True

    def lines(self, *, final: bool = False) -> Iterator[tuple[str, str]]:
        """Yield (stream, line) for all lines that are new.

        Args:
            final: The job has ended: a last line without its newline counts too.
        """
        for stream, offset, data in self.backend.logs(self.handle, dict(self.cursor)):
            if stream not in self.cursor and offset:
                self._cut.add(stream)  # it begins somewhere within a line
            self.cursor[stream] = offset + len(data)
            if stream in self._cut:
                _, newline, data = data.partition(b"\n")
                if not newline:
                    continue
                self._cut.discard(stream)
            whole, newline, rest = (self._partial.pop(stream, b"") + data).rpartition(b"\n")
            if newline:
                for line in whole.split(b"\n"):
                    yield stream, _text(line)
            if rest:
                self._partial[stream] = rest
        self.cursor.pop(REST, None)  # streams that begin later are read from their beginning
        if final:
            for stream, rest in self._partial.items():
                yield stream, _text(rest)
            self._partial.clear()


def _text(line: bytes) -> str:
    # Of a progress bar that redrew its line with \r, the last state is the one to show.
    text = line.decode("utf-8", "replace").rstrip("\r")
    return text.rpartition("\r")[2]


def member_of(stream: str) -> str:
    """Return the member of a task group whose log a stream is, or nothing.

    Example:
        >>> member_of("attempts/1/worker/log"), member_of("attempts/1/log")
        ('worker', '')
    """
    parts = stream.split("/")
    return parts[2] if len(parts) == 4 else ""


def attempt_of(stream: str) -> str:
    """Return the attempt a stream belongs to."""
    return stream.split("/")[1]


def reader(db: Database, row: records.JobRow) -> LogReader | None:
    """Return a reader for a job's logs, or ``None`` while it has none."""
    job = Job.from_json(row.spec)
    if row.handle:
        handle = Handle(*row.handle)
    else:
        # Between two attempts, or rebuilt from its files: what was written can be read all the same.
        folder = str(row.request["folder"])
        if folder == job.local_dir and not streams(folder):
            return None
        handle = Handle(job.kind, "", "", folder)
    executor = executors.from_dict(job.components[0].executor)
    return LogReader(backend_class(executor).connect(executor, str(db.home)), handle)


def tail(found: LogReader | None, count: int, attempt: int | None = None) -> tuple[str, ...]:
    """Return the last ``count`` lines of a job's newest (or given) attempt; nothing where it cannot be asked."""
    if found is None:
        return ()
    size = TAIL_BYTES
    try:
        while True:
            pieces: dict[str, tuple[int, bytes]] = {}
            for stream, offset, data in found.backend.logs(found.handle, {REST: -size}):
                begin, before = pieces.get(stream, (offset, b""))
                pieces[stream] = (begin, before + data)
            wanted = _of_attempt(pieces, attempt)
            if size >= MOST_TAIL_BYTES or all(b == 0 or d.count(b"\n") > count for b, d in wanted.values()):
                break
            size *= 8
    except BackendError:
        return ()
    out: list[str] = []
    for name, (begin, data) in wanted.items():
        label = f"{member_of(name)} | " if member_of(name) else ""
        lines = data.split(b"\n")
        if lines and not lines[-1]:
            lines.pop()
        out += [label + _text(line) for line in lines[1 if begin else 0 :][-count:]]
    return tuple(out[-count * max(1, len(wanted)) :])


def _of_attempt(pieces: dict[str, tuple[int, bytes]], attempt: int | None) -> dict[str, tuple[int, bytes]]:
    if not pieces:
        return {}
    names = sorted(pieces, key=lambda n: attempt_key(attempt_of(n)))
    wanted = str(attempt) if attempt is not None else attempt_of(names[-1])
    return {n: pieces[n] for n in names if attempt_of(n) == wanted}


def search(found: LogReader, pattern: str | None) -> Iterator[tuple[str, str]]:
    """Yield (stream, line) of all logs of a job, or of the lines that match a regular expression."""
    wanted = re.compile(pattern) if pattern else None
    for stream, line in found.lines(final=True):
        if wanted is None or wanted.search(line):
            yield stream, line


def rank_of(line: str) -> tuple[int, str] | None:
    """Return the rank that a line of a job with several processes is labelled with, and the rest of it.

    Example:
        >>> rank_of(" 3: loss 0.1"), rank_of("no label")
        ((3, 'loss 0.1'), None)
    """
    match = re.match(r" *(\d+): ?", line)
    return (int(match[1]), line[match.end() :]) if match else None
