"""What is submitted for a job, byte for byte.

``RUNYARD_UPDATE_GOLDEN=1 pytest tests/unit/slurm/test_golden.py`` writes the golden files anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runyard.backends.base import Request
from runyard.executors.macros import ExecutorMacros
from runyard.executors.slurm import SlurmExecutor, SlurmJobDetails
from runyard.launchers import FaultTolerance, Launcher, Torchrun
from runyard.packagers import Packager
from runyard.shell import Raw
from runyard.task import Script
from runyard.tunnels import LocalTunnel, SSHTunnel

GOLDEN = Path(__file__).parents[2] / "golden" / "slurm"
SHELLS = [path for name in ("dash", "bash", "busybox") if (path := shutil.which(name))]


class Site(SlurmJobDetails):
    """The files of a site with rules of its own."""

    stdout = property(lambda self: "/logs/%u/%j.out")
    stderr = property(lambda self: "/logs/%u/%j.err")
    srun_stdout = property(lambda self: "/logs/%u/%j-%t.out")
    srun_stderr = property(lambda self: "/logs/%u/%j-%t.err")


@dataclass
class Case:
    """A task with one executor's fields, or a group with several's."""

    executors: list[dict[str, Any]]
    tasks: list[Script] | None = None
    group: bool = False


TRAIN = Script("train", m=True, args=["--lr", "0.1"])
HEAD = ExecutorMacros.HEAD_NODE_IP_VAR
RESOURCES = {
    "account": "research",
    "partition": "gpu,backfill",
    "job_name_prefix": "team.",
    "time": "1-02:00:00",
    "nodes": 2,
    "ntasks_per_node": 8,
    "cpus_per_task": 4,
    "cpus_per_gpu": 4,
    "gpus_per_node": 8,
    "gpus_per_task": 1,
    "qos": "high",
    "mem": "64G",
    "mem_per_gpu": "8G",
    "mem_per_cpu": 512,
    "comment": 'what "we" need; $(now)',
    "constraint": "a100&nvlink",
    "exclude": ["n1", "n[3-5]"],
    "gres": "gpu:8",
    "signal": "USR1@90",
    "exclusive": True,
    "segment": 2,
    "network": "sharp",
}
CASES = {
    "plain": Case([{}]),
    "resources": Case([RESOURCES]),
    "torchrun": Case([{"nodes": 2, "ntasks_per_node": 8, "gpus_per_node": 8, "launcher": "torchrun"}], [TRAIN]),
    "ft": Case(
        [
            {
                "nodes": 2,
                "ntasks_per_node": 8,
                "launcher": FaultTolerance(cfg_path="/cfg/ft.yaml", rdzv_port=1234, max_restarts=3),
            }
        ],
        [TRAIN],
    ),
    "group": Case(
        [
            {"nodes": 2, "container_image": "nvcr.io/nvidia/server:1", "container_mounts": ["/models:/models:ro"]},
            {"container_image": "/images/client image.sqsh", "env_vars": {"URL": f"http://{HEAD}:80/it's"}},
            {"nodes": 2, "launcher": "torchrun", "env_vars": {"URL": "$NOT_EXPANDED"}, "setup_lines": "ulimit -n 99"},
        ],
        [Script("serve", entrypoint=""), Script("ask", entrypoint="", args=[ExecutorMacros.group_host(0)]), TRAIN],
        group=True,
    ),
    "heterogeneous": Case(
        [
            {"heterogeneous": True, "nodes": 2, "partition": "gpu", "gpus_per_node": 8, "retries": 1},
            {"nodes": 2, "ntasks_per_node": 4, "launcher": Torchrun(rdzv_id=7), "partition": "cpu"},
        ],
        [Script("serve", entrypoint=""), TRAIN],
        group=True,
    ),
    "heterogeneous-shared": Case(
        [
            {"heterogeneous": True, "het_group_indices": [0, 0, 1], "nodes": 2},
            {"nodes": 1},
            {"nodes": 1, "gpus_per_node": 1},
        ],
        [Script(n, entrypoint="", args=[ExecutorMacros.group_host(1), ExecutorMacros.group_host(2)]) for n in "abc"],
        group=True,
    ),
    "pyxis": Case(
        [
            {
                "container_image": "nvcr.io/nvidia/pytorch:25.01-py3",
                "container_mounts": ["/data:/data:ro", "~/cache:/root/.cache"],
                "container_env": ["NCCL_DEBUG", "PATH"],
                "container_workdir": "/workspace/my code",
                "env_vars": {"NCCL_DEBUG": "INFO"},
            }
        ]
    ),
    "apptainer": Case(
        [
            {
                "container_runtime": "apptainer",
                "container_image": "~/images/torch.sif",
                "container_mounts": ["/data:/data:ro"],
                "gpus_per_node": 1,
                "env_vars": {"A": "it's"},
            }
        ]
    ),
    "setup": Case([{"setup_lines": "module load cuda\nexport X='a b'\n"}]),
    "secrets": Case(
        [{"env_vars": {"HF_TOKEN": "hf_never_shown", "PLAIN": "shown"}, "container_image": "a/b:1"}],
    ),
    "memory": Case([{"memory_measure": True}]),
    "nsys": Case(
        [
            {
                "nodes": 2,
                "launcher": Torchrun(nsys_profile=True, nsys_trace=["nvtx"], nsys_gpu_metrics=True),
            }
        ],
        [TRAIN],
    ),
    "nsys-plain": Case([{"launcher": Launcher(nsys_profile=True, nsys_extra_args=["--stats=true"])}], [TRAIN]),
    "signal-to-the-tasks": Case([{"signal": "B:TERM@120"}]),
    "array": Case([{"array": "0-9%4", "retries": 2}]),
    "over-ssh": Case(
        [{"tunnel": SSHTunnel("login.cluster", "u"), "nodes": 2, "env_vars": {"API_KEY": "k_never_shown"}}],
        [Script(inline="echo hello", args=[HEAD])],
    ),
    "job-dir": Case([{"tunnel": LocalTunnel("/scratch/my runs $x")}]),
    "job-details": Case([{"job_details": Site(job_name="pretrain"), "job_name_prefix": "team-"}]),
    "additional": Case(
        [
            {
                "mem": "1G",
                "additional_parameters": {
                    "mem": "2G",
                    "nice": 10,
                    "spread_job": True,
                    "contiguous": False,
                    "licenses": ["matlab:1", "ansys:2"],
                    "reservation": None,
                    "--gpu-bind": "verbose,closest",
                    "M": "cluster one",
                    "H": True,
                    "newest_option": "a b",
                },
                "srun_args": ["--mpi=pmix", "--cpu-bind=verbose,map_cpu:0", "it's", Raw("--jobid=$SLURM_JOB_ID")],
            }
        ]
    ),
    "messages-apart": Case([{"stderr_to_stdout": False, "nodes": 2}]),
    "requeue": Case([{"retries": 3, "open_mode": "truncate"}]),
    "own-requeue": Case([{"retries": 3, "additional_parameters": {"no_requeue": True}}]),
    "dependencies": Case([{"dependencies": ["slurm://c/12", "34"], "dependency_type": "afterany"}]),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def request_of(planned: Callable[..., Request]) -> Callable[[str], Request]:
    def make(name: str) -> Request:
        case = CASES[name]
        executors = [SlurmExecutor(**{"packager": Packager(), **fields}) for fields in case.executors]
        tasks = case.tasks or [Script("train", entrypoint="", args=["--lr", "0.1"])]
        return planned(*executors, tasks=tasks, group=case.group)

    return make


def text_of(request: Request) -> str:
    parts = [f"$ {' '.join(request.command)}\n"]
    parts += [f"==> {name} <==\n{text}" for name, text in request.files.items()]
    return "\n".join(parts)


def test_golden(case: str, request_of: Callable[[str], Request]) -> None:
    path, text = GOLDEN / f"{case}.txt", text_of(request_of(case))
    if os.environ.get("RUNYARD_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs; RUNYARD_UPDATE_GOLDEN=1 writes it anew"


def test_every_golden_file_has_a_case() -> None:
    assert {p.stem for p in GOLDEN.iterdir()} == set(CASES)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_can_read_it(case: str, shell: str, request_of: Callable[[str], Request]) -> None:
    argv = [shell, "sh"] if shell.endswith("busybox") else [shell]
    for name, text in request_of(case).files.items():
        if text.startswith("#!/bin/bash") and not shell.endswith("bash"):
            continue
        told = subprocess.run([*argv, "-n"], input=text, capture_output=True, text=True, check=False)
        assert (told.returncode, told.stderr) == (0, ""), name


def test_no_secret_is_in_what_is_submitted(case: str, request_of: Callable[[str], Request]) -> None:
    assert "never_shown" not in text_of(request_of(case))


def test_the_header_comes_before_every_command(case: str, request_of: Callable[[str], Request]) -> None:
    lines = request_of(case).files["job.sbatch"].splitlines()
    header = [i for i, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert header == list(range(1, len(header) + 1))
