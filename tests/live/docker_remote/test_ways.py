"""The ways to an engine: TCP, TLS, docker contexts and ssh, each as it works, and as it does not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

import runyard as run
from docker_engine import IMAGE, Engine
from docker_remote import Relay
from runyard.errors import ConfigError, Unavailable
from ssh_servers import Server

pytestmark = pytest.mark.usefixtures("work")


def ready() -> run.Experiment:
    exp = run.Experiment("way", run.DockerExecutor(container_image=IMAGE, network="none"), clean_mode=True)
    exp.add(run.Script(inline="echo from $(cat README | head -c 4)"), name="task")
    return exp


def works() -> None:
    assert ready().run()["task"].log_path.read_text() == "from what\n"


def refused(*words: str, hint: str = "") -> None:
    """Check that a launch is refused at once with some words, and leaves no record."""
    with pytest.raises((Unavailable, ConfigError)) as error:
        ready().run()
    assert all(word in error.value.message for word in words), error.value.message
    assert hint in error.value.hint, error.value.hint
    assert not list(Path(os.environ["RUNYARD_HOME"]).glob("experiments/*/*"))


def test_tls(over_tls: Relay) -> None:
    works()


def test_context_with_keys(over_tls: Relay, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``docker context create`` writes it; a context in use is found without any variable."""
    host = os.environ["DOCKER_HOST"]
    for name in ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    key = hashlib.sha256(b"far").hexdigest()
    meta, tls = (tmp_path / "docker" / "contexts" / kind / key for kind in ("meta", "tls"))
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(
        json.dumps({"Name": "far", "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}})
    )
    (tls / "docker").mkdir(parents=True)
    for name in ("ca.pem", "cert.pem", "key.pem"):
        shutil.copy(keys / name, tls / "docker" / name)
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"currentContext": "far"}))
    works()


def test_tls_without_keys(over_tls: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_TLS_VERIFY")
    refused("TLS", hint="DOCKER_TLS_VERIFY")


def test_tls_with_a_name_that_is_not_in_the_certificate(over_tls: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{over_tls.port}")
    refused("do not trust each other", hint="certificate")


def test_tls_without_files(over_tls: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    refused(f"{tmp_path}/ca.pem does not exist", hint="DOCKER_CERT_PATH")


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listened to: nobody else can, either
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{taken.getsockname()[1]}")
        refused("no Docker engine answers at 127.0.0.1", "refused", hint="DOCKER_HOST")


def test_what_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "npipe:////./pipe/docker_engine")
    refused("npipe", hint="ssh://")


def test_ssh_with_an_unknown_host_key(over_ssh: Server) -> None:
    over_ssh.known_hosts.write_text("")
    refused("host key is not known", hint="fingerprint")


def test_ssh_without_a_login(over_ssh: Server) -> None:
    over_ssh.user.write(".ssh/authorized_keys", "", mode=0o600)
    refused("refused the login", hint="check user and key")


def test_ssh_to_nobody(over_ssh: Server) -> None:
    over_ssh.stop()
    refused("cannot be reached", hint="nothing listens there")
    over_ssh.start()


def test_ssh_without_an_engine_there(over_ssh: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://login/run/no-such/docker.sock")
    refused("there is no socket /run/no-such/docker.sock", hint="ssh://HOST/")


def test_ssh_as_somebody_who_may_not(engine: Engine, over_ssh: Server) -> None:
    engine.socket.chmod(0o600)
    try:
        refused("you may not use the Docker engine on login", hint="group docker")
    finally:
        engine.socket.chmod(0o660)


def test_ssh_takes_one_login(engine: Engine, over_ssh: Server) -> None:
    """For any number of tasks and processes."""
    executor: Any = run.DockerExecutor(container_image=IMAGE, network="none")
    exp = run.Experiment("many", executor, clean_mode=True)
    for i in range(6):
        exp.add(run.Script(inline="sleep 1; echo done"), name=f"t{i}")
    assert all(result.ok for result in exp.run().values())
    assert (over_ssh.logins, over_ssh.sessions) == (1, 0)
