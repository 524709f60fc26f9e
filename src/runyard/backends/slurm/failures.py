"""What the words of Slurm's commands mean for the user. Pure.

Source: ``slurm_errno.h`` of Slurm 22.05, whose texts the commands print.
"""

from __future__ import annotations

import re

from runyard.errors import SubmitError, Unavailable

_REFUSALS = {
    "invalid partition": "no such partition: `sinfo -s` lists them (SlurmExecutor.partition)",
    "invalid account": "no such account for you: `sacctmgr show assoc user=$USER` lists yours (SlurmExecutor.account)",
    "invalid qos": "no such quality of service: `sacctmgr show qos` lists them (SlurmExecutor.qos)",
    "requested time limit is invalid": "the partition allows less: `sinfo -o '%P %l'` shows its limit "
    "(SlurmExecutor.time)",
    "time limit specification required": "the cluster asks for a limit (SlurmExecutor.time)",
    "requested node configuration is not available": "there are not so many nodes, or none has that many CPUs, GPUs or "
    "that much memory (SlurmExecutor.nodes, cpus_per_task, gpus_per_node, mem): `sinfo -Nel` shows what there is",
    "memory required by task is not available": "no node has that much memory (SlurmExecutor.mem)",
    "cpu count specification invalid": "no node has that many CPUs (SlurmExecutor.cpus_per_task)",
    "no partition specified": "the cluster has no default partition: `sinfo -s` lists them (SlurmExecutor.partition)",
    "node count specification invalid": "the partition has fewer nodes, or allows fewer (SlurmExecutor.nodes)",
    "more processors requested than permitted": "ask for fewer CPUs or processes",
    "invalid generic resource": "the cluster calls its GPUs otherwise: `sinfo -o '%P %G'` shows them",
    "invalid feature": "no node has such a feature: `sinfo -o '%P %f'` lists them (SlurmExecutor.constraint)",
    "invalid node name": "no such node: `sinfo -N` lists them (SlurmExecutor.exclude)",
    "invalid job array": "the indices are wrong, or more than MaxArraySize: `scontrol show config` tells it",
    "invalid license": "`scontrol show lic` lists them (SlurmExecutor.additional_parameters)",
    "requested reservation": "`scontrol show res` lists them (SlurmExecutor.additional_parameters)",
    "job dependency problem": "the job it depends on is not known (SlurmExecutor.dependencies)",
    "unrecognized option": "this version of sbatch has no such option: leave out the field of that name, or its entry "
    "in SlurmExecutor.additional_parameters",
    "invalid option": "this version of sbatch has no such option: correct SlurmExecutor.additional_parameters",
    "could not establish a configuration source": "Slurm's commands know no cluster there: launch from a login "
    'node, or reach one through SSH (tunnel = "ssh")',
    "invalid wckey": "see `sacctmgr show wckey`",
    "access/permission denied": "your account may not use what was asked for; ask the cluster's administrators",
    "user's group not permitted": "your group may not use this partition (SlurmExecutor.partition)",
    "disk quota exceeded": "your quota there is used up: remove old runs with `runyard code gc` and "
    "`runyard experiment rm`, or set another job_dir",
    "no space left on device": "remove old runs with `runyard code gc` and `runyard experiment rm`, or set another "
    "job_dir",
}
_POLICY = re.compile(r"\b((?:QOS|Assoc)(?:Max|Min|Grp)[A-Za-z]+)", re.IGNORECASE)
"""The limit that a request broke, beside the text for all of them."""
_MALFORMED = re.compile(r"invalid --([\w-]+) specification", re.IGNORECASE)
_LATER = (
    "maxsubmitjob",
    "submit limit",
    "temporarily unable",
    "temporarily unavailable",
    "try again later",
    "unable to create job record, try again",
)
_UNKNOWN = (
    "socket timed out",
    "timed out",
    "unable to contact slurm controller",
    "communication connection failure",
    "connection refused",
    "zero bytes were transmitted",
    "transport endpoint is not connected",
    "unexpected message received",
)
NO_SLURM = (
    "put Slurm's commands on the PATH there: SSHTunnel(shell='bash -l') or SSHTunnel(pre_command='module load slurm')"
)


def refusal(task: str, said: str, code: int, machine: str) -> SubmitError | Unavailable:
    """Return the error for a submission that failed.

    Args:
        task: The task's name.
        said: What ``sbatch`` printed.
        code: Its exit code.
        machine: Where it ran.

    Returns:
        ``Unavailable`` where the job may have been accepted nevertheless.
    """
    low = said.lower()
    shown = "; ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in said.splitlines()[-3:])
    if code in (126, 127) and "sbatch" in low:
        return SubmitError(f"task {task!r}: there is no sbatch on {machine}", hint=NO_SLURM)
    if code == 124 or any(phrase in low for phrase in _UNKNOWN):
        return Unavailable(f"task {task!r}: Slurm on {machine} did not answer: {shown or 'no answer in time'}")
    if _is_for_now(low):
        return SubmitError(f"task {task!r}: not now: {shown}", hint="it is tried again", retryable=True)
    hint = next((h for phrase, h in _REFUSALS.items() if phrase in low), "correct what sbatch names")
    if found := _POLICY.search(said):
        hint = (
            f"ask for less (SlurmExecutor.time, nodes, gpus_per_node …): {found[1]} is a limit of your account or QOS"
        )
    elif found := _MALFORMED.search(said):
        hint = f"correct {found[1].replace('-', '_')}, a field of SlurmExecutor or in its additional_parameters"
    return SubmitError(f"task {task!r} was refused by Slurm on {machine}: {shown or f'exit code {code}'}", hint=hint)


def is_certain(said: str) -> bool:
    """Say whether what ``sbatch --test-only`` printed means that the request can never run."""
    low = said.lower()
    return not _is_for_now(low) and not any(phrase in low for phrase in _UNKNOWN)


def _is_for_now(low: str) -> bool:
    """Say whether a request was refused only because of what else is there now."""
    limit = _POLICY.search(low)
    if limit and "submit" not in limit[1]:
        return False  # of one job's size or time; the line below it speaks of a "submit limit" all the same
    return any(phrase in low for phrase in _LATER)
