"""Processes of this machine, known by pid, start time and boot, never by pid alone."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessId:
    """A process that no later process can be mistaken for.

    Args:
        pid: Its number.
        start: Its start time as the system tells it: clock ticks since boot on Linux, text elsewhere.
        boot: Which boot of the machine; with the start time it makes the number unique.
    """

    pid: int
    start: str
    boot: str

    def __str__(self) -> str:
        return f"{self.pid}@{self.start}.{self.boot}"

    @classmethod
    def parse(cls, text: str) -> ProcessId:
        """Undo ``str()``."""
        pid, _, rest = text.partition("@")
        start, _, boot = rest.partition(".")
        return cls(int(pid), start, boot)

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Return the identity of the process that has ``pid`` now, if there is one."""
        start = start_time(pid)
        return None if start is None else cls(pid, start, boot_id())

    @classmethod
    def mine(cls) -> ProcessId:
        """Return this process's identity."""
        found = cls.of(os.getpid())
        return found or cls(os.getpid(), "0", boot_id())

    def alive(self) -> bool:
        """Say whether exactly this process still runs (a zombie does not)."""
        return self.boot == boot_id() and start_time(self.pid) == self.start


@functools.cache
def boot_id() -> str:
    """Return a text that differs after each boot of this machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        told = subprocess.run(["sysctl", "-n", "kern.boottime"], capture_output=True, text=True, check=False)
        return "".join(c for c in told.stdout if c.isdigit()) or socket.gethostname()


def start_time(pid: int) -> str | None:
    """Return when a process started, or ``None`` when there is none (or only a zombie)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return parse_stat(f.read().decode("utf-8", "replace"))
    except (FileNotFoundError, ProcessLookupError):
        if os.path.isdir("/proc/self"):
            return None
    told = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    return None if not told or told[0].startswith("Z") else "-".join(told[1:]).replace(":", "")


def parse_stat(text: str) -> str | None:
    """Return the start time in a line of ``/proc/PID/stat``, or ``None`` for a zombie.

    Source: proc_pid_stat(5); the second field, the command, may hold spaces and parentheses.
    """
    fields = text.rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in ("Z", "X"):
        return None
    return fields[19]


def group_members(pgid: int) -> bool:
    """Say whether a process group still has members."""
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def oom_kills() -> int:
    """Return how many processes the kernel has killed for lack of memory since boot (0 where it doesn't tell)."""
    try:
        with open("/proc/vmstat", "rb") as f:
            for line in f:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0
