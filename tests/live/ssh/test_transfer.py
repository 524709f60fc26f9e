"""Files, folders and snapshots through the one session."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest

from processes import until
from runyard.errors import TunnelError
from runyard.snapshots.push import Pusher
from runyard.tunnels import transfer
from ssh_servers import Proxy, Server, User


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    path.write_bytes(os.urandom(50 << 20))
    return path


def leftovers(*folders: Path) -> list[str]:
    return [str(p) for folder in folders for p in folder.rglob(".ry-*")]


def test_fifty_megabytes_there_and_back(server: Server, user: User, big: Path, tmp_path: Path) -> None:
    tunnel = server.tunnel()
    seen: list[tuple[int, int]] = []
    tunnel.put(big, "deep/er/big", lambda done, total: seen.append((done, total)))
    assert digest(user.home / "deep/er/big") == digest(big)
    assert seen[-1] == (50 << 20, 50 << 20)
    assert seen == sorted(seen)
    back: list[tuple[int, int]] = []
    tunnel.get("deep/er/big", tmp_path / "new/back", lambda done, total: back.append((done, total)))
    assert digest(tmp_path / "new/back") == digest(big)
    assert back[-1] == (50 << 20, 50 << 20)
    assert (server.sessions, leftovers(user.home, tmp_path)) == (1, [])


def test_modes_names_and_places(server: Server, user: User, tmp_path: Path) -> None:
    tunnel = server.tunnel()
    name = "-it's \n a$(file)`\\ \"ü"
    file = tmp_path / name
    file.write_text("x")
    file.chmod(0o750)
    tunnel.put(file, "~/there/")
    assert (user.home / "there" / name).stat().st_mode & 0o777 == 0o750
    tunnel.put(file, "~")
    assert (user.home / name).read_text() == "x"
    tunnel.put(file, "-dash")
    assert (user.home / "-dash").read_text() == "x"
    (tmp_path / "empty").touch()
    tunnel.put(tmp_path / "empty", f"there/{name}")
    assert (user.home / "there" / name).read_text() == ""
    tunnel.get(f"~/there/{name}", tmp_path / "back")
    assert (tmp_path / "back").read_text() == ""
    tunnel.get(name, f"{tmp_path}/into/")
    assert (tmp_path / "into" / name).stat().st_mode & 0o777 == 0o750
    raw = os.fsdecode(b"latin \xe9")
    (tmp_path / raw).write_text("y")
    tunnel.put(tmp_path / raw, raw)
    tunnel.get(raw, tmp_path / "latin")
    assert (tmp_path / "latin").read_text() == "y"
    assert tunnel.expand("~/there") == f"{user.home}/there"
    assert tunnel.expand("a/../b") == f"{user.home}/b"


def test_folders(server: Server, user: User, tmp_path: Path) -> None:
    tunnel = server.tunnel()
    tree = tmp_path / "tree"
    (tree / "sub" / "empty").mkdir(parents=True)
    (tree / "sub" / "it's \n one").write_text("1")
    (tree / ("long" * 60)).write_text("2")
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    (tree / "link").symlink_to("/somewhere/else")
    (tree / "hidden" / ".x").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as s:
        os.chdir(tree)
        s.bind("socket")
    tunnel.put(tree, "copy")
    os.unlink(tree / "socket")
    assert same(tree, user.home / "copy")
    (tree / "run").write_text("changed")
    (user.home / "copy" / "theirs").write_text("kept")
    tunnel.put(tree, "copy/")
    assert (user.home / "copy" / "theirs").read_text() == "kept"
    assert (user.home / "copy" / "run").read_text() == "changed"
    (user.home / "copy" / "theirs").unlink()
    assert same(tree, user.home / "copy")
    tunnel.put(tree, "~")
    assert (user.home / "sub" / "it's \n one").read_text() == "1"

    tunnel.get("copy", tmp_path / "back")
    assert same(tree, tmp_path / "back")
    (tmp_path / "back" / "mine").write_text("kept")
    (tmp_path / "back" / "run").unlink()
    tunnel.get("copy/", tmp_path / "back")
    assert (tmp_path / "back" / "mine").read_text() == "kept"
    assert (tmp_path / "back" / "run").read_text() == "changed"
    assert leftovers(user.home, tmp_path) == []
    assert server.sessions == 1


def same(one: Path, other: Path) -> bool:
    def facts(root: Path) -> dict[str, object]:
        out: dict[str, object] = {}
        for path in sorted(root.rglob("*")):
            kind = os.readlink(path) if path.is_symlink() else path.is_dir() or path.read_bytes()
            out[str(path.relative_to(root))] = (kind, path.lstat().st_mode & 0o100)
        return out

    assert facts(one) == facts(other)
    return True


def test_what_cannot_be_done_says_why(server: Server, user: User, tmp_path: Path) -> None:
    tunnel = server.tunnel()
    (tmp_path / "f").write_text("x")
    (tmp_path / "d").mkdir()
    user.write("there/f/inner", "")
    with pytest.raises(TunnelError, match=r"login:/etc/x: cannot be written\n.*Permission denied"):
        tunnel.put(tmp_path / "f", "/etc/x")
    with pytest.raises(TunnelError, match=r"login:/etc/x: cannot be written\n.*Permission denied"):
        tunnel.put(tmp_path / "d", "/etc/x")
    with pytest.raises(TunnelError, match=r"/dev/full(?s:.*)"):
        tunnel.put(tmp_path / "f", "/dev/full/x")
    with pytest.raises(TunnelError, match="is a folder there"):
        tunnel.put(tmp_path / "f", "there")
    with pytest.raises(TunnelError, match="nothing: cannot be read"):
        tunnel.put(tmp_path / "nothing", "x")
    with pytest.raises(TunnelError, match="login:nothing: is not there"):
        tunnel.get("nothing", tmp_path / "x")
    with pytest.raises(TunnelError, match="you may not read it"):
        tunnel.get("/etc/shadow", tmp_path / "x")
    with pytest.raises(TunnelError, match="cannot be written"):
        tunnel.get("/etc/passwd", "/proc/nowhere/x")
    assert leftovers(user.home, tmp_path) == []
    assert server.sessions == 1


def test_a_file_that_changes_meanwhile(server: Server, user: User, tmp_path: Path) -> None:
    tunnel = server.tunnel()
    path = tmp_path / "growing"
    path.write_bytes(b"x" * (1 << 20))

    def grow(done: int, total: int) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    path.write_bytes(b"y" * (1 << 20))
    tunnel.put(path, "x")
    with pytest.raises(TunnelError, match="growing: changed while it was read"):
        tunnel.put(path, "x", grow)
    assert set((user.home / "x").read_bytes()) == {ord("y")}
    until(lambda: not leftovers(user.home, tmp_path), "what came of it is removed")


def test_a_lost_connection_is_gone_on_with(server: Server, user: User, proxy: Proxy, big: Path, tmp_path: Path) -> None:
    tunnel = server.tunnel(port=proxy.port)
    tunnel.shell()._sleep = lambda _: None
    proxy.cut_after = 20 << 20
    tunnel.put(big, "big")
    assert digest(user.home / "big") == digest(big)
    assert proxy.connections == 2
    tunnel.cleanup()

    proxy.back = True
    proxy.cut_after = 20 << 20
    received: list[int] = []
    tunnel.get("big", tmp_path / "back", lambda done, _: received.append(done))
    assert digest(tmp_path / "back") == digest(big)
    assert proxy.connections == 4
    assert received == sorted(received), "it went on where it stopped"
    assert leftovers(tmp_path) == []


def test_a_slow_connection(server: Server, proxy: Proxy, user: User, tmp_path: Path) -> None:
    proxy.delay = 0.02
    tunnel = server.tunnel(port=proxy.port)
    (tmp_path / "f").write_bytes(b"x" * 300_000)
    tunnel.put(tmp_path / "f", "f")
    tunnel.get("f", tmp_path / "g")
    assert (tmp_path / "g").read_bytes() == (tmp_path / "f").read_bytes()


def test_a_snapshot_goes_over_once(server: Server, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runyard.packagers.pattern import PatternPackager

    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    tree = tmp_path / "code"
    (tree / "pkg").mkdir(parents=True)
    for i in range(300):
        (tree / "pkg" / f"m{i}.py").write_bytes(os.urandom(3000))
    shell = server.tunnel().shell()

    def launch(dest: str) -> tuple[int, int]:
        snapshot = PatternPackager(include_pattern="**/*", relative_path=str(tree)).snapshot()
        pushed = Pusher(snapshot, shell, "~/runs", host="login").push(dest)
        return pushed.sent_files, pushed.wire_bytes

    files, wire = launch("one/code")
    assert files == 300
    assert wire > 900_000
    assert same(tree, user.home / "runs/one/code")
    files, wire = launch("two/code")
    assert files == 0
    assert wire < 3000
    assert same(tree, user.home / "runs/two/code")
    (tree / "pkg" / "m7.py").write_text("changed\n")
    files, wire = launch("three/code")
    assert files == 1
    assert wire < 60_000
    assert same(tree, user.home / "runs/three/code")
    assert (server.logins, server.sessions) == (1, 1)


def test_paths_are_quoted() -> None:
    assert transfer.quote("~/a b") == "\"$HOME\"/'a b'"
    assert transfer.quote("~other/x") == "'~other/x'"
    assert transfer.quote("-rf") == "./-rf"
