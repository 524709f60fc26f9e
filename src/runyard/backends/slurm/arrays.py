"""Many equal jobs as one job array: which are equal, and the array's own script. Pure.

Each task keeps its own batch script, readable and ready to be submitted by hand; an element of the array looks up its
line in a list, and becomes that script.

Source: "job array" in the ``sbatch`` manual page, and https://slurm.schedmd.com/job_array.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runyard.backends.base import Request
from runyard.backends.slurm.script import OUTPUT, SCRIPT, in_shell

FOLDER = ".arrays"
"""In an experiment's folder: the lists and scripts of its arrays."""
LEAST = 8
"""So many equal jobs at least become an array; fewer keep names of their own in Slurm."""
MARK = ".array-"
"""In the name of an array, between the experiment's id and the array's token."""


@dataclass(frozen=True)
class Batch:
    """Requests that one ``sbatch`` submits.

    Args:
        numbers: Positions of the requests.
        token: Name of the array; empty for a single job.
    """

    numbers: tuple[int, ...]
    token: str = ""


def batches(requests: Sequence[Request], token: str, largest: int) -> list[Batch]:
    """Return how requests are submitted: equal ones together, in the order of the first of each.

    Args:
        requests: The requests.
        token: Text that makes the arrays' names unique.
        largest: How many elements an array may have.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault(_shape(request) or (str(i),), []).append(i)
    out: list[Batch] = []
    for numbers in groups.values():
        if len(numbers) < LEAST:
            out += [Batch((i,)) for i in numbers]
            continue
        for at in range(0, len(numbers), largest):
            part = tuple(numbers[at : at + largest])
            out.append(Batch(part, f"{token}-{part[0]}") if len(part) > 1 else Batch(part))
    return out


def _shape(request: Request) -> tuple[str, ...]:
    """Return a text that is equal for requests that differ only in what they run; nothing for those on their own."""
    lines = header_lines(request)
    if any(x.startswith(("#SBATCH --array", "#SBATCH hetjob")) for x in lines):
        return ()
    words = [w for w in request.command[1:] if w.startswith("--dependency")]
    after = [f"{kind}:{handle.id}" for handle, kind in request.after]
    return (experiment(request), *lines, *words, *after)


def header_lines(request: Request) -> list[str]:
    """Return the ``#SBATCH`` lines of a request that do not name the job or its files."""
    own = ("#SBATCH --job-name=", "#SBATCH --output=slurm.log", "#SBATCH --open-mode=")
    return [x for x in request.files[SCRIPT].splitlines() if x.startswith("#SBATCH") and not x.startswith(own)]


def experiment(request: Request) -> str:
    """Return the folder of a request's experiment on the target."""
    return request.folder.rpartition("/")[0]


def name(request: Request, token: str) -> str:
    """Return the name that Slurm shows for an array."""
    prefix = str(request.options["name"]).removesuffix(request.job.native)
    return f"{prefix}{request.job.experiment}{MARK}{token}"


def token_of(native: str) -> str:
    """Return the token in the name of an array, or nothing."""
    return native.rpartition(MARK)[2] if MARK in native else ""


def collapsed(jobs: Sequence[str]) -> list[str]:
    """Return job numbers with the elements of each array written as one word, as ``scancel`` takes it.

    Example:
        >>> collapsed(["7", "12_0", "12_1", "12_2", "12_9"])
        ['7', '12_[0-2,9]']
    """
    elements: dict[str, list[int]] = {}
    out = []
    for job in jobs:
        base, _, index = job.partition("_")
        if index.isdigit():
            elements.setdefault(base, []).append(int(index))
        else:
            out.append(job)
    for base, numbers in elements.items():
        ranges: list[list[int]] = []
        for n in sorted(set(numbers)):
            if ranges and ranges[-1][1] == n - 1:
                ranges[-1][1] = n
            else:
                ranges.append([n, n])
        words = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
        out.append(f"{base}_[{words}]" if len(numbers) > 1 else f"{base}_{numbers[0]}")
    return out


def listing(requests: Sequence[Request]) -> str:
    """Return the list of an array: a line ``attempt folder`` for each element."""
    return "".join(f"{r.attempt} {r.folder}\n" for r in requests)


def script(requests: Sequence[Request], token: str) -> str:
    """Return the batch script of an array of requests."""
    first = requests[0]
    quoted_list = in_shell(f"{experiment(first)}/{FOLDER}/{token}")
    lines = [
        "#!/bin/sh",
        f"#SBATCH --array=0-{len(requests) - 1}",
        "#SBATCH --output=slurm.log",
        "#SBATCH --open-mode=append",
        *header_lines(first),
        f"# {len(requests)} equal tasks of {first.job.experiment}: each becomes the {SCRIPT} of its own folder.",
        f'line=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {quoted_list}) || exit 112',
        "attempt=${line%% *}; folder=${line#* }",
        'case $folder in "~/"*) folder=$HOME/${folder#"~/"} ;; esac',
        f'cd "$folder" && {{ [ -e {OUTPUT} ] || (umask 077; : > {OUTPUT}); }} || exit 112',
        f'exec sh {SCRIPT} "$attempt" >> {OUTPUT} 2>&1',
    ]
    return "\n".join(lines) + "\n"
