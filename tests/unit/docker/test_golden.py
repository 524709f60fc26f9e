"""What is submitted for a job, byte for byte.

``RUNYARD_UPDATE_GOLDEN=1 pytest tests/unit/docker/test_golden.py`` writes the golden files anew.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runyard.backends.base import CODE, Job, Request
from runyard.backends.docker import backend as docker_backend
from runyard.backends.docker.plan import Caller
from runyard.engine.plan import Entry, Launch, plan
from runyard.errors import ConfigError
from runyard.executors.docker import DockerExecutor
from runyard.executors.macros import ExecutorMacros
from runyard.launchers import SlurmTemplate
from runyard.packagers import Packager
from runyard.shell import Raw
from runyard.task import Script

GOLDEN = Path(__file__).parents[2] / "golden" / "docker"
LAUNCH = Launch(
    id="digits_1",
    title="digits",
    home="/home/u/.runyard",
    folder="experiments/digits/digits_1",
    cwd="/home/u/my work, really",
    python="/usr/bin/python3",
)
TRAIN = Script("train", m=True, args=["--lr", "0.1", "it's $HOME", Raw("$RUNYARD_TASK")])
HOST = ExecutorMacros.group_host(1)

CASES: dict[str, tuple[list[dict[str, Any]], list[Script]]] = {
    "plain": ([{}], [TRAIN]),
    "all-fields": (
        [
            {
                "ntasks_per_node": 4,
                "launcher": "torchrun",
                "runtime": "nvidia",
                "num_gpus": 4,
                "shm_size": "8g",
                "ulimits": ["memlock:-1", "nofile=1024:2048"],
                "ipc_mode": "host",
                "healthcheck": {"test": ["CMD", "test", "-e", "/tmp/a b"]},
                "privileged": True,
                "network": "host",
                "volumes": {"/data": {"bind": "/data", "mode": "ro"}, "cache": "/cache"},
                "user": "root",
                "additional_kwargs": {
                    "mem_limit": "64g",
                    "cap_add": ["SYS_PTRACE"],
                    "ports": {"80/tcp": 8080},
                    "labels": ["team"],
                },
            }
        ],
        [TRAIN],
    ),
    "ft": ([{"launcher": "ft", "ntasks_per_node": 2}], [TRAIN]),
    "secrets": ([{"env_vars": {"HF_TOKEN": "s3cret-value", "A": "b\nc"}, "setup_lines": "module load x"}], [TRAIN]),
    "entrypoint": ([{"additional_kwargs": {"entrypoint": ["/entry.sh"], "init": False}, "user": ""}], [TRAIN]),
    "group": ([{}, {"num_gpus": 1}], [Script("serve", entrypoint=""), Script("ask", entrypoint="", args=[HOST])]),
    "group-on-a-network": (
        [{"network": "mine"}] * 2,
        [Script("serve", entrypoint=""), Script("ask", entrypoint="", args=[HOST])],
    ),
}


@pytest.fixture(autouse=True)
def _launched_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_backend, "_caller", lambda: Caller(1000, 1001, "u", "laptop"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///var/run/docker.sock")


def planned(executors: list[dict[str, Any]], tasks: list[Script]) -> tuple[Job, Request]:
    made = tuple(DockerExecutor(**{"container_image": "img:1", "packager": Packager(), **e}) for e in executors)
    (job,) = plan([Entry("train", tuple(tasks), made, group=len(tasks) > 1)], LAUNCH)
    return job.job, job.request


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    job, request = planned(*CASES[name])
    text = f"# command: {shlex.join(request.command)}\n"
    for path, content in request.files.items():
        text += f"# file: {path}\n{content}"
    assert "s3cret-value" not in text
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("RUNYARD_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()
    again = docker_backend.DockerBackend("/elsewhere").plan(Job.from_json(job.to_json()))
    assert again == replace(request)


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:2375", "ssh://me@gpu1"])
def test_a_task_without_code_is_refused_for_an_engine_elsewhere(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(ConfigError, match=f"the Docker engine {address} cannot see") as error:
        planned(*CASES["plain"])
    assert "choose a packager" in error.value.hint


@pytest.mark.parametrize("name", ["secrets", "group"])
def test_golden_for_an_engine_elsewhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No path of this machine is in what the engine is asked for; the code is named by its hash."""
    job, _ = planned(*CASES[name])
    tree = {"hash": "ab" * 32, "store": "/home/u/.runyard/snapshots", "tree": "ab" * 6}
    parts = tuple(replace(c, code=tree, workdir=f"{CODE}/{tree['tree']}") for c in job.components)
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@gpu1")
    request = docker_backend.DockerBackend("/elsewhere").plan(replace(job, components=parts))
    text = f"# command: {shlex.join(request.command)}\n"
    for path, content in request.files.items():
        text += f"# file: {path}\n{content}"
    assert "s3cret-value" not in text
    assert "/home/u" not in text.replace(f"sh {request.folder}", "")
    path = GOLDEN / f"elsewhere-{name}.txt"
    if os.environ.get("RUNYARD_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()
    assert request.options["volume"] == "runyard-digits_1-0a3bf821"


def test_other_launchers_are_refused() -> None:
    executor = {"launcher": SlurmTemplate(template_inline="x")}
    with pytest.raises(ConfigError, match="launcher 'slurm_template' does not work with DockerExecutor"):
        planned([executor], [TRAIN])


def test_members_on_different_networks_are_refused() -> None:
    with pytest.raises(ConfigError, match="on different networks"):
        planned([{"network": "a"}, {}], [TRAIN, TRAIN])


def test_the_folder_of_the_launch_cannot_be_the_root() -> None:
    executor = DockerExecutor(container_image="i", packager=Packager())
    with pytest.raises(ConfigError, match="the folder of the launch"):
        plan([Entry("train", (TRAIN,), (executor,))], replace(LAUNCH, cwd="/"))
