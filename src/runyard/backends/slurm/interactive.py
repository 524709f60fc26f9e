"""An allocation to work in: ``salloc``, and ``srun`` in it.

Source: the ``salloc`` and ``srun`` manual pages of Slurm 22.05.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from runyard.backends.slurm import failures, options
from runyard.errors import SubmitError
from runyard.executors.slurm import SlurmExecutor
from runyard.secrets import resolve, split_env
from runyard.shell import check_env_name, quote
from runyard.tunnels import Result, Tunnel

_NOT_HERE = frozenset({"array", "signal", "open-mode"})
"""Options of batch jobs only."""


def alloc(executor: SlurmExecutor, job_name: str) -> str:
    """Return the number of the user's allocation of this name; wait for a new one where there is none."""
    tunnel = executor.reach()
    name = quote(executor.job_name_prefix + job_name)
    found = tunnel.run(f"squeue --me -h -t RUNNING -n {name} -o %A", repeat=True, warn=True)
    if found.exited == 127:
        raise SubmitError(f"there is no squeue on {tunnel.name}", hint=failures.NO_SLURM)
    if numbers := [n for n in found.stdout.split() if n.isdigit()]:
        return numbers[0]
    words = " ".join(map(quote, words_of(executor)))
    done = tunnel.run(f"salloc --no-shell --job-name={name} {words}", warn=True)
    granted = re.search(r"Granted job allocation (\d+)", done.stdout + done.stderr)
    if not done.ok or not granted:
        said = (done.stderr or done.stdout).replace("salloc: ", "").strip()
        raise failures.refusal(job_name, said, done.exited or 1, tunnel.name)
    return granted[1]


def words_of(executor: SlurmExecutor) -> list[str]:
    """Return the options of an executor as words of a command line."""
    asked = {**options.resources(executor), **options.additional(executor)}
    return [
        line.removeprefix("#SBATCH ").replace('"', "") if "=" not in line else _word(line)
        for line in options.header({k: v for k, v in asked.items() if k not in _NOT_HERE}, "an allocation")
    ]


def _word(line: str) -> str:
    name, _, value = line.removeprefix("#SBATCH ").partition("=")
    if value.startswith('"'):
        value = value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return f"{name}={value}"


def step(executor: SlurmExecutor, number: str, more: Sequence[str] = ()) -> list[str]:
    """Return the words of an ``srun`` in an allocation, before its command."""
    container = options.container(executor, (), sorted(executor.env_vars), executor.container_workdir or "/")
    plain = options.apptainer(executor, (), executor.container_workdir or "/")
    return ["srun", f"--jobid={number}", "--overlap", *more, *container, *(executor.srun_args or []), *plain]


def srun(
    executor: SlurmExecutor, cmd: str, job_name: str, flags: Sequence[str], env: Mapping[str, str], hide: bool
) -> Result:
    """Run a command on all nodes of an allocation, and return what it did."""
    number = alloc(executor, job_name)
    words = [*step(executor, number, flags), "bash", "-c", cmd]
    return executor.reach().run(_exports(executor, env) + " ".join(map(quote, words)), hide=hide, warn=True)


def bash(executor: SlurmExecutor, job_name: str) -> int:
    """Give this terminal to a shell on the first node of an allocation; return its exit code."""
    number = alloc(executor, job_name)
    tunnel: Tunnel = executor.reach()
    words = [*step(executor, number, ["--nodes=1", "--ntasks=1", "--pty"]), "bash", "-i"]
    return tunnel.attach(_exports(executor, {}) + " ".join(map(quote, words)))


def _exports(executor: SlurmExecutor, env: Mapping[str, str]) -> str:
    shown, hidden = split_env({**executor.env_vars, **env})
    values = {**{k: str(v) for k, v in shown.items()}, **resolve(hidden)}
    return "".join(f"export {check_env_name(k, 'env_vars')}={quote(v)}\n" for k, v in values.items())
