"""Printing the logs of recorded jobs: chosen, labelled, each line once."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runyard.backends import logfiles
from runyard.backends.base import REST, Handle
from runyard.cli.output import say
from runyard.engine import logs, report
from runyard.engine.follow import View
from runyard.store.db import Database
from runyard.store.records import JobRow

BLOCK = 1 << 16
LINE = 400
"""Bytes that a line may have on average, where the last lines are fetched from afar."""


@dataclass(frozen=True)
class Wanted:
    """Which lines.

    Args:
        attempt: Only of this attempt.
        member: Only of this member of a task group.
        pattern: Only those in which it is found.
        tail: Only the last so many of each stream, and of the newest attempt unless another is named.
        rank: Only of this process of a job that has several.
    """

    attempt: int | None = None
    member: str | None = None
    pattern: re.Pattern[str] | None = None
    tail: int | None = None
    rank: int | None = None


class LogPrinter:
    """Prints what is new in the logs of jobs.

    Args:
        db: The store.
        names: The jobs, in the order of their labels.
        wanted: Which lines.
    """

    def __init__(self, db: Database, names: Sequence[str], wanted: Wanted) -> None:
        self.db, self.names, self.wanted = db, names, wanted
        self.view = View(names, frozenset(names))
        self.printed = False
        self._readers: dict[str, logs.LogReader] = {}
        self._done: set[str] = set()
        self._attempts: dict[str, str] = {}
        self._last: JobRow | None = None

    def drain(self, row: JobRow, *, last: bool) -> None:
        """Print what the log of a job holds beyond what was printed.

        Args:
            row: The job as it is now.
            last: Nothing more will come: a last line without its newline counts too.
        """
        if row.name not in self.names or row.name in self._done:
            return
        self._last = row
        first = row.name not in self._readers
        if first and (found := self._reader(row)):
            self._readers[row.name] = found
        reader = self._readers.get(row.name)
        if reader and not last and not reader.is_due():
            return
        if reader:
            if row.handle:
                reader.handle = Handle(*row.handle)
            lines = self._lines(reader, last)
            if first and self.wanted.tail is not None:
                lines = _last_of_each(self._newest(lines), self.wanted.tail)
            for stream, text in lines:
                self._head(row.name, logs.attempt_of(stream))
                self.view.line(row.name, "" if self.wanted.member else logs.member_of(stream), text)
                self.printed = True
        if last:
            self._done.add(row.name)

    def _head(self, name: str, attempt: str) -> None:
        """Say where a later attempt begins."""
        if self._attempts.get(name, attempt) != attempt:
            self.view.flush()
            say(f"--- {name}: attempt {attempt}")
        self._attempts[name] = attempt

    def why_nothing(self) -> str:
        """Return in words why no line was printed, if that is worth a word."""
        row = self._last
        if row is None or len(self.names) > 1 or self.wanted.pattern:
            return ""
        reader = self._readers.get(row.name)
        streams = [s for s in reader.cursor if s != REST] if reader else []
        members = sorted({logs.member_of(s) for s in streams} - {""})
        if self.wanted.member and self.wanted.member not in members:
            return f"{row.name} has no log of a member {self.wanted.member!r}; members: {', '.join(members) or 'none'}"
        if self.wanted.attempt and str(self.wanted.attempt) not in map(logs.attempt_of, streams):
            return f"{row.name} has no log of attempt {self.wanted.attempt}; attempts so far: {row.status.attempt}"
        return "" if streams else f"{row.name} has no log; its state: {report.shown_state(row.status.state)}"

    def _reader(self, row: JobRow) -> logs.LogReader | None:
        reader = logs.reader(self.db, row)
        if reader:
            self._skip(reader)
        return reader

    def _skip(self, reader: logs.LogReader) -> None:
        """Begin at the wanted lines: exactly where the log is a file that lies here, else well before them."""
        folder = reader.handle.folder
        streams = logfiles.streams(folder)
        if not streams and self.wanted.tail is not None and not self.wanted.pattern:
            reader.cursor[REST] = -max(BLOCK, self.wanted.tail * LINE)
        newest = logs.attempt_of(streams[-1]) if streams else ""
        for stream in streams:
            path = Path(folder, stream)
            if not self._chosen(stream) or (self.wanted.tail is not None and not self._of(stream, newest)):
                reader.cursor[stream] = path.stat().st_size
            elif self.wanted.tail is not None and not self.wanted.pattern and self.wanted.rank is None:
                reader.cursor[stream] = tail_offset(path, self.wanted.tail)

    def _of(self, stream: str, newest: str) -> bool:
        return logs.attempt_of(stream) == (str(self.wanted.attempt) if self.wanted.attempt else newest)

    def _chosen(self, stream: str) -> bool:
        wanted = self.wanted
        return wanted.attempt in (None, _number(logs.attempt_of(stream))) and (
            wanted.member in (None, logs.member_of(stream))
        )

    def _lines(self, reader: logs.LogReader, last: bool) -> Iterator[tuple[str, str]]:
        pattern = self.wanted.pattern
        for stream, text in reader.lines(final=last):
            shown = self._of_rank(text) if self._chosen(stream) else None
            if shown is not None and (pattern is None or pattern.search(shown)):
                yield stream, shown

    def _newest(self, lines: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Return the lines of the newest attempt among those that were read, unless another is named."""
        if self.wanted.attempt:
            return lines
        found = list(lines)
        newest = max((logs.attempt_of(s) for s, _ in found), key=logfiles.attempt_key, default="")
        return iter([(s, t) for s, t in found if logs.attempt_of(s) == newest])

    def _of_rank(self, text: str) -> str | None:
        if self.wanted.rank is None:
            return text
        found = logs.rank_of(text)
        if found is None:
            return text if self.wanted.rank == 0 else None  # one process: nothing is labelled
        return found[1] if found[0] == self.wanted.rank else None


def _number(attempt: str) -> int | None:
    return int(attempt) if attempt.isdigit() else None


def _last_of_each(lines: Iterator[tuple[str, str]], count: int) -> Iterator[tuple[str, str]]:
    """Return the last lines of each stream."""
    kept: dict[str, deque[str]] = {}
    for stream, text in lines:
        kept.setdefault(stream, deque(maxlen=count)).append(text)
    return ((stream, text) for stream, texts in kept.items() for text in texts)


def tail_offset(path: Path, count: int) -> int:
    """Return where the last ``count`` lines of a file begin, reading no more of it than needed."""
    with open(path, "rb") as f:
        at = f.seek(0, 2)
        if count <= 0 or at == 0:
            return at
        f.seek(at - 1)
        left = count + (f.read(1) == b"\n")  # the newline at the very end begins no line
        while at > 0:
            step = min(BLOCK, at)
            at -= step
            f.seek(at)
            block = f.read(step)
            end = len(block)
            while (end := block.rfind(b"\n", 0, end)) >= 0:
                left -= 1
                if left == 0:
                    return at + end + 1
    return 0
