"""Every field of ``DockerExecutor``, as the engine shows the container that runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import runyard as run
from docker_engine import IMAGE, Engine, until
from runyard.backends.docker import plan
from runyard.backends.docker.engine import Engine as Client
from runyard.engine import launch
from runyard.packagers import Packager
from runyard.states import ENDED

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
        until(lambda: all(r.status in (run.JobState.RUNNING, *ENDED) for r in exp.jobs), "all tasks have begun", 180)
        assert [(r.id, r.status) for r in exp.jobs if r.status.ended] == []
        found = {}
        for row in client.api.containers(filters={"label": "runyard.experiment=" + exp.id}):
            found[names[row["Labels"]["runyard.task"]]] = client.api.inspect_container(row["Id"])
        yield found
        for container in client.api.containers(quiet=True):
            client.api.kill(container["Id"])
        exp.wait(raise_on_failure=False)
        assert client.api.containers(all=True) == []
        client.volumes.get("of-the-engine").remove()


@pytest.mark.parametrize("field", FIELDS)
def test_field(field: str, containers: dict[str, dict[str, Any]]) -> None:
    _, look, wanted = FIELDS[field]
    assert look(containers[field]) == wanted


def test_secrets_are_nowhere_in_a_container(containers: dict[str, dict[str, Any]]) -> None:
    assert all("s3cret-of-fields" not in str(c) for c in containers.values())
    assert all(any(m["Destination"] == "/runyard/secrets" for m in c["Mounts"]) for c in containers.values())


@pytest.mark.parametrize(
    ("field", "name", "wanted"),
    [
        (
            {"num_gpus": 2},
            "DeviceRequests",
            [{"Driver": "", "Count": 2, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}],
        ),
        ({"privileged": True}, "Privileged", True),
    ],
    ids=["num_gpus", "privileged"],
)
def test_field_of_a_container_that_may_not_start_here(
    field: dict[str, Any], name: str, wanted: object, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be no GPU here, nor all capabilities: the container can always be made, and the engine shows it."""
    monkeypatch.chdir(tmp_path)
    exp = run.Experiment("made", run.DockerExecutor(container_image=IMAGE, packager=Packager(), **field))
    exp.add(run.Script(inline="true"), name="task")
    _, (planned,), _ = launch.preview(tmp_path, "made", 1, exp._entries(False))
    document = json.loads(planned.request.files[plan.CONTAINERS])
    (tmp_path / planned.job.folder).mkdir(parents=True)
    (tmp_path / planned.job.folder).with_name(".runner").mkdir()
    with engine.client_closing() as client:
        id, _ = Client(engine.env["DOCKER_HOST"]).create(plan.at(document, 1)[0])
        assert client.api.inspect_container(id)["HostConfig"][name] == wanted


def test_gpus_that_are_not_there(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    executor = run.DockerExecutor(container_image=IMAGE, packager=Packager(), num_gpus=-1)
    result = run.run(run.Script(inline="true"), executor, name="task", tail_logs=False, raise_on_failure=False)
    assert result is not None
    assert result.status is run.JobState.FAILED
    assert "could not select device driver" in result.reason
    assert "NVIDIA Container Toolkit" in result.reason
    with engine.client_closing() as client:
        assert client.api.containers(all=True) == []
