"""The objects that users make: fields, names, records, and this machine as a target."""

from __future__ import annotations

import copy
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runyard.errors import AuthError, ConfigError, HostKeyError, TunnelError
from runyard.tunnels import CommandFailed, LocalTunnel, SSHTunnel, Tunnel, archive
from runyard.tunnels.destination import Destination, Facts
from runyard.tunnels.failures import Unreachable, explain
from runyard.tunnels.master import control_dir


def test_importing_costs_nothing() -> None:
    code = (
        "import sys; import runyard.tunnels; from runyard.tunnels import SSHTunnel, LocalTunnel; t = SSHTunnel('h');"
        "LocalTunnel(); t.name; t.to_dict(); t.shell();"
        "print(*({'tarfile', 'hashlib', 'asyncio', 'rich', 'yaml'} & set(sys.modules) - {'hashlib'}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_records() -> None:
    tunnel = SSHTunnel("login1", "alice", "/jobs", 2222, "~/.ssh/id", "bash -l", "module load slurm")
    data = tunnel.to_dict()
    assert data == {
        "kind": "ssh",
        "host": "login1",
        "user": "alice",
        "job_dir": "/jobs",
        "port": 2222,
        "identity": "~/.ssh/id",
        "shell": "bash -l",
        "pre_command": "module load slurm",
    }
    assert Tunnel.from_dict(data) == SSHTunnel.from_dict(data) == copy.deepcopy(tunnel) == tunnel
    assert dataclasses.replace(tunnel, job_dir="/other").shell_command == "bash -l"
    assert Tunnel.from_dict({"kind": "local"}) == LocalTunnel()
    assert LocalTunnel("/x").to_dict() == {"kind": "local", "job_dir": "/x"}
    with pytest.raises(ConfigError, match="no tunnel of kind 'telnet'"):
        Tunnel.from_dict({"kind": "telnet"})
    with pytest.raises(ConfigError, match="no tunnel of kind 'local'"):
        SSHTunnel.from_dict({"kind": "local"})
    with pytest.raises(ConfigError, match="SSHTunnel has no argument hots"):
        Tunnel.from_dict({"kind": "ssh", "hots": "x"})


def test_names_and_roots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path))
    assert [t.name for t in (LocalTunnel(), SSHTunnel("h"), SSHTunnel("h", "u", port=22))] == ["local", "h", "u@h:22"]
    assert LocalTunnel().root == str(tmp_path)
    assert (SSHTunnel("h").root, SSHTunnel("h", job_dir="/j").root) == ("~/.runyard", "/j")
    # Each job has a working directory of its own, so a relative path would mean another place in each.
    assert [SSHTunnel("h", job_dir=path).root for path in ("runs", "./a/b", "~/c")] == ["~/runs", "~/a/b", "~/c"]


def test_one_shell_for_equal_tunnels() -> None:
    one = SSHTunnel("h", "u", job_dir="/a").shell()
    assert one is SSHTunnel("h", user="u", job_dir="/b").shell()
    assert one is not SSHTunnel("h", "u", pre_command=":").shell()
    assert one is not SSHTunnel("h", "v").shell()
    assert LocalTunnel("/a").shell() is LocalTunnel().shell()


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("", {}),
        ("-oProxyCommand=touch /tmp/x", {}),
        ("a b", {}),
        ("a\nb", {}),
        ("h", {"user": "-x"}),
        ("h", {"user": ""}),
        ("h", {"port": 0}),
        ("h", {"port": "22; x"}),
    ],
)
def test_hosts_that_are_none(host: str, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        SSHTunnel(host, **options).shell()  # type: ignore[arg-type]


def test_what_ssh_is_told() -> None:
    to = Destination("h", "u", 2222, "/k/100% it's", "/c")
    assert to.words == [
        *("-F", "/c", "-l", "u", "-p", "2222"),
        *("-o", 'IdentityFile="/k/100%% it\'s"', "-o", "IdentitiesOnly=yes"),
    ]
    assert to.typed == "ssh -F /c -i '/k/100% it'\"'\"'s' -p 2222 u@h"
    assert Destination("h").words == []


def test_the_users_own_settings_hold() -> None:
    silent = Facts({"stricthostkeychecking": "ask", "connecttimeout": "none", "serveraliveinterval": "0"}, "k")
    assert "StrictHostKeyChecking=yes" in silent.policy()
    assert "ServerAliveInterval=15" in silent.policy()
    assert (
        Facts({"stricthostkeychecking": "false", "connecttimeout": "3", "serveraliveinterval": "60"}, "k").policy()
        == []
    )
    assert Facts({"controlpath": "none"}, "k").control_path == ""
    assert Facts({"controlpath": "/run/x"}, "k").control_path == "/run/x"
    assert Facts({"hostname": "h", "port": "22"}, "k").scan == "ssh-keyscan h"


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("ssh: Could not resolve hostname x: Name or service not known", Unreachable, "spelling"),
        ("ssh: connect to host h port 22: Connection refused", Unreachable, "nothing listens"),
        ("ssh: connect to host h port 22: Connection timed out", Unreachable, "does not answer"),
        ("ssh: connect to host h port 22: No route to host", Unreachable, "VPN"),
        ("Unable to negotiate with 1.2.3.4 port 22: no matching host key type found.", Unreachable, "share no method"),
        ("kex_exchange_identification: read: Connection reset by peer", Unreachable, "before the login"),
        ("something nobody has ever seen", Unreachable, "nobody has ever seen"),
        ("", Unreachable, "cannot be reached"),
        ("u@h: Permission denied (publickey,keyboard-interactive).", AuthError, "in a terminal"),
        ("Received disconnect from h: Too many authentication failures", AuthError, "refused the login"),
        ("No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed.",
         HostKeyError, "ssh-keyscan h"),
        ("@ REMOTE HOST IDENTIFICATION HAS CHANGED! @\nOffending RSA key in /k:3\nHost key verification failed.",
         HostKeyError, r"line /k:3"),
    ],
)  # fmt: skip
def test_what_ssh_says_is_explained(said: str, kind: type[TunnelError], words: str) -> None:
    error = explain(said, name="u@h", typed="ssh u@h", scan="ssh-keyscan h")
    assert type(error) is kind
    assert words in str(error)
    assert str(error).startswith("u@h: ")
    assert "ssh u@h" in error.hint


def test_control_sockets_lie_where_only_the_user_can_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    try:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        folder = control_dir()
        assert folder == runtime / "runyard"
        assert folder.stat().st_mode & 0o777 == 0o700
        folder.chmod(0o770)
        with pytest.raises(TunnelError, match="only you can use"):
            control_dir()
        folder.rmdir()
        folder.symlink_to(tmp_path)
        with pytest.raises(TunnelError, match="only you can use"):
            control_dir()
        folder.unlink()
    finally:
        runtime.rmdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"/run/{'long' * 30}")
    assert len(str(control_dir())) < 40


def test_run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tunnel = LocalTunnel()
    (tmp_path / "it's here").mkdir()
    monkeypatch.chdir(tmp_path / "it's here")
    assert tunnel.run("pwd; [[ -n $BASH_VERSION ]]").stdout == f"{tmp_path}/it's here\n"
    opened = tunnel.shell().opened
    monkeypatch.setenv("RY_NEW", "a b")
    assert tunnel.run('echo "$RY_NEW"').stdout == "a b\n"
    assert tunnel.shell().opened == opened + 1, "a new environment needs a new shell"
    with pytest.raises(CommandFailed, match="ended with exit code 3\nwhy"):
        tunnel.run("echo why >&2; exit 3")
    assert not tunnel.run("exit 3", warn=True).ok
    tunnel.run("echo shown", hide=False)
    assert capsys.readouterr().out == "shown\n"
    tunnel.connect()
    tunnel.cleanup()
    assert tunnel.expand("~/x") == os.path.expanduser("~/x")
    assert tunnel.expand("x") == f"{tmp_path}/it's here/x"


def test_put_and_get_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tunnel = LocalTunnel()
    monkeypatch.chdir(tmp_path)
    Path("one").write_bytes(b"\0" * 1000)
    tunnel.put("one", "two/three")
    tunnel.get("two/three", "four")
    assert Path("four").read_bytes() == Path("two/three").read_bytes() == Path("one").read_bytes()
    tunnel.put("two", "five")
    tunnel.get("five", "six")
    assert Path("six/three").is_file()
    seen: list[tuple[int, int]] = []
    Path("empty").touch()
    tunnel.put("empty", "e", lambda *n: seen.append(n))
    tunnel.get("e", "f", lambda *n: seen.append(n))
    assert seen == [(0, 0), (0, 0)]
    with pytest.raises(TunnelError, match="NUL"):
        tunnel.put("one", "a\0b")


def test_an_archive_that_means_harm(tmp_path: Path) -> None:
    import io
    import tarfile

    def made(*members: tuple[str, str, str]) -> list[bytes]:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as tar:
            for name, kind, link in members:
                info = tarfile.TarInfo(name)
                info.type = {
                    "l": tarfile.SYMTYPE,
                    "h": tarfile.LNKTYPE,
                    "d": tarfile.DIRTYPE,
                    "c": tarfile.CHRTYPE,
                }.get(kind, tarfile.REGTYPE)
                info.linkname = link
                info.mode = 0o6777
                tar.addfile(info)
        return [raw.getvalue()]

    for number, members in enumerate(
        [
            [("../out", "f", "")],
            [("/tmp/out", "f", "")],
            [("x", "l", str(tmp_path)), ("x/out", "f", "")],
            [("x", "h", "../out")],
        ]
    ):
        with pytest.raises((TunnelError, OSError)):
            archive.unpack(iter(made(*members)), tmp_path / f"harm{number}")
        assert not (tmp_path / "out").exists()
    (tmp_path / "out").write_text("mine")
    archive.unpack(iter(made(("d", "d", ""), ("d/f", "f", ""), ("d/c", "c", ""), ("d/l", "l", "/x"))), tmp_path / "ok")
    assert sorted(p.name for p in (tmp_path / "ok/d").iterdir()) == ["f", "l"]
    assert (tmp_path / "ok/d/f").stat().st_mode & 0o7777 == 0o777
    with pytest.raises(TunnelError, match="damaged"):
        archive.unpack(iter([b"no tar at all" * 100]), tmp_path / "damaged")
