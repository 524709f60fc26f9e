"""What the words of Slurm's commands mean for the user. Pure.

Source: ``slurm_errno.h`` of Slurm 22.05, whose texts the commands print.
"""

from __future__ import annotations

from runyard.errors import SubmitError, Unavailable

_REFUSALS = {
    "invalid partition": "no such partition: `sinfo -s` lists them (SlurmExecutor.partition)",
    "invalid account": "no such account for you: `sacctmgr show assoc user=$USER` lists yours (SlurmExecutor.account)",
    "invalid qos": "no such quality of service: `sacctmgr show qos` lists them (SlurmExecutor.qos)",
    "requested time limit is invalid": "the partition allows less: `sinfo -o '%P %l'` shows its limit "
    "(SlurmExecutor.time)",
    "invalid time limit": 'write time as "HH:MM:SS" or "D-HH:MM:SS" (SlurmExecutor.time)',
    "requested node configuration is not available": "no node has that many CPUs, GPUs or that much memory: "
    "`sinfo -Nel` shows what they have",
    "node count specification invalid": "the partition has fewer nodes, or allows fewer (SlurmExecutor.nodes)",
    "more processors requested than permitted": "ask for fewer CPUs or processes",
    "invalid generic resource": "the cluster calls its GPUs otherwise: `sinfo -o '%P %G'` shows them",
    "invalid feature": "no node has such a feature: `sinfo -o '%P %f'` lists them (SlurmExecutor.constraint)",
    "invalid node name": "no such node: `sinfo -N` lists them (SlurmExecutor.exclude)",
    "invalid job array": "the indices are wrong, or more than MaxArraySize: `scontrol show config` tells it",
    "invalid dependency": "the job it depends on is not known (SlurmExecutor.dependencies)",
    "job dependency problem": "the job it depends on is not known (SlurmExecutor.dependencies)",
    "unrecognized option": "this version of sbatch has no such option (SlurmExecutor.additional_parameters)",
    "invalid option": "this version of sbatch has no such option (SlurmExecutor.additional_parameters)",
    "invalid wckey": "see `sacctmgr show wckey`",
    "access/permission denied": "your account may not use what was asked for; ask the cluster's administrators",
    "user's group not permitted": "your group may not use this partition (SlurmExecutor.partition)",
    "memory specification can not be satisfied": "no node has that much memory (SlurmExecutor.mem)",
    "disk quota exceeded": "your quota there is used up: remove old runs with `runyard code gc` and "
    "`runyard experiment rm`, or set another job_dir",
    "no space left on device": "remove old runs with `runyard code gc` and `runyard experiment rm`, or set another "
    "job_dir",
}
_LATER = (
    "jobs pending limit",
    "maxsubmitjob",
    "submit limit",
    "temporarily unable",
    "slurm temporarily",
    "too many jobs",
    "job count limit",
    "try again later",
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
    if any(phrase in low for phrase in _LATER):
        return SubmitError(f"task {task!r}: not now: {shown}", hint="it is tried again", retryable=True)
    hint = next((h for phrase, h in _REFUSALS.items() if phrase in low), "correct what sbatch names")
    return SubmitError(f"task {task!r} was refused by Slurm on {machine}: {shown or f'exit code {code}'}", hint=hint)


def is_certain(said: str) -> bool:
    """Say whether what ``sbatch --test-only`` printed means that the request can never run."""
    low = said.lower()
    return not any(phrase in low for phrase in (*_LATER, *_UNKNOWN))
