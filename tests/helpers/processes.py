"""Real processes for tests: started in a folder of their own, found, and always ended by their id."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from runyard.states import JobState
from runyard.store import records
from runyard.store.db import Database


def until(holds: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    """Wait until something holds, for a limited time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)


def remove(folder: Path) -> None:
    """Remove a folder in which processes that are about to end may still remove, or leave, something."""

    def gone() -> bool:
        try:
            shutil.rmtree(folder)
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise
        return not folder.exists()

    until(gone, f"the end of {folder}")


def free_ports(count: int) -> list[int]:
    """Choose free ports below those that the system gives to clients: none is taken while a server is down."""
    found: list[int] = []
    for port in random.sample(range(16000, 32000), 1000):
        with socket.socket() as s, suppress(OSError):
            s.bind(("0.0.0.0", port))
            found.append(port)
        if len(found) == count:
            break
    return found


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment whose records are in ``home``, and where nobody's settings show."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RUNYARD_", "NEMORUN_"))}
    return env | {"RUNYARD_HOME": str(home), "NO_COLOR": "1"} | more


def start(script: Path, home: Path, *args: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start a Python script in its own folder."""
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    given["env"] = environment(home)
    return subprocess.Popen([sys.executable, str(script), *args], cwd=script.parent, **(given | options))


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that a test started, if it still runs."""
    if process.poll() is None:
        process.kill()
    process.wait()


def controllers(home: Path, experiment: str = "") -> list[int]:
    """Return the controller processes for the experiments of a home folder.

    The child that a controller has forked for a job looks like its parent until it runs the job's shell. It is
    left out: to kill it would be to kill the job.
    """
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
            words = _words(path)
            if _drives(words, home, experiment) and not _drives(_words(path.parent / parent), home, experiment):
                found.append(int(path.name))
    return found


def _drives(words: list[str], home: Path, experiment: str) -> bool:
    return words[1:2] == ["-c"] and words[4:5] == [str(home)] and words[5].startswith(experiment)


def _words(process: Path) -> list[str]:
    with suppress(OSError):
        return (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    return []


def kill(pid: int) -> None:
    """Kill a process as a crash would."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Say whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def catches(pid: int, number: signal.Signals) -> bool:
    """Say whether a process has a handler for a signal."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def states(home: Path, id: str) -> dict[str, JobState]:
    """Return the recorded states, without seeing to it that anybody drives the experiment."""
    with Database(home) as db:
        return {r.name: r.status.state for r in records.jobs(db, id)}


def only(home: Path) -> str:
    """Return the id of the only experiment of a home folder."""
    with Database(home) as db:
        (row,) = records.experiments(db)
    return row.id


def lines(path: Path) -> list[str]:
    """Return the lines of a file, or none while it does not exist."""
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []
