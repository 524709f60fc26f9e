"""Every field of ``DockerExecutor``, as the engine shows the container that runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import runyard as run
from docker_engine import IMAGE, Engine, until
from runyard.backends.docker.backend import DockerBackend
from runyard.engine import launch
from runyard.packagers import Packager

FIELDS: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any]], object], object]] = {
    "container_image": ({}, lambda c: c["Config"]["Image"], IMAGE),
    "ntasks_per_node": ({"ntasks_per_node": 3}, lambda c: c["Config"]["Cmd"], ["1"]),
    "runtime": ({"runtime": "runc"}, lambda c: c["HostConfig"]["Runtime"], "runc"),
    "shm_size": ({"shm_size": "96m"}, lambda c: c["HostConfig"]["ShmSize"], 96 << 20),
    "ulimits": (
        {"ulimits": ["nofile:1024:2048", {"name": "core", "soft": 0, "hard": 0}]},
        lambda c: sorted((u["Name"], u["Soft"], u["Hard"]) for u in c["HostConfig"]["Ulimits"]),
        [("core", 0, 0), ("nofile", 1024, 2048)],
    ),
    "ipc_mode": ({"ipc_mode": "host"}, lambda c: c["HostConfig"]["IpcMode"], "host"),
    "healthcheck": (
        {"healthcheck": {"test": ["CMD", "true"], "interval": 10**9}},
        lambda c: (c["Config"]["Healthcheck"]["Test"], c["Config"]["Healthcheck"]["Interval"]),
        (["CMD", "true"], 10**9),
    ),
    "privileged": ({"privileged": True}, lambda c: c["HostConfig"]["Privileged"], True),
    "network": ({"network": "none"}, lambda c: list(c["NetworkSettings"]["Networks"]), ["none"]),
    "volumes": (
        {"volumes": ["/usr/share:/there:ro"]},
        lambda c: [(m["Source"], m["RW"]) for m in c["Mounts"] if m["Destination"] == "/there"],
        [("/usr/share", False)],
    ),
    "a volume of the engine": (
        {"volumes": {"of-the-engine": {"bind": "/there", "mode": "rw"}}},
        lambda c: [(m["Type"], m["Name"]) for m in c["Mounts"] if m["Destination"] == "/there"],
        [("volume", "of-the-engine")],
    ),
    "user": ({"user": "0:65534"}, lambda c: c["Config"]["User"], "0:65534"),
    "the caller": ({}, lambda c: c["Config"]["User"], f"{os.getuid()}:{os.getgid()}"),
    "init": ({}, lambda c: c["HostConfig"]["Init"], True),
    "additional_kwargs": (
        {"additional_kwargs": {"mem_limit": "256m", "cap_add": ["SYS_PTRACE"], "hostname": "here", "init": False}},
        lambda c: (
            c["HostConfig"]["Memory"],
            c["HostConfig"]["CapAdd"],
            c["Config"]["Hostname"],
            c["HostConfig"]["Init"],
        ),
        (256 << 20, ["SYS_PTRACE"], "here", False),
    ),
    "additional labels": (
        {"additional_kwargs": {"labels": {"team": "vision"}}},
        lambda c: {k: v for k, v in c["Config"]["Labels"].items() if k in ("team", "runyard.attempt")},
        {"team": "vision", "runyard.attempt": "1"},
    ),
}


@pytest.fixture(scope="module")
def containers(_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """What the engine shows of one container for each field, all of which run at the same time."""
    folder = tmp_path_factory.mktemp("fields")
    with pytest.MonkeyPatch.context() as patch, _engine.client_closing() as client:
        patch.setenv("RUNYARD_HOME", str(folder / "home"))
        patch.setenv("DOCKER_HOST", _engine.env["DOCKER_HOST"])
        patch.setenv("FIELDS_TOKEN", "s3cret-of-fields")
        patch.chdir(folder)
        exp = run.Experiment("fields", clean_mode=True)
        names = {f"task-{i}": field for i, field in enumerate(FIELDS)}
        for name, field in names.items():
            executor = run.DockerExecutor(
                container_image=IMAGE,
                packager=Packager(),
                max_parallel=50,
                env_vars={"FIELDS_TOKEN": run.Secret("FIELDS_TOKEN")},
                **FIELDS[field][0],
            )
            exp.add(run.Script(inline="echo begun; exec sleep 300"), executor, name)
        exp.run(detach=True)
        until(lambda: all(r.status is run.JobState.RUNNING for r in exp.jobs), "all tasks run", 60)
        found = {}
        for row in client.api.containers(filters={"label": "runyard.experiment=" + exp.id}):
            found[names[row["Labels"]["runyard.task"]]] = client.api.inspect_container(row["Id"])
        yield found
        for container in client.api.containers(quiet=True):
            client.api.kill(container["Id"])
        exp.wait()
        assert client.api.containers(all=True) == []
        client.volumes.get("of-the-engine").remove()


@pytest.mark.parametrize("field", FIELDS)
def test_field(field: str, containers: dict[str, dict[str, Any]]) -> None:
    _, look, wanted = FIELDS[field]
    assert look(containers[field]) == wanted


def test_secrets_are_nowhere_in_a_container(containers: dict[str, dict[str, Any]]) -> None:
    assert all("s3cret-of-fields" not in str(c) for c in containers.values())
    assert all(any(m["Destination"] == "/runyard/secrets" for m in c["Mounts"]) for c in containers.values())


def test_num_gpus(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no GPU here: the container can be made, and not started, which is said in words."""
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    executor = run.DockerExecutor(container_image=IMAGE, packager=Packager(), num_gpus=2)
    exp = run.Experiment("gpus", executor, clean_mode=True)
    exp.add(run.Script(inline="true"), name="task")
    _, (planned,), _ = launch.preview(tmp_path, "gpus", 1, exp._entries(False))
    backend = DockerBackend(str(tmp_path))
    del backend
    document = planned.request.files["containers.json"]
    assert '"Count": 2' in document
    result = exp.run(raise_on_failure=False)["task"]
    assert result.status is run.JobState.FAILED
    assert "could not select device driver" in result.reason
    assert "NVIDIA Container Toolkit" in result.reason
    with engine.client_closing() as client:
        assert client.api.containers(all=True) == []
