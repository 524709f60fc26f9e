"""What the user is told when ``sbatch`` refuses: recorded words of Slurm 22.05, and what they must lead to."""

from __future__ import annotations

import pytest

from runyard.backends.slurm import failures
from runyard.errors import SubmitError, Unavailable

POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
REFUSED = [
    (
        "sbatch: error: invalid partition specified: nope\n{}: Invalid partition name specified",
        "SlurmExecutor.partition",
    ),
    ("{}: Invalid account or account/partition combination specified", "SlurmExecutor.account"),
    ("{}: Invalid qos specification", "SlurmExecutor.qos"),
    ("{}: Requested time limit is invalid (missing or exceeds some limit)", "SlurmExecutor.time"),
    ("{}: Time limit specification required, but not provided", "SlurmExecutor.time"),
    ("{}: Requested node configuration is not available", "SlurmExecutor.nodes"),
    ("{}: Node count specification invalid", "SlurmExecutor.nodes"),
    ("{}: More processors requested than permitted", "fewer CPUs"),
    ("{}: CPU count specification invalid", "SlurmExecutor.cpus_per_task"),
    ("{}: Memory required by task is not available", "SlurmExecutor.mem"),
    ("{}: No partition specified or system default partition", "SlurmExecutor.partition"),
    ("{}: Invalid feature specification", "SlurmExecutor.constraint"),
    ("{}: Invalid node name specified", "SlurmExecutor.exclude"),
    ("{}: Invalid job array specification", "MaxArraySize"),
    ("{}: Job dependency problem", "SlurmExecutor.dependencies"),
    ("{}: Invalid license specification", "scontrol show lic"),
    ("{}: Requested reservation is invalid", "scontrol show res"),
    ("{}: Invalid wckey specification", "wckey"),
    ("{}: Access/permission denied", "administrators"),
    ("{}: User's group not permitted to use this partition", "SlurmExecutor.partition"),
    ("sbatch: error: Invalid generic resource (gres) specification", "sinfo -o '%P %G'"),
    ("sbatch: error: Invalid --mem specification", "mem,"),
    ("sbatch: error: Invalid --open-mode specification", "open_mode"),
    ("sbatch: error: Invalid --time specification", "time,"),
    ("sbatch: unrecognized option '--segment=2'\nTry \"sbatch --help\" for more information", "no such option"),
    ("sbatch: invalid option -- 'k'\nTry \"sbatch --help\" for more information", "additional_parameters"),
    (f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{{}}: {POLICY}", "QOSMaxWallDurationPerJobLimit"),
    (f"sbatch: error: QOSMaxCpuPerJobLimit\n{{}}: {POLICY}", "SlurmExecutor.time, nodes"),
    (f"sbatch: error: AssocMaxNodePerJobLimit\n{{}}: {POLICY}", "AssocMaxNodePerJobLimit"),
    ("tee: attempts: Disk quota exceeded", "another job_dir"),
    ("sbatch: fatal: Could not establish a configuration source", 'tunnel = "ssh"'),
    ("sbatch: error: something new", "correct what sbatch names"),
]
LATER = [
    f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{{}}: {POLICY}",
    f"sbatch: error: AssocMaxSubmitJobLimit\n{{}}: {POLICY}",
    f"sbatch: error: QOSGrpSubmitJobsLimit\n{{}}: {POLICY}",
    f"{{}}: {POLICY}",
    "{}: Slurm temporarily unable to accept job, sleeping and retrying",
    "{}: Resource temporarily unavailable",
    "{}: Unable to create job record, try again",
]
UNKNOWN = [
    "{}: Unable to contact slurm controller (connect failure)",
    "{}: Socket timed out on send/recv operation",
    "{}: Zero Bytes were transmitted or received",
    "{}: Communication connection failure",
    "{}: Unexpected message received",
]
ASKED = "allocation failure"
SUBMITTED = "sbatch: error: Batch job submission failed"


@pytest.mark.parametrize("before", [ASKED, SUBMITTED])
@pytest.mark.parametrize(("said", "hint"), REFUSED)
def test_a_refusal_names_what_to_change(said: str, hint: str, before: str) -> None:
    said = said.format(before)
    error = failures.refusal("train", said, 1, "login.cluster")
    assert type(error) is SubmitError
    assert not error.retryable
    assert "'train'" in error.message
    assert "login.cluster" in error.message
    assert said.splitlines()[-1].removeprefix("sbatch: ").removeprefix("error: ") in error.message
    assert hint in error.hint
    assert failures.is_certain(said)


@pytest.mark.parametrize("said", LATER)
def test_no_room_now_is_tried_again(said: str) -> None:
    said = said.format(SUBMITTED)
    error = failures.refusal("train", said, 1, "login")
    assert isinstance(error, SubmitError)
    assert error.retryable
    assert not failures.is_certain(said)


@pytest.mark.parametrize("said", UNKNOWN)
def test_no_answer_is_no_refusal(said: str) -> None:
    said = said.format(SUBMITTED)
    assert isinstance(failures.refusal("train", said, 1, "login"), Unavailable)
    assert not failures.is_certain(said)


def test_an_answer_that_came_too_late_is_no_refusal() -> None:
    error = failures.refusal("train", "", 124, "login")
    assert isinstance(error, Unavailable)
    assert "no answer in time" in error.message


@pytest.mark.parametrize("said", ["sh: 1: sbatch: not found", "bash: line 1: sbatch: command not found"])
def test_no_sbatch(said: str) -> None:
    error = failures.refusal("train", said, 127, "login")
    assert type(error) is SubmitError
    assert error.message == "task 'train': there is no sbatch on login"
    assert "module load slurm" in error.hint


def test_silence_shows_the_exit_code() -> None:
    assert "exit code 3" in str(failures.refusal("train", "", 3, "login"))


def test_a_long_answer_is_cut_to_its_end() -> None:
    said = "\n".join([f"lua: line {i}" for i in range(50)] + ["sbatch: error: Invalid qos specification"])
    message = failures.refusal("train", said, 1, "login").message
    assert "lua: line 49; Invalid qos specification" in message
    assert "lua: line 9" not in message
