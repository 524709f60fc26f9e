"""What attempts leave in a job's folder on this machine, and what is written there before their containers go."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runyard.backends import results
from runyard.backends.base import Handle
from runyard.backends.docker import outcome
from runyard.backends.docker.outcome import Left
from runyard.errors import Unavailable
from runyard.states import Observation

RESULT = "result.json"
"""In an attempt's folder: how it ended, written before its containers are removed."""


def key(handle: Handle) -> tuple[str, int]:
    """Return the job's name at the engine and the attempt."""
    name, _, attempt = handle.id.rpartition("|")
    return name, int(attempt)


def left(folder: str, attempt: int, member: str) -> Left:
    """Return what the wrapper of a member left."""
    path = results.attempt_dir(folder, attempt) / member
    started, code, ended = None, None, None
    with suppress(OSError):
        if (path / "started").read_bytes().endswith(b"end\n"):
            started = (path / "started").stat().st_mtime
    with suppress(OSError, ValueError):
        code = int((path / "rc").read_text())
        ended = (path / "rc").stat().st_mtime
    return Left(started, code, ended)


def recorded(handle: Handle) -> Observation | None:
    """Return how an attempt ended, once that is written down."""
    try:
        data = json.loads((results.attempt_dir(handle.folder, key(handle)[1]) / RESULT).read_text())
        return outcome.from_json(data)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_result(handle: Handle, seen: Observation) -> None:
    """Write down how an attempt ended.

    Raises:
        Unavailable: when it cannot be written: it has to be asked once more.
    """
    path = results.attempt_dir(handle.folder, key(handle)[1]) / RESULT
    write(path, json.dumps(outcome.to_json(seen)).encode())


def write(path: Path, data: bytes, mtime: float | None = None) -> None:
    """Write a file of a job's folder, whole or not at all.

    Args:
        path: Where.
        data: What it holds.
        mtime: Its time; default: now.

    Raises:
        Unavailable: when it cannot be written.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
            f.write(data)
        if mtime is not None:
            os.utime(new, (mtime, mtime))
        os.replace(new, path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make the folder of a file that is written in the block.

    Raises:
        Unavailable: when it cannot be written: states stay, and what was not written is seen again.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield
    except OSError as e:
        hint = "free space there, or correct its permissions"
        raise Unavailable(f"{path}: cannot be written ({e.strerror})", hint=hint) from e
