"""Reading the logs of jobs: in pieces from where one left off, or the last lines only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runyard import executors
from runyard.backends.base import Backend, Handle, Job
from runyard.backends.logfiles import read_stream, streams
from runyard.backends.registry import backend_class
from runyard.store import records
from runyard.store.db import Database

TAIL_BYTES = 1 << 16


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
    _partial: dict[str, bytes] = field(default_factory=dict)

    def lines(self, *, final: bool = False) -> Iterator[tuple[str, str]]:
        """Yield (stream, line) for all lines that are new.

        Args:
            final: The job has ended: a last line without its newline counts too.
        """
        for stream, offset, data in self.backend.logs(self.handle, self.cursor):
            self.cursor[stream] = offset + len(data)
            whole, newline, rest = (self._partial.pop(stream, b"") + data).rpartition(b"\n")
            if newline:
                for line in whole.split(b"\n"):
                    yield stream, _text(line)
            if rest:
                self._partial[stream] = rest
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
    """Return a reader for a job's logs, or ``None`` while it was never submitted."""
    if not row.handle:
        return None
    job = Job.from_json(row.spec)
    executor = executors.from_dict(job.components[0].executor)
    return LogReader(backend_class(executor).connect(executor, str(db.home)), Handle(*row.handle))


def tail(folder: str, count: int, attempt: int | None = None) -> tuple[str, ...]:
    """Return the last ``count`` lines of a job's newest (or given) attempt."""
    names = streams(folder)
    if attempt is not None:
        names = [n for n in names if attempt_of(n) == str(attempt)]
    elif names:
        names = [n for n in names if attempt_of(n) == attempt_of(names[-1])]
    out: list[str] = []
    for name in names:
        label = f"{member_of(name)} | " if member_of(name) else ""
        out += [label + line for line in _last_lines(Path(folder, name), count)]
    return tuple(out[-count * max(1, len(names)) :])


def _last_lines(path: Path, count: int) -> list[str]:
    """Return the last lines of a file, reading from its end only what is needed."""
    try:
        with open(path, "rb") as f:
            size = f.seek(0, 2)
            data = b""
            while size > 0 and data.count(b"\n") <= count:
                step = min(TAIL_BYTES, size)
                size -= step
                f.seek(size)
                data = f.read(step) + data
    except OSError:
        return []
    lines = data.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return [_text(line) for line in lines[-count:]]


def search(folder: str, pattern: str | None) -> Iterator[tuple[str, str]]:
    """Yield (stream, line) of all logs of a job, or of the lines that match a regular expression."""
    wanted = re.compile(pattern) if pattern else None
    for stream in streams(folder):
        rest = b""
        for chunk in read_stream(folder, stream, 0):
            *whole, rest = (rest + chunk.data).split(b"\n")
            for raw in whole:
                if wanted is None or wanted.search(_text(raw)):
                    yield stream, _text(raw)
        if rest and (wanted is None or wanted.search(_text(rest))):
            yield stream, _text(rest)
