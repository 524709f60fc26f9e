"""One engine for the whole session that does not see the launcher's files, and the ways to reach it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import docker_engine
import docker_remote
import processes
import ssh_servers
from docker_engine import Engine
from docker_remote import Relay
from ssh_servers import Server, User

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def keys() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ryk-"))
    docker_remote.make_keys(folder / "keys", "localhost")
    yield folder / "keys"
    processes.remove(folder)


@pytest.fixture(scope="session")
def _account() -> Iterator[User]:
    if why := ssh_servers.missing():
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="rys-"))
    folder.chmod(0o755)
    user = User(f"ryd{secrets.token_hex(4)}", folder)
    yield user
    user.remove()
    processes.remove(folder)


@pytest.fixture(scope="session")
def _engine(tmp_path_factory: pytest.TempPathFactory, keys: Path, _account: User) -> Iterator[Engine]:
    if why := docker_engine.missing():
        pytest.skip(why)
    flags = ("--group", _account.name, *docker_remote.flags_of_tls(keys))
    with docker_engine.running(Engine, hidden=(tmp_path_factory.getbasetemp(),), flags=flags) as engine:
        engine.folder.chmod(0o711)
        engine.add_image()
        yield engine


@pytest.fixture
def engine(_engine: Engine) -> Iterator[Engine]:
    """An engine with an image, whole again and empty after the test. Nothing says yet how to reach it."""
    yield _engine
    _engine.reset()


@pytest.fixture
def relay(engine: Engine) -> Iterator[Relay]:
    """A port of loopback that leads to the engine."""
    with docker_remote.relay(engine.socket) as made:
        yield made


@pytest.fixture
def over_tcp(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Relay:
    """The engine is reached by TCP."""
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{relay.port}")
    return relay


@pytest.fixture
def over_tls(engine: Engine, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """The engine is reached by TCP with TLS: it shows its certificate, and wants ours."""
    path = engine.folder / "tls.sock"
    with docker_remote.relay(path if path.exists() else docker_remote.open_tls(engine)) as made:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://localhost:{made.port}")
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(keys))
        yield made


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A control directory of the test's own; no connection outlives the test."""
    folder = Path(tempfile.mkdtemp(prefix="ryc-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder / "runyard"
    ssh_servers.end_connections(folder)


@pytest.fixture
def sshd(
    _account: User, tmp_path_factory: pytest.TempPathFactory, control: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """The engine's machine has an sshd, and ``ssh`` knows it as ``login``, as from ``~/.ssh/config``."""
    folder = tmp_path_factory.mktemp("sshd")  # its log may grow at any time: nothing for a folder that is watched
    server = Server(_account, folder / "sshd")
    programs = folder / "programs"
    programs.mkdir()
    # OpenSSH finds the user's configuration by the account, not by HOME.
    (programs / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {server.config()} "$@"\n')
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    yield server
    server.stop()
    _account.reset()


@pytest.fixture
def over_ssh(engine: Engine, sshd: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The engine is reached by ssh."""
    monkeypatch.setenv("DOCKER_HOST", f"ssh://login{engine.socket}")
    return sshd


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository to launch from, and records of the test's own."""
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    folder = tmp_path / "work"
    folder.mkdir()
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / "README").write_text("what the jobs run in is shipped from here\n")
    monkeypatch.chdir(folder)
    return folder
