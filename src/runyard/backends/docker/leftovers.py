"""What attempts leave in a job's folder on this machine, and what is written there before their containers go."""

from __future__ import annotations

import json
import os
from contextlib import suppress

from runyard.backends import results
from runyard.backends.base import Handle
from runyard.backends.docker import outcome
from runyard.backends.docker.outcome import Left
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
    """Write down how an attempt ended."""
    folder = results.attempt_dir(handle.folder, key(handle)[1])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = folder / f".{RESULT}.{os.getpid()}"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "w") as f:
        json.dump(outcome.to_json(seen), f)
    os.replace(new, folder / RESULT)
