"""Fields that cannot be used are refused in words; the others survive the record."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from runyard import executors
from runyard.backends.docker import address, engine
from runyard.backends.docker.backend import DockerBackend
from runyard.errors import ConfigError
from runyard.executors.docker import DockerExecutor, ulimit, volumes


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"container_image": ""}, "container_image"),
        ({"ntasks_per_node": 0}, "ntasks_per_node"),
        ({"num_gpus": -2}, "num_gpus"),
        ({"num_gpus": True}, "num_gpus"),
        ({"max_parallel": 0}, "max_parallel"),
        ({"runtime": ""}, "runtime"),
        ({"network": 5}, "network"),
        ({"privileged": "yes"}, "privileged"),
        ({"volumes": "/a:/b"}, "volumes"),
        ({"volumes": ["/a"]}, "says not where"),
        ({"volumes": ["./a:/b"]}, "relative"),
        ({"volumes": [":/b"]}, "relative"),
        ({"ulimits": "nofile:1"}, "ulimits"),
        ({"ulimits": ["nofile"]}, "nofile"),
        ({"ulimits": [{"soft": 1}]}, "ulimits"),
        ({"ulimits": ["nofile:1:2:3"]}, "nofile:1:2:3"),
        ({"healthcheck": "curl"}, "healthcheck"),
        ({"additional_kwargs": {"x": object()}}, "cannot be recorded"),
        ({"additional_kwargs": {"environment": {"A": "b"}}}, "environment"),
        ({"additional_kwargs": {"auto_remove": True}}, "auto_remove"),
        ({"additional_kwargs": {"shm_size": "1g"}, "shm_size": "2g"}, "given twice"),
        ({"time": "soon"}, "time"),
        ({"shm_size": "huge"}, "shm_size"),
        ({"shm_size": "8 gigs"}, "shm_size"),
    ],
)
def test_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        DockerExecutor(**{"container_image": "i", **fields}).validate()
    assert words in str(error.value)
    assert "DockerExecutor" in error.value.message
    assert error.value.hint


def test_the_record_gives_the_same_executor() -> None:
    executor = DockerExecutor(
        container_image="i",
        ulimits=["memlock:-1"],
        volumes=["~/data:/data"],
        healthcheck={"test": ["NONE"]},
        additional_kwargs={"mem_limit": "1g"},
        user="",
        time="90s",
    )
    executor.validate()
    assert executors.from_dict(json.loads(json.dumps(executor.to_dict()))) == executor
    assert executor.time_limit() == 90


def test_forms() -> None:
    assert ulimit("nofile=1:2", "x") == ulimit({"name": "nofile", "Soft": 1, "hard": 2}, "x")
    assert volumes(["~/d:/d"], "x") == [f"{Path.home()}/d:/d"]


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(ConfigError) as error:
        engine.sdk()
    assert error.value.hint == 'pip install "runyard[docker]"'
    with pytest.raises(ConfigError, match="needs docker-py"):
        DockerBackend("/h").prepare([])


def test_the_engine_is_the_one_that_docker_would_use(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    assert address.chosen(env) == address.DEFAULT
    folder = tmp_path / ".docker" / "contexts" / "meta" / hashlib.sha256(b"rootless").hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text('{"Endpoints": {"docker": {"Host": "unix:///run/user/1/docker.sock"}}}')
    (tmp_path / ".docker" / "config.json").write_text('{"currentContext": "rootless"}')
    assert address.chosen(env) == "unix:///run/user/1/docker.sock"
    assert address.chosen({**env, "DOCKER_CONTEXT": "default"}) == address.DEFAULT
    assert address.chosen({**env, "DOCKER_HOST": "unix:///x"}) == "unix:///x"
    with pytest.raises(ConfigError, match="is a path") as error:
        address.chosen({**env, "DOCKER_HOST": "/run/docker.sock"})
    assert error.value.hint == "write DOCKER_HOST=unix:///run/docker.sock"
    with pytest.raises(ConfigError, match="context 'gone' is not defined"):
        address.chosen({**env, "DOCKER_CONTEXT": "gone"})


def test_names_of_engines() -> None:
    here = address.cluster_of("unix:///var/run/docker.sock")
    assert address.is_here(here)
    assert address.address_of(here) == "unix:///var/run/docker.sock"
    assert not address.is_here("unix://some-other-host/var/run/docker.sock")
    assert address.address_of("tcp://h:1") == address.cluster_of("tcp://h:1") == "tcp://h:1"
    assert address.is_in_reach(here)
    assert address.is_in_reach("ssh://me@gpu1")
    assert not address.is_in_reach("unix://some-other-host/var/run/docker.sock")
    assert address.machine_of("ssh://me@Gpu1:22") == "Gpu1"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("unix:///a b.sock", address.Place("unix", "/a b.sock")),
        ("ssh://gpu1", address.Place("ssh", "/var/run/docker.sock", "gpu1")),
        ("ssh://me@Gpu1:2222/run/d.sock", address.Place("ssh", "/run/d.sock", "Gpu1", "me", 2222)),
        ("ssh://me@[::1]:2222", address.Place("ssh", "/var/run/docker.sock", "::1", "me", 2222)),
        ("tcp://10.0.0.1", address.Place("tcp", host="10.0.0.1", port=2375)),
        ("10.0.0.1:99", address.Place("tcp", host="10.0.0.1", port=99)),
        ("tcp://h?certs=%2Fa+b&verify=0", address.Place("tcp", host="h", port=2376, certs="/a b", verify=False)),
    ],
)
def test_addresses(text: str, place: address.Place) -> None:
    assert address.parse(text) == place


@pytest.mark.parametrize(
    "text", ["", "unix://", "ssh://", "ssh://me:word@h", "tcp://h/path", "npipe:////./pipe/x", "fd://3", "tcp://h:x"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        address.parse(text)


def test_keys_of_an_engine_are_part_of_its_name(tmp_path: Path) -> None:
    env = {"DOCKER_HOST": "tcp://h:1", "DOCKER_CERT_PATH": "/keys & more", "HOME": str(tmp_path)}
    assert address.chosen(env) == "tcp://h:1"
    found = address.parse(address.chosen({**env, "DOCKER_TLS_VERIFY": "1"}))
    assert (found.certs, found.verify, found.port) == ("/keys & more", True, 1)
    del env["DOCKER_CERT_PATH"]
    assert address.parse(address.chosen({**env, "DOCKER_TLS_VERIFY": "1"})).certs == f"{tmp_path}/.docker"
    # Without a scheme it is TCP too; and who looks after it later may stand in another folder.
    found = address.parse(address.chosen({"DOCKER_HOST": "h:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "keys"}))
    assert (found.scheme, found.host, found.certs) == ("tcp", "h", os.path.abspath("keys"))
    # ssh needs no keys of Docker's, whatever the environment says.
    assert address.chosen({"DOCKER_HOST": "ssh://h", "DOCKER_TLS_VERIFY": "1"}) == "ssh://h"
