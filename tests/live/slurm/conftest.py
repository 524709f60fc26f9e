"""Two clusters for the whole session, each started when a test first asks for it."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import processes
import slurm_cluster
import ssh_servers
from runyard.tunnels import SSHTunnel
from slurm_cluster import Cluster
from ssh_servers import Server, User

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster without accounting."""
    yield from _cluster(accounting=False)


@pytest.fixture(scope="session")
def accounting_cluster() -> Iterator[Cluster]:
    """A cluster whose jobs ``sacct`` knows."""
    yield from _cluster(accounting=True)


def _cluster(*, accounting: bool) -> Iterator[Cluster]:
    if why := slurm_cluster.missing(accounting=accounting):
        pytest.skip(why)
    with slurm_cluster.running(accounting=accounting) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _own_cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clients find the cluster that a test asks for; it is whole again, and idle, after the test."""
    for name in os.environ:
        if name.startswith(slurm_cluster.SETTINGS):
            monkeypatch.delenv(name)
    names = [name for name in ("cluster", "accounting_cluster") if name in request.fixturenames]
    clusters: list[Cluster] = [request.getfixturevalue(name) for name in names]
    for cluster in clusters[:1]:
        monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    yield
    for cluster in clusters:
        cluster.reset()


@pytest.fixture(scope="session")
def login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A login node: an sshd, and an account of its own on it."""
    if why := ssh_servers.missing():
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="ryu-"))
    folder.chmod(0o755)
    user = User(f"ryu{secrets.token_hex(4)}", folder)
    try:
        server = Server(user, folder / "sshd")
        try:
            yield server
        finally:
            server.stop()
    finally:
        user.remove()
        processes.remove(folder)


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A control directory of the test's own; no connection outlives the test."""
    folder = Path(tempfile.mkdtemp(prefix="ryc-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield
    ssh_servers.end_connections(folder)


@pytest.fixture
def over_ssh(cluster: Cluster, login: Server, control: None) -> Iterator[SSHTunnel]:
    """A tunnel to the login node of the cluster without accounting."""
    job_dir = login.user.home / "runs"
    yield login.tunnel(pre_command=f"export SLURM_CONF={cluster.conf}", job_dir=str(job_dir))
    processes.remove(job_dir)
