"""What a cluster answered to the scripts of :mod:`runyard.backends.slurm.commands`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from runyard.backends.base import LogChunk
from runyard.backends.slurm.commands import ACCOUNTING, QUEUE
from runyard.backends.wrapper import CLAIMED
from runyard.errors import ConfigError
from runyard.executors.duration import seconds
from runyard.terminal import duration

SOON = 90
"""Seconds until a job's start that are not worth a word."""


@dataclass(frozen=True)
class Seen:
    """What ``squeue`` or ``sacct`` says about a job.

    Args:
        job: Its number, with ``_index`` for an element of an array.
        state: Slurm's word, in capitals.
        name: Its name.
        reason: Why it waits or ended, in Slurm's words.
        restarts: How often it was requeued.
        start: Start (of a waiting job: estimated), seconds since the epoch.
        end: End, seconds since the epoch.
        nodes: Where.
        exit_code: Exit code, where known.
        signal: Signal that ended it.
    """

    job: str
    state: str
    name: str = ""
    reason: str = ""
    restarts: int = 0
    start: float | None = None
    end: float | None = None
    nodes: str = ""
    exit_code: int | None = None
    signal: int = 0


@dataclass(frozen=True)
class Left:
    """What a job's wrapper left in its folder.

    Args:
        job: Slurm's number, as it was asked for.
        attempt: The last attempt that the claimer made; 0 for none.
        owner: Slurm's number of the claimer.
        started: Seconds since the epoch.
        restarts: How often Slurm had restarted the claimer when it made that attempt.
        ended: Seconds since the epoch.
        code: Exit code, once ended.
        secrets: Its secrets still lie there.
        folder: The job's folder.
    """

    job: str
    attempt: int
    owner: str
    started: float | None
    restarts: int
    ended: float | None
    code: int | None
    secrets: bool
    folder: str


@dataclass
class View:
    """The whole answer of one query.

    Args:
        failed: Exit code of ``squeue``, when it failed.
        queue: Rows of ``squeue``, by job.
        accounting: Rows of ``sacct``, by job.
        files: What wrappers left, by the job's number, as it was asked for, and folder.
        arrays: For each array that was submitted: its name and folder, and its lines.
    """

    failed: int = 0
    answered: bool = False
    queue: dict[str, Seen] = field(default_factory=dict)
    accounting: dict[str, Seen] = field(default_factory=dict)
    files: dict[tuple[str, str], Left] = field(default_factory=dict)
    arrays: dict[tuple[str, str], list[str]] = field(default_factory=dict)


def view(text: str) -> View:
    """Return what the scripts ``observe`` and ``find`` printed; lines outside of their marks are ignored."""
    out = View()
    section = ""
    lines: list[str] = []
    for line in text.split("\n"):  # and at no other character that may stand in a name
        if line.startswith("%failed "):
            out.failed = _int(line.split()[1]) or 1
        elif line in ("%queue", "%accounting", "%files"):
            section = line
            out.answered = True
        elif line.startswith("%file "):
            left = _file(line[len("%file ") :])
            out.files[left.job, left.folder] = left
        elif line.startswith("%array "):
            name, _, folder = line[len("%array ") :].partition("|")
            section, lines = "%array", []
            out.arrays[name, folder] = lines
        elif section == "%array":
            lines.append(line)
        elif section == "%queue":
            if row := queue_row(line):
                out.queue.setdefault(row.job, row)
        elif section == "%accounting" and (row := accounting_row(line)):
            out.accounting[row.job] = row  # of several records of one job the last counts
    return out


def queue_row(line: str) -> Seen | None:
    """Return a row of ``squeue -O``, or ``None`` for anything else."""
    values, at = [], 0
    for _, width in QUEUE:
        values.append(line[at : at + width].strip())
        at += width
    job, state, restarts, start, reason, nodes, name, status = values
    if not _is_job(job) or not state:
        return None
    return Seen(
        _leader(job),
        state.upper(),
        name,
        "" if reason in ("None", "(null)") else reason,
        _int(restarts),
        _time(start),
        nodes=nodes,
        # Of others the wrapper tells more; a second claimant leaves nothing, and who claimed may not have said so yet.
        exit_code=CLAIMED if _int(status) == CLAIMED << 8 else None,
    )


def accounting_row(line: str) -> Seen | None:
    """Return a row of ``sacct -P``, or ``None`` for anything else."""
    values = line.split("|", len(ACCOUNTING) - 1)
    if len(values) < len(ACCOUNTING) or not _is_job(values[0]):
        return None
    job, state, code, start, end, nodes, reason, name = values
    exit_code, _, signal = code.partition(":")
    return Seen(
        _leader(job),
        state.split()[0].upper() if state.split() else "",
        name,
        "" if reason in ("None", "") else reason,
        0,
        _time(start),
        _time(end),
        "" if nodes == "None assigned" else nodes,
        _int(exit_code) if exit_code.isdigit() else None,
        _int(signal),
    )


def _is_job(text: str) -> bool:
    return bool(re.match(r"\d+([_+]\S+)?\Z", text))


def _leader(job: str) -> str:
    """Return a job's number; that of a heterogeneous job's first component is the job's own."""
    return job.removesuffix("+0")


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def _time(text: str) -> float | None:
    return float(text) if text.isdigit() and int(text) > 0 else None


def _file(text: str) -> Left:
    job, last, owner, started, restarts, ended, code, hidden, folder = text.split("|", 8)
    return Left(
        job,
        _int(last),
        owner,
        _time(started),
        _int(restarts),
        _time(ended),
        int(code) if code.lstrip("-").isdigit() else None,
        hidden == "1",
        folder,
    )


def submitted(text: str) -> tuple[bool, dict[int, tuple[int, str]]]:
    """Return whether the files arrived, and for each submission its exit code and what was printed."""
    out: dict[int, tuple[int, str]] = {}
    arrived, current = False, -1
    for line in text.splitlines():
        if line == "%unpacked":
            arrived = True
        elif match := re.match(r"%submitted (\d+) (\d+)\Z", line):
            current = int(match[1])
            out[current] = (int(match[2]), "")
        elif current >= 0:
            code, said = out[current]
            out[current] = (code, f"{said}\n{line}".strip())
    return arrived, out


def job_number(said: str) -> str:
    """Return the job's number in what ``sbatch --parsable`` printed, or nothing.

    Example:
        >>> job_number("Welcome!\\n1234;cluster"), job_number("sbatch: error: no")
        ('1234', '')
    """
    for line in reversed(said.splitlines()):
        if match := re.match(r"(\d+)(;\S*)?\Z", line.strip()):
            return match[1]
    return ""


def forecasts(text: str) -> dict[int, tuple[int, str]]:
    """Return for each script that was asked about the exit code of ``sbatch --test-only`` and its words."""
    out: dict[int, tuple[int, str]] = {}
    current = -1
    for line in text.splitlines():
        if match := re.match(r"%forecast (\d+) (\d+)\Z", line):
            current = int(match[1])
            out[current] = (int(match[2]), "")
        elif line.startswith("%"):
            current = -1
        elif current >= 0:
            code, said = out[current]
            out[current] = (code, f"{said}\n{line}".strip())
    return out


def estimate(said: str, now: float) -> str:
    """Return in words when a job would start, from what ``sbatch --test-only`` printed; nothing when it is soon.

    Example:
        >>> estimate("sbatch: Job 8 to start at 7300 using 4 processors on nodes n1 in partition main", 100.0)
        'would start in about 2h 00m, on n1 (partition main)'
    """
    found = re.search(r"to start at (\d+) .*?on nodes (\S+)(?: in partition (\S+))?", said)
    if not found or int(found[1]) - now < SOON:
        return ""
    where = f" (partition {found[3]})" if found[3] else ""
    return f"would start in about {duration(int(found[1]) - now)}, on {found[2]}{where}"


def partitions(text: str) -> dict[str, float | None]:
    """Return the time limit of each partition in seconds (``None``: without limit); the default one also as ``*``."""
    out: dict[str, float | None] = {}
    for line in marked(text, "%partition"):
        name, _, limit = line.partition("|")
        try:
            value = seconds(limit.strip())
        except ConfigError:
            value = None  # "infinite", and whatever else it may say
        out[name.rstrip("*")] = value
        if name.endswith("*"):
            out["*"] = value
    return out


def marked(text: str, mark: str) -> list[str]:
    """Return what follows a mark on its lines."""
    return [line[len(mark) + 1 :] for line in text.splitlines() if line.startswith(f"{mark} ")]


_LOG = re.compile(rb"%log (\d+) (\d+) ([^\n]*)\n")


def chunks(data: bytes) -> Iterator[LogChunk]:
    """Yield the pieces of log streams in an answer; the last may be shorter than announced."""
    at = max(data.find(b"%log "), 0)
    while match := _LOG.match(data, at):
        offset, count = int(match[1]), int(match[2])
        piece = data[match.end() : match.end() + count]
        if piece:
            yield LogChunk(match[3].decode("utf-8", "surrogateescape"), offset, piece)
        at = match.end() + count
