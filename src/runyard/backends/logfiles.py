"""Log streams that are plain files below a job's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from runyard.backends.base import REST, Cursor, LogChunk
from runyard.backends.wrapper import ATTEMPTS

CHUNK = 1 << 16
NAMES = ("log", "err")
"""A stream's file: output, and messages where they are kept apart."""


def attempt_key(name: str) -> tuple[int, str]:
    """Sort attempts by number, those started by hand last."""
    return (int(name), "") if name.isdigit() else (1 << 30, name)


def streams(folder: str) -> list[str]:
    """Return the log streams of a job so far, in the order of attempts and members."""
    found = []
    root = Path(folder, ATTEMPTS)
    try:
        attempts = sorted(os.listdir(root), key=attempt_key)
    except OSError:
        return []
    for attempt in attempts:
        base = root / attempt
        if (base / "log").exists():
            found += [f"{ATTEMPTS}/{attempt}/{name}" for name in NAMES if (base / name).exists()]
            continue
        try:
            members = sorted(e.name for e in os.scandir(base) if e.is_dir() and e.name != "output")
        except OSError:
            continue
        found += [f"{ATTEMPTS}/{attempt}/{m}/{name}" for m in members for name in NAMES if (base / m / name).exists()]
    return found


def read(folder: str, cursor: Cursor) -> Iterator[LogChunk]:
    """Yield what every log file of a job holds beyond ``cursor``.

    A file shorter than the cursor was truncated; it is read from its beginning.
    """
    for stream in streams(folder):
        yield from read_stream(folder, stream, cursor.get(stream, cursor.get(REST, 0)))


def read_stream(folder: str, stream: str, offset: int) -> Iterator[LogChunk]:
    """Yield what one log file holds beyond ``offset``."""
    try:
        with open(os.path.join(folder, stream), "rb") as f:
            size = os.fstat(f.fileno()).st_size
            if offset < 0:
                offset = max(0, size + offset)
            if size < offset:
                offset = 0
            f.seek(offset)
            while data := f.read(min(CHUNK, max(size - offset, 0))):
                yield LogChunk(stream, offset, data)
                offset += len(data)
    except OSError:
        return
