"""Starting the process that drives an experiment to its end, and telling whether one lives.

It is started in a session of its own *before* the
experiment is recorded, and waits on its standard input. A line says that the record stands; the
end of the input says that the launcher is done or dead, and then the record decides. So from
the moment of the record somebody drives, even if the launcher is killed right after it.

Its standard output is a pipe to the launcher: one byte for each change, so that an attached
launcher need not poll.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runyard.backends.process import ProcessId
from runyard.errors import RunyardError
from runyard.store import lease, records
from runyard.store.db import Database


@dataclass
class Controller:
    """The launcher's end of a controller process.

    Args:
        process: The child.
        go: Its standard input; closing it, or a line, tells it to look at the record.
        changes: Its standard output: readable after each change, at its end when it ends.
    """

    process: subprocess.Popen[bytes]
    go: IO[bytes]
    changes: IO[bytes]

    def release(self) -> None:
        """Tell it to go on, whether or not there is a record."""
        with suppress(OSError):
            self.go.close()

    def forget(self) -> None:
        """Close our ends; the process goes on without us."""
        self.release()
        with suppress(OSError):
            self.changes.close()
        if self.process.poll() is None:
            _FORGOTTEN.append(self.process.pid)
            self.process.returncode = 0  # it outlives this process on purpose; Popen need not warn

    def abandon(self) -> None:
        """End a controller whose experiment was not recorded; the launcher itself cleans up."""
        self.process.kill()
        self.finish()

    def finish(self) -> None:
        """Wait for a controller whose experiment has ended."""
        self.release()
        self.process.wait()
        self.changes.close()


_FORGOTTEN: list[int] = []
"""Children that go on by themselves; those that ended meanwhile are collected at the next start."""

BOOT = "import sys; sys.path[0] = sys.argv[1]; from runyard.engine.drive import main; sys.exit(main(*sys.argv[2:]))"
"""The program of a controller process, by which it is known among all processes."""
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])


def start(home: Path, experiment_id: str) -> Controller:
    """Start a controller in a session of its own; it waits until :meth:`Controller.release`."""
    for pid in [p for p in _FORGOTTEN if _collected(p)]:
        _FORGOTTEN.remove(pid)
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", BOOT, _PACKAGE_PARENT, str(home), experiment_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
    except OSError as e:
        raise RunyardError(
            f"the controller process could not be started: {e}",
            hint="free processes or memory, then launch again",
        ) from e
    assert process.stdin is not None
    assert process.stdout is not None
    return Controller(process, process.stdin, process.stdout)


def _collected(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def me() -> lease.Owner:
    """Return this process as a holder of leases."""
    return lease.Owner(socket.gethostname(), str(ProcessId.mine()))


def is_alive(process: str) -> bool:
    """Say whether a process of this machine, given as text, still runs."""
    return ProcessId.parse(process).alive()


def ensure(home: Path, db: Database, experiment_id: str) -> Controller | None:
    """Start a controller for an unfinished experiment that nobody drives.

    Any command that looks at an experiment calls this: so one whose controller died goes on.
    """
    if records.experiment(db, experiment_id).live and not lease.held(db, experiment_id, me(), is_alive):
        controller = start(home, experiment_id)
        controller.release()
        return controller
    return None
