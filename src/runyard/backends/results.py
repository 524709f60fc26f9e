"""What a job's wrapper left behind: who runs it, its exit code, and the reason in words."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path

from runyard.backends.wrapper import ATTEMPTS, NO_FOLDER
from runyard.states import JobState, Observation

OUT_OF_MEMORY = "out of memory (OOM)"
"""The reason, with every backend, when the kernel ended a job for lack of memory."""

CLAIM_SECONDS = 30.0
"""From the claim of an attempt to the record of who has claimed it, at most."""


@dataclass(frozen=True)
class Started:
    """The contents of an attempt's ``started`` file."""

    pid: int
    host: str
    boot: str
    stat: str
    at: float


def attempt_dir(folder: str, attempt: int | str) -> Path:
    """Return the folder of one attempt."""
    return Path(folder, ATTEMPTS, str(attempt))


def read_started(folder: str, attempt: int) -> Started | None:
    """Return who claimed an attempt, or ``None`` while nobody has (or the file is half written)."""
    path = attempt_dir(folder, attempt) / "started"
    try:
        text = path.read_text("utf-8", "replace")
        at = path.stat().st_mtime
    except OSError:
        return None
    return parse_started(text, at)


def parse_started(text: str, at: float) -> Started | None:
    """Return what a ``started`` file says, or ``None`` when it is half written or damaged."""
    if not text.endswith("end\n"):
        return None
    facts = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    try:
        return Started(int(facts["pid"]), facts["host"], facts["boot"], facts["stat"], at)
    except (KeyError, ValueError):  # damaged
        return None


def just_claimed(folder: str, attempt: int) -> bool:
    """Say whether an attempt was claimed so lately that a busy machine may not have let it be said by whom."""
    try:
        return abs(time.time() - attempt_dir(folder, attempt).stat().st_mtime) < CLAIM_SECONDS
    except OSError:
        return False


def read_rc(folder: str, attempt: int) -> tuple[int, float] | None:
    """Return exit code and time of an attempt's end, or ``None`` while it has no ``rc`` file."""
    path = attempt_dir(folder, attempt) / "rc"
    try:
        return int(path.read_text()), path.stat().st_mtime
    except (OSError, ValueError):
        return None


def reason_for(code: int) -> str:
    """Return in words what a shell's exit code says.

    Example:
        >>> reason_for(3), reason_for(137), reason_for(0)
        ('exit code 3', 'signal SIGKILL', '')
    """
    if code == 0:
        return ""
    if code == 127:
        return "exit code 127 (command not found)"
    if code == 126:
        return "exit code 126 (command not executable)"
    if 128 < code < 128 + 65:
        return f"signal {signal_name(code - 128)}"
    return f"exit code {code}"


def signal_name(number: int) -> str:
    """Return ``SIGKILL`` for 9, and so on."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def ended(
    code: int, *, at: float | None = None, started: float | None = None, where: str = "", oom: bool = False
) -> Observation:
    """Return the observation of a job that ended with an exit code.

    Args:
        code: Exit code as a shell gives it (128 + signal number for a signal).
        at: End, seconds since the epoch.
        started: Start, seconds since the epoch.
        where: Host.
        oom: The kernel is known to have killed for lack of memory meanwhile.
    """
    if code == 0:
        return Observation(JobState.SUCCEEDED, exit_code=0, ended=at, started=started, where=where)
    if code == NO_FOLDER:
        reason = "the attempt's folder could not be made (disk full? no permission?)"
    elif code == 128 + signal.SIGKILL and oom:
        reason = OUT_OF_MEMORY
    else:
        reason = reason_for(code)
    return Observation(JobState.FAILED, exit_code=code, reason=reason, ended=at, started=started, where=where)
