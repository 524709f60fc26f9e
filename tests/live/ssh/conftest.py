"""A login node for each test, and nothing left behind."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import processes
import ssh_servers
from ssh_servers import Proxy, Server, User, missing

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why = missing()
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.live)
            if why:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def account() -> Iterator[User]:
    folder = Path(tempfile.mkdtemp(prefix="rys-"))
    folder.chmod(0o755)
    user = User(f"rys{secrets.token_hex(4)}", folder)
    yield user
    user.remove()
    processes.remove(folder)


@pytest.fixture
def user(account: User) -> Iterator[User]:
    yield account
    account.reset()


@pytest.fixture(autouse=True)
def control(monkeypatch: pytest.MonkeyPatch, no_descriptor_left: None) -> Iterator[Path]:
    """A control directory of the test's own; no connection outlives the test."""
    folder = Path(tempfile.mkdtemp(prefix="ryc-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder / "runyard"
    assert not ssh_servers.end_connections(folder), "a connection was left open"


@pytest.fixture
def start(user: User, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start an sshd with more lines of configuration."""
    servers: list[Server] = []

    def begin(*lines: str) -> Server:
        servers.append(Server(user, tmp_path / f"sshd{len(servers)}", *lines))
        return servers[-1]

    yield begin
    for server in servers:
        server.stop()


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    return start()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """A proxy before the server, known under the server's key."""
    between = Proxy(server.port)
    server.know(between.port)
    yield between
    between.close()


@pytest.fixture(autouse=True)
def no_descriptor_left() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= before + 1
