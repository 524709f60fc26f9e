"""Every way not to get in, or to get lost, ends with an error that says what happened. Nothing hangs."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from processes import free_ports, until
from runyard.errors import AuthError, HostKeyError, TunnelError
from runyard.tunnels import Interrupted, SSHTunnel, TimedOut, connection, shells
from ssh_servers import Proxy, Server, User, command_of, descendants, parent_of, running


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test takes long."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 50


def test_an_unknown_host_key(server: Server) -> None:
    server.known_hosts.write_text("")
    with pytest.raises(HostKeyError, match="not known here") as caught:
        server.tunnel().connect()
    assert f"ssh-keyscan -p {server.port} 127.0.0.1" in caught.value.hint
    assert "connect once by hand" in caught.value.hint
    assert server.logins == 0
    assert server.known_hosts.read_text() == ""
    server.tunnel("StrictHostKeyChecking accept-new").connect()
    assert server.known_hosts.read_text(), "the user's own policy holds"


def test_a_changed_host_key(server: Server) -> None:
    for name in ("hostkey", "hostkey.pub"):
        (server.folder / name).unlink()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(server.host_key)], check=True)
    server.stop()
    server.start()
    with pytest.raises(HostKeyError, match=r"has changed \(line .*known_hosts:1\)") as caught:
        server.tunnel().connect()
    assert "ssh-keygen -R" in caught.value.hint


def test_a_wrong_key(server: Server, tmp_path: Path) -> None:
    key = tmp_path / "it's 100% another key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    config = server.folder / "bare"
    config.write_text(f"Host *\n  UserKnownHostsFile {server.known_hosts}\n")
    wrong = SSHTunnel("127.0.0.1", server.user.name, port=server.port, identity=str(key), config=str(config))
    with pytest.raises(AuthError, match=r"refused the login\n.*Permission denied"):
        wrong.connect()
    server.user.write(".ssh/authorized_keys", key.with_name(key.name + ".pub").read_text(), mode=0o600)
    assert wrong.name == f"{server.user.name}@127.0.0.1:{server.port}"
    wrong.connect()
    wrong.cleanup()
    key.chmod(0o644)
    with pytest.raises(AuthError, match="can be read by others"):
        wrong.connect()
    with pytest.raises(AuthError, match="there is no private key /no/such"):
        server.tunnel(identity="/no/such").connect()


def test_a_key_that_asks_for_its_passphrase(server: Server, tmp_path: Path) -> None:
    key = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key)], check=True)
    server.user.write(".ssh/authorized_keys", key.with_name("locked.pub").read_text(), mode=0o600)
    config = server.folder / "bare"
    config.write_text(f"Host *\n  UserKnownHostsFile {server.known_hosts}\n")
    tunnel = SSHTunnel("127.0.0.1", server.user.name, port=server.port, identity=str(key), config=str(config))
    with pytest.raises(AuthError, match="refused the login") as caught:
        tunnel.connect()
    assert "ssh-add" in caught.value.hint


def test_a_wrong_user(server: Server) -> None:
    with pytest.raises(AuthError, match="nobody@login: refused the login"):
        server.tunnel(user="nobody").connect()


def test_nobody_listens(server: Server) -> None:
    with pytest.raises(TunnelError, match=r"cannot be reached\n.*Connection refused") as caught:
        server.tunnel(port=free_ports(1)[0]).connect()
    assert "nothing listens there" in caught.value.hint


def test_a_name_that_does_not_exist(server: Server) -> None:
    with pytest.raises(TunnelError, match=r"cannot be reached\n.*resolve") as caught:
        SSHTunnel("no-such-host.invalid", config=str(server.config())).connect()
    assert "spelling" in caught.value.hint


def test_something_that_listens_and_says_nothing(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TunnelError, match="timed out"):
        server.tunnel("ConnectTimeout 1", port=silent.getsockname()[1]).connect()


def test_a_configuration_with_an_error(server: Server) -> None:
    with pytest.raises(TunnelError, match=r"cannot read its configuration\n.*nosuchoption"):
        server.tunnel("NoSuchOption yes").connect()
    with pytest.raises(TunnelError, match="there is no file"):
        SSHTunnel("login", config="/no/such").connect()


def test_no_ssh_here(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    tunnel = server.tunnel()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        with pytest.raises(TunnelError, match="no `ssh` program"):
            tunnel.connect()


def test_startup_files_that_wait_for_ever(
    server: Server, user: User, control: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.write(".bashrc", "echo 'password for the vault:' >&2; sleep 1000\n")
    monkeypatch.setattr(connection, "GREETING_LIMIT", 5.0)
    with pytest.raises(TunnelError, match=r"did not answer within 5 s\npassword for the vault") as caught:
        server.tunnel().connect()
    assert "startup files" in caught.value.hint


def test_a_full_login_node_is_asked_again(start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    server = start("MaxStartups 1:100:1")
    until(lambda: server.count("Connection from "), "the one that tried the port is seen")
    until(lambda: not server.connections(), "the one that tried the port is gone")
    with socket.create_connection(("127.0.0.1", server.port)) as busy:
        assert busy.recv(4) == b"SSH-"
        waits: list[float] = []
        shell = server.tunnel().shell()

        def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                busy.close()
                until(lambda: not server.connections(), "the other login is gone")

        shell._sleep = wait
        assert shell(b"echo in").stdout == "in\n"
    assert len(waits) >= 2


def test_lost_while_idle_is_found_before_anything_is_sent(server: Server, proxy: Proxy) -> None:
    tunnel = server.tunnel(port=proxy.port)
    assert tunnel.run("echo one").ok
    for _ in range(3):
        proxy.cut()
        session = tunnel.shell().session
        assert session is not None
        until(lambda s=session: not s.alive(), "the loss is noticed")  # type: ignore[misc]
        assert tunnel.run("echo two").stdout == "two\n"
    assert (server.logins, tunnel.shell().opened) == (4, 4)


@pytest.mark.parametrize("how", ["cut", "half_close"])
def test_lost_while_a_script_runs(server: Server, proxy: Proxy, user: User, how: str) -> None:
    tunnel = server.tunnel(port=proxy.port)
    shell = tunnel.shell()
    effects = user.write("effects", "")
    script = b"echo x >>effects; echo begun; until [ -e go ]; do sleep 0.05; done; cat effects"

    def lose(_: bytes) -> None:
        getattr(proxy, how)()

    with pytest.raises(Interrupted, match="the connection was lost while a script ran") as caught:
        shell.raw(script, sink=lose)
    assert caught.value.ambiguous
    assert effects.read_text() == "x\n", "nothing was sent again"
    user.write("go", "")
    assert shell(b"cat effects").stdout == "x\n"


def test_what_changes_nothing_is_sent_again(server: Server, proxy: Proxy, user: User) -> None:
    shell = server.tunnel(port=proxy.port).shell()
    shell(b":")
    asked = user.write("asked", "")
    proxy.cut_after = 1000
    proxy.cut()
    until(lambda: not shell.session.alive(), "the loss is noticed")  # type: ignore[union-attr]
    # The login alone is more than that: it is cut, then the next one goes through.
    shell._sleep = lambda _: None
    assert shell(b"echo again >>asked; echo done", repeat=True).stdout == "done\n"
    assert asked.read_text() == "again\n"

    def lines() -> Iterator[bytes]:
        yield b"some"
        proxy.cut()
        yield b"more"

    with pytest.raises(Interrupted):
        shell(b"cat", lines(), repeat=True)
    assert shell(b"cat", [b"a", b"b"], repeat=True).stdout == "ab"


def test_a_machine_that_is_gone_is_not_waited_for_for_ever(server: Server, proxy: Proxy) -> None:
    shell = server.tunnel(port=proxy.port).shell()
    shell(b":")
    server.stop()
    waits: list[float] = []
    shell._sleep = waits.append
    until(lambda: not shell.session.alive(), "the loss is noticed")  # type: ignore[union-attr]
    with pytest.raises(TunnelError):
        shell(b"echo x", repeat=True)
    assert tuple(waits) == shells.BACKOFF
    server.start()
    assert shell(b"echo back").stdout == "back\n"


@pytest.mark.parametrize("repeat", [True, False])
def test_a_frozen_server_is_a_timeout(server: Server, monkeypatch: pytest.MonkeyPatch, repeat: bool) -> None:
    shell = server.tunnel().shell()
    shell(b":")
    monkeypatch.setattr("runyard.tunnels.session._GRACE", 0.2)
    monkeypatch.setattr(connection, "GREETING_LIMIT", 4.0)  # for the frozen one, and for the one that takes its place
    frozen = server.connections()
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(TimedOut, match=r"within 0\.3 s"):
            shell(b"echo x", timeout=0.3, repeat=repeat)
        assert shell(b"echo back").stdout == "back\n", "the next one gets a new connection"
        assert server.logins == 2
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


def test_an_idle_connection_is_tried_before_something_is_changed(
    server: Server, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = server.tunnel().shell()
    shell(b":")
    monkeypatch.setattr(shells, "IDLE", 0.0)
    monkeypatch.setattr(shells, "PING", 0.3)
    monkeypatch.setattr(connection, "GREETING_LIMIT", 4.0)  # for the frozen one, and for the one that takes its place
    frozen = server.connections()
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert shell(b"echo x >>effects; cat effects").stdout == "x\n"
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert shell(b"cat effects").stdout == "x\n"


def test_a_read_that_takes_too_long_ends_there_too(server: Server, user: User) -> None:
    shell = server.tunnel().shell()
    shell(b":")
    begun = time.monotonic()
    with pytest.raises(TimedOut, match=r"within 0.3 s, and was ended there") as caught:
        shell(b"sleep 1234 & sleep 1234", repeat=True, timeout=0.3)
    assert time.monotonic() - begun < 8, "this side gives up after 8 s"
    assert not caught.value.ambiguous
    until(lambda: not sleeping(user, "1234"), "the remote side ends")
    assert shell(b"exit 124", repeat=True, timeout=60).code == 124
    assert server.sessions == 1


def test_a_change_that_takes_too_long_goes_on_there(start: Callable[..., Server], user: User) -> None:
    server = start("MaxSessions 1")
    shell = server.tunnel().shell()
    shell(b":")
    with pytest.raises(TimedOut, match=r"within 3 s\n") as caught:
        shell(b"echo begun >begun; sleep 2345; echo x >done", timeout=3)
    assert caught.value.ambiguous
    until(lambda: (user.home / "begun").exists(), "the script has begun")
    until(lambda: sleeping(user, "2345"), "it goes on")
    assert shell(b"echo next").stdout == "next\n", "though its session is still counted there"
    assert server.logins == 2


def sleeping(user: User, word: str) -> bool:
    return any(word in command_of(p) for p in user.processes() if running(p))


def test_ctrl_c(server: Server, tmp_path: Path) -> None:
    """Ctrl-C goes to the whole foreground group. It ends the wait at once, and harms nothing."""
    code = """
import signal, sys
from runyard.tunnels import SSHTunnel
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background has it ignored
shell = SSHTunnel("login", config=sys.argv[1]).shell()
shell(b":")
print("up", flush=True)
try:
    shell(b"sleep 3456")
except KeyboardInterrupt:
    print(shell(b"echo fine").stdout, shell.opened)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(server.config())], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        until(lambda: sleeping(server.user, "3456"), "the script runs")
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=40)[0] == "fine\n 2\n"
        assert server.logins == 1
    finally:
        process.kill()
        process.communicate()


def test_an_unfinished_stream_gives_the_session_up(server: Server) -> None:
    shell = server.tunnel().shell()

    def use() -> None:
        with shell.stream(b"yes") as stream:
            for _ in stream:
                raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        use()

    def stop() -> Iterator[bytes]:
        yield b"x"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        shell(b"cat", stop())
    assert shell(b"echo fine").stdout == "fine\n"
    assert (shell.opened, server.logins) == (3, 1)
    assert not [p for p in descendants(os.getpid()) if parent_of(p) == os.getpid() and not running(p)], "no zombie"


def test_a_person_is_asked_once(start: Callable[..., Server], user: User, control: Path) -> None:
    """The terminal shows ssh's question; further commands, of other processes as well, ask nothing."""
    server = start("PasswordAuthentication yes", "PubkeyAuthentication no", "Banner /etc/debian_version")
    subprocess.run(["chpasswd", "-c", "SHA512"], input=f"{user.name}:s3cret\n", text=True, check=True)
    tunnel = server.tunnel("PreferredAuthentications password")
    with pytest.raises(AuthError, match="refused the login") as caught:
        tunnel.connect()
    assert "run this in a terminal" in caught.value.hint
    code = f"""
from runyard.tunnels import SSHTunnel
tunnel = SSHTunnel("login", config={tunnel.config!r})
for word in ("one", "two"):
    print("<", tunnel.run("echo " + word).stdout.strip(), ">", flush=True)
"""
    said = at_a_terminal([sys.executable, "-c", code], {"password:": "s3cret"})
    assert said.lower().count("password:") == 1
    assert "< one >" in said
    assert "< two >" in said
    assert Path("/etc/debian_version").read_text().strip() in said, "what the server says is shown"
    assert tunnel.run("echo three").stdout == "three\n", "here, where nobody could answer"
    assert server.logins == 1


def at_a_terminal(command: list[str], answers: dict[str, str], seconds: float = 40.0) -> str:
    """Run a command as if typed at a terminal, answer its questions, and return what the terminal showed."""
    ours, theirs = pty.openpty()
    setsid = shutil.which("setsid") or "setsid"
    process = subprocess.Popen([setsid, "--ctty", "--wait", *command], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = ""
    left = dict(answers)
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            try:
                data = os.read(ours, 4096)
                if not data:
                    break
                shown += data.decode()
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break  # the last process with the terminal ended
            for question in [q for q in left if q in shown.lower()]:
                os.write(ours, left.pop(question).encode() + b"\n")
        assert time.monotonic() < deadline, shown
    finally:
        os.close(ours)
        process.kill()
        process.wait()
    return shown
