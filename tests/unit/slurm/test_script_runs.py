"""What the batch script does when a shell runs it, with a stand-in for ``srun`` and without any cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runyard.backends.base import Request
from runyard.executors.slurm import SlurmExecutor
from runyard.task import Script

Make = Callable[..., SlurmExecutor]
Planned = Callable[..., Request]
SRUN = 'while case $1 in --*) true ;; *) false ;; esac; do shift; done\nexec "$@"\n'
SHELLS = [path for name in ("dash", "bash", "busybox") if (path := shutil.which(name))]


class Job:
    """A job's files in a folder, and a folder with programs of Slurm's."""

    def __init__(self, folder: Path, shell: str, request: Request) -> None:
        self.folder, self.bin = Path(request.folder), folder / "bin"
        self.shell = [shell, "sh"] if shell.endswith("busybox") else [shell]
        for name, text in request.files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.folder / "attempts").mkdir(exist_ok=True)
        self.bin.mkdir()
        self.program("srun", SRUN)

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{text}")
        (self.bin / name).chmod(0o755)

    def run(self, *args: str, **env: str) -> int:
        done = subprocess.run(
            [*self.shell, "job.sbatch", *args],
            cwd=self.folder,
            env=os.environ | {"PATH": f"{self.bin}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"} | env,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        return done.returncode

    def attempts(self) -> list[str]:
        return sorted(p.name for p in (self.folder / "attempts").iterdir())

    def left(self, attempt: str, name: str) -> str:
        return (self.folder / "attempts" / attempt / name).read_text()


@pytest.fixture(params=SHELLS)
def job(request: pytest.FixtureRequest, tmp_path: Path, planned: Planned, slurm: Make) -> Callable[..., Job]:
    def make(text: str = "echo ran", **fields: Any) -> Job:
        task = Script("sh", entrypoint="", args=["-c", f"cd /; {text}"])
        workdir = str(tmp_path / "here")
        Path(workdir).mkdir()
        made = planned(slurm(job_dir=str(tmp_path / "a root"), **fields), tasks=[task])
        files = {n: t.replace("cd /home/u/work ", f"cd '{workdir}' ") for n, t in made.files.items()}
        return Job(tmp_path, request.param, Request(made.job, made.command, files, made.folder))

    return make


def test_an_attempt_is_claimed_once(job: Callable[..., Job]) -> None:
    j = job()
    assert j.run("1") == 0
    assert j.run("1", SLURM_JOB_ID="8") == 113
    assert j.attempts() == ["1"]
    assert (j.left("1", "rc"), j.left("1", "log")) == ("0\n", "ran\n")
    assert "slurm=7\n" in j.left("1", "started")


def test_a_restart_is_the_next_attempt(job: Callable[..., Job]) -> None:
    j = job("echo $RUNYARD_ATTEMPT; exit 3")
    assert j.run("1") == 3
    assert j.run("1", SLURM_RESTART_COUNT="1") == 3
    assert j.run("1", SLURM_RESTART_COUNT="2") == 3
    assert j.run("1", SLURM_RESTART_COUNT="1", SLURM_JOB_ID="8") == 113
    assert j.attempts() == ["1", "2", "3"]
    assert j.left("3", "log") == "3\n"


def test_elements_of_an_array_make_attempts_side_by_side(job: Callable[..., Job]) -> None:
    j = job(array="0-1", retries=1)
    for index in ("0", "1"):
        assert j.run("1", SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID=index) == 0
    assert j.run("1", SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="1", SLURM_RESTART_COUNT="1") == 0
    assert j.run("1", SLURM_ARRAY_JOB_ID="9", SLURM_ARRAY_TASK_ID="1") == 113
    assert j.attempts() == ["1.0", "1.1", "2.1"]


def test_by_hand_it_is_an_attempt_of_its_own(job: Callable[..., Job]) -> None:
    j = job()
    assert j.run() == 0
    (name,) = j.attempts()
    assert name.startswith("manual-")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (["srun: error: n3: task 2: Exited with exit code 6", "srun: error: n1: tasks 0-1: Terminated"], 6),
        (
            [
                "srun: error: n1: tasks 0,3-5: Exited with exit code 1",
                "srun: error: n2: task 1: Exited with exit code 9",
            ],
            1,
        ),
        (["srun: error: n1: task 0: Segmentation fault (core dumped)", "srun: error: n2: task 1: Terminated"], 139),
        (["srun: error: n1: task 0: Out Of Memory"], 137),
        (["srun: error: n1: task 0: Terminated"], 143),
        (["2: srun: error: n1: task 0: Exited with exit code 9", "1: Exited with exit code 8"], 143),
        (["srun: error: Unable to create step for job 7: Job/step already completing"], 143),
        ([], 143),
    ],
)
def test_of_several_processes_the_first_that_failed_gives_the_code(
    job: Callable[..., Job], said: list[str], code: int
) -> None:
    j = job(nodes=3)
    lines = "".join(f"echo '{line}' >&2\n" for line in ["srun: First task exited 30s ago", *said])
    j.program("srun", f"{lines}exit 143\n")
    assert j.run("1") == code
    assert j.left("1", "rc") == f"{code}\n"


def test_what_processes_print_makes_no_failure(job: Callable[..., Job]) -> None:
    j = job(nodes=3)
    j.program("srun", "echo 'srun: error: n1: task 0: Exited with exit code 9'; exit 0")
    assert j.run("1") == 0


def test_sruns_repetition_of_the_exit_code_is_left_out(job: Callable[..., Job]) -> None:
    j = job()
    j.program("srun", "echo out; echo 'srun: error: n1: task 0: Exited with exit code 4' >&2; echo odd >&2; exit 4")
    assert j.run("1") == 4
    assert j.left("1", "log") == "out\nodd\n"


def test_the_memory_is_measured_until_the_end(job: Callable[..., Job]) -> None:
    j = job("sleep 0.2", memory_measure=True)
    assert j.run("1") == 0
    assert j.left("1", "output/memory.csv").startswith("time,used_kb,available_kb\n")


def test_what_sbatch_keeps_from_the_script_reaches_its_steps(job: Callable[..., Job]) -> None:
    j = job('echo "[${SLURM_EXPORT_ENV-unset}] [$A]"', env_vars={"A": "a"})
    assert j.run("1", SLURM_EXPORT_ENV="NONE") == 0
    assert j.left("1", "log") == "[unset] [a]\n"


def test_setup_lines_run_before_the_task_in_its_shell(job: Callable[..., Job]) -> None:
    j = job("echo $A", setup_lines="export A='a b'\nif false; then exit 9; fi")
    assert j.run("1") == 0
    assert j.left("1", "log") == "a b\n"
