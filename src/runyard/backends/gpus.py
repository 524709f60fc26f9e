"""Sharing out this machine's GPUs among all tasks of one user, across experiments.

One small JSON file under ``RUNYARD_HOME/slots`` says who holds which device; ``flock`` makes each change
atomic, and a device whose holder no longer runs is free again.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from runyard.backends.process import ProcessId
from runyard.errors import SubmitError
from runyard.home import ensure_private_dir


@functools.cache
def visible_devices() -> list[str]:
    """Return the GPUs this process may use, as ``CUDA_VISIBLE_DEVICES`` names them.

    The variable itself wins (a batch system may have set it); else what ``nvidia-smi`` lists.

    Source: ``nvidia-smi --query-gpu=index --format=csv,noheader`` (nvidia-smi's manual).
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [d.strip() for d in given.split(",") if d.strip() not in ("", "-1", "NoDevFiles")]
    ask = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        told = subprocess.run(ask, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return told.stdout.split() if told.returncode == 0 else []


class Slots:
    """The table of held devices, locked while the ``with`` block runs."""

    def __init__(self, home: str) -> None:
        self._path = Path(home) / "slots" / f"gpus-{socket.gethostname()}.json"
        self._file: IO[str]
        self._held: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        ensure_private_dir(self._path.parent)
        self._file = open(self._path, "a+", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.seek(0)
        text = self._file.read()
        try:
            held = json.loads(text) if text.strip() else {}
            self._held = {d: h for d, h in held.items() if ProcessId.parse(h["process"]).alive()}
        except (ValueError, TypeError, KeyError, AttributeError):
            self._held = {}  # damaged; a task must not fail for that
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:  # nothing was started: what this block took is free again
            me = str(ProcessId.mine())
            self._held = {d: h for d, h in self._held.items() if h["process"] != me}
        self._write()
        self._file.close()

    def take(self, count: int, job: str) -> list[str]:
        """Hold ``count`` free devices for this process and return their names.

        Raises:
            SubmitError: not retryable when the machine has too few at all; retryable when
                too few are free now.
        """
        devices = visible_devices()
        if count > len(devices):
            raise SubmitError(
                f"{job} asks for {count} GPUs; this machine shows {len(devices)}",
                hint="lower gpus_per_task or ntasks_per_node, or check nvidia-smi and CUDA_VISIBLE_DEVICES",
            )
        free = [d for d in devices if d not in self._held]
        if count > len(free):
            raise SubmitError(f"{job} waits for {count} GPUs; {len(free)} are free", retryable=True)
        for device in free[:count]:
            self._held[device] = {"job": job, "process": str(ProcessId.mine())}
        return free[:count]

    def assign(self, devices: list[str], process: ProcessId) -> None:
        """Hand devices to the process that uses them; they are free when it ends."""
        for device in devices:
            self._held[device]["process"] = str(process)

    def _write(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        json.dump(self._held, self._file)
        self._file.flush()
