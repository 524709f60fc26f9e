"""One connection and one session, whatever the login shell is and says."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processes import until
from runyard.errors import TunnelError
from runyard.tunnels import CommandFailed
from ssh_servers import Server, User, command_of, running


def test_a_script_answers(server: Server, user: User) -> None:
    shell = server.tunnel().shell()
    assert shell(b'echo out; echo err >&2; pwd; printf "no newline"; exit 3') == (
        3,
        f"out\n{user.home}\nno newline",
        "err\n",
    )
    assert shell(b"cd /; umask 0; set -u; exit 0").code == 0
    assert shell(b"pwd; echo ${not_set-unset}").stdout == f"{user.home}\nunset\n"
    assert shell(b"cat; echo $#; echo end").stdout == "0\nend\n", "standard input is empty"
    assert shell(b"kill -9 $(sh -c 'echo $PPID')").code == 137
    assert shell(b"if").code, "an error of syntax ends this script alone"
    assert (server.logins, server.sessions) == (1, 1)


def test_a_thousand_commands_are_one_session(server: Server) -> None:
    threads = threading.active_count()
    shell = server.tunnel().shell()
    shell(b":")
    descriptors = len(os.listdir("/proc/self/fd"))
    for i in range(1000):
        assert shell(b"echo %d" % i).stdout == f"{i}\n"
    assert (server.logins, server.sessions) == (1, 1)
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_threads_and_equal_tunnels_share_the_session(server: Server) -> None:
    tunnel = server.tunnel()
    other = type(tunnel).from_dict(tunnel.to_dict() | {"job_dir": "/elsewhere"})
    seen: list[str] = []

    def work(n: int) -> None:
        for i in range(20):
            seen.append((tunnel if n % 2 else other).shell()(b"sleep 0.002; echo %d" % (100 * n + i)).stdout)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(map(int, seen)) == [100 * n + i for n in range(4) for i in range(20)]
    assert (server.logins, server.sessions) == (1, 1)


@pytest.mark.parametrize("name", ["dash", "bash", "zsh", "fish", "tcsh", "busybox"])
def test_any_login_shell(server: Server, user: User, name: str) -> None:
    path = shutil.which(name)
    if path is None:
        if name in ("dash", "bash"):
            pytest.fail(f"there is no {name}")
        return  # a further one, tried where there is one
    if name == "busybox":  # an account's shell is one word
        path = str(user.folder / "ash")
        Path(path).unlink(missing_ok=True)
        os.symlink(str(shutil.which(name)), path)
    subprocess.run(["usermod", "-s", path, user.name], check=True)
    tunnel = server.tunnel(pre_command="WORD='a b'; export WORD")
    assert tunnel.shell()(b'echo "$WORD"').stdout == "a b\n"
    assert tunnel.shell().raw(b"cat", [b"\0\xff" * 100_000]).stdout == b"\0\xff" * 100_000
    assert tunnel.run('echo "$WORD"; [[ -n $BASH_VERSION ]]').stdout == "a b\n"


def test_noise_of_startup_files_is_dropped(server: Server, user: User) -> None:
    noise = "for i in $(seq 2000); do echo 'Welcome! $(date)'; echo 'ry.b quota' >&2; done\necho 'no newline\\c'\n"
    user.write(".bashrc", noise)
    tunnel = server.tunnel()
    assert tunnel.shell()(b"echo out; echo err >&2") == (0, "out\n", "err\n")
    assert tunnel.shell()(b"bash -c 'echo in bash'") == (0, "in bash\n", "")
    assert tunnel.run("echo again").stdout == "again\n"
    assert "Welcome" in tunnel.shell().session.noise.decode()  # type: ignore[union-attr]


def test_what_a_background_program_prints_is_not_the_next_answer(server: Server, user: User) -> None:
    shell = server.tunnel().shell()
    shell(b"(until [ -e go ]; do sleep 0.05; done; echo late; echo late >&2; : >said) &")
    assert shell(b":").stdout == ""
    user.write("go", "")  # while no script runs, in whose answer it would belong
    until(lambda: (user.home / "said").exists(), "the program has spoken")
    assert shell(b"echo now") == (0, "now\n", "")


def test_one_session_is_enough(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start("MaxSessions 1")
    tunnel = server.tunnel()
    (tmp_path / "f").write_bytes(os.urandom(1 << 20))
    tunnel.put(tmp_path / "f", "f")
    tunnel.get("f", tmp_path / "g")
    assert (tmp_path / "f").read_bytes() == (tmp_path / "g").read_bytes()
    assert tunnel.run("echo x").ok
    assert tunnel.expand("~/x").endswith("/x")
    assert (server.logins, server.sessions) == (1, 1)


def test_a_second_process_logs_in_again_only_where_it_must(start: Callable[..., Server]) -> None:
    for limit, logins in ((10, 1), (1, 2)):
        server = start(f"MaxSessions {limit}")
        tunnel = server.tunnel()
        tunnel.connect()
        assert elsewhere(tunnel.config, "print(tunnel.run('echo other').stdout)") == "other\n\n"
        assert tunnel.run("echo first").stdout == "first\n"
        assert (server.logins, server.sessions) == (logins, 2)


def test_the_next_process_finds_the_connection_open(server: Server) -> None:
    tunnel = server.tunnel()
    for _ in range(3):
        assert elsewhere(tunnel.config, "print(tunnel.run('echo hello').stdout)") == "hello\n\n"
    assert (server.logins, server.sessions) == (1, 3)
    tunnel.connect()
    elsewhere(tunnel.config, "tunnel.connect(); tunnel.cleanup()")
    assert tunnel.shell().session.alive()  # type: ignore[union-attr]
    assert server.logins == 1, "a connection that others use stays"
    tunnel.cleanup()
    until(lambda: not server.connections(), "the connection is closed")


def elsewhere(config: str | None, code: str, **options: object) -> str:
    """Run some lines in another process."""
    head = f"from runyard.tunnels import SSHTunnel\ntunnel = SSHTunnel('login', config={config!r})\n"
    done = subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_the_users_own_connection_is_used(server: Server, control: Path) -> None:
    path = control.parent / "mine"
    tunnel = server.tunnel(f"ControlPath {path}")
    assert tunnel.config
    words = ["ssh", "-F", tunnel.config, "-S", str(path)]
    subprocess.run([*words, "-fNM", "-o", "BatchMode=yes", "login"], check=True, stderr=subprocess.DEVNULL)
    try:
        assert tunnel.run("echo x").ok
        assert server.logins == 1
        tunnel.cleanup()
        assert subprocess.run([*words, "-O", "check", "login"], capture_output=True, check=False).returncode == 0
    finally:
        subprocess.run([*words, "-O", "exit", "login"], check=True, capture_output=True)
    assert tunnel.run("echo x").ok, "and when it is closed, our own"
    assert server.logins == 2


def test_shell_and_pre_command_prepare_everything(server: Server, user: User) -> None:
    user.write(".bash_profile", "export FROM_PROFILE=yes\necho noise\n")
    tunnel = server.tunnel(shell="bash -l", pre_command='export A="it\'s $((6 * 7))"\ncat')
    assert tunnel.shell()(b'echo "$FROM_PROFILE $A"').stdout == "yes it's 42\n"
    assert tunnel.run("echo $A; echo $0").stdout == "it's 42\nbash\n"
    assert server.sessions == 1


def test_a_pre_command_that_fails_says_so(server: Server) -> None:
    with pytest.raises(TunnelError, match=r"pre_command ended with exit code 3\nno such module"):
        server.tunnel(pre_command="echo no such module >&2; (exit 3)").connect()
    with pytest.raises(TunnelError, match="login shell ended before it answered\nbye"):
        server.tunnel(pre_command="echo bye >&2; exit 0").connect()
    with pytest.raises(TunnelError, match="no-such-shell"):
        server.tunnel(shell="no-such-shell").connect()


def test_a_login_that_is_no_shell(server: Server, user: User) -> None:
    subprocess.run(["usermod", "-s", "/usr/sbin/nologin", user.name], check=True)
    with pytest.raises(TunnelError, match="ended before it answered\nThis account is currently not available"):
        server.tunnel().connect()
    subprocess.run(["usermod", "-s", "/bin/false", user.name], check=True)
    with pytest.raises(TunnelError, match="ended before it answered\nit said nothing"):
        server.tunnel().connect()


def test_run(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    tunnel = server.tunnel()
    result = tunnel.run("echo out; echo err >&2; exit 4", warn=True)
    assert (result.stdout, result.stderr, result.exited, result.ok) == ("out\n", "err\n", 4, False)
    with pytest.raises(CommandFailed, match=r"`ls /no/such` ended with exit code 2\nls: .*No such file") as caught:
        tunnel.run("ls /no/such")
    assert caught.value.result.exited == 2
    assert capsys.readouterr() == ("", "")
    tunnel.run("echo shown; echo too >&2", hide=False)
    assert capsys.readouterr() == ("shown\n", "too\n")


def test_hostile_strings_arrive(server: Server) -> None:
    tunnel = server.tunnel()
    shell = tunnel.shell()
    strings = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(text=strings, data=st.binary(max_size=5000), name=st.binary(min_size=1, max_size=50))
    def check(text: str, data: bytes, name: bytes) -> None:
        assert shell(f"printf %s {shlex.quote(text)}".encode()).stdout == text
        assert tunnel.run(f"printf %s {shlex.quote(text)}").stdout == text
        raw = name.replace(b"\0", b"").replace(b"'", b"")
        assert shell.raw(b"printf %s '" + raw + b"'").stdout == raw
        assert shell.raw(b"cat; exit 9", [data[:7], b"", data[7:]]) == (9, data, b"")

    check()
    assert server.sessions == 1


@pytest.mark.parametrize("size", [100, 5000, 200_000, 3_000_000])
def test_scripts_of_any_size(server: Server, size: int) -> None:
    shell = server.tunnel().shell()
    script = b"x='" + b"a\nb " * (size // 4) + b'\'; printf %s "$x"; printf %s e >&2; exit 5'
    for limit in (None, 60):
        answer = shell(script, timeout=limit, repeat=bool(limit))
        assert (answer.code, len(answer.stdout), answer.stderr) == (5, size, "e")


def test_the_remote_side_ends_with_this_process(server: Server, user: User) -> None:
    code = "tunnel.connect(); print('up', flush=True); import time; time.sleep(60)"
    head = f"from runyard.tunnels import SSHTunnel\ntunnel = SSHTunnel('login', config={server.tunnel().config!r})\n"
    process = subprocess.Popen([sys.executable, "-c", head + code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        loop = [p for p in user.processes() if "RY" in command_of(p)]
        assert len(loop) == 1
    finally:
        process.kill()
        process.communicate()
    until(lambda: not running(loop[0]), "the remote shell ends")


def test_a_forked_child_has_its_own_session(server: Server) -> None:
    tunnel = server.tunnel()
    code = """
import os
shell = tunnel.shell()
shell(b"echo parent")
pid = os.fork()
if not pid:
    try:
        ok = shell(b"echo child").stdout == "child\\n"
        tunnel.cleanup()
        os._exit(0 if ok else 1)
    finally:
        os._exit(2)
assert os.waitpid(pid, 0)[1] == 0
assert shell(b"echo still").stdout == "still\\n"
assert shell.opened == 1
"""
    elsewhere(tunnel.config, code)
    assert (server.logins, server.sessions) == (1, 2)
