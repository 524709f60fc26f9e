"""What goes wrong between here and the cluster while jobs run."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import processes
import runyard as run
from runyard.errors import ConfigError, TunnelError
from runyard.executors.slurm import SlurmExecutor
from runyard.store import records
from runyard.store.db import Database
from runyard.tunnels import SSHTunnel
from slurm_cluster import Cluster
from ssh_servers import Proxy, Server


@pytest.fixture
def shared(login: Server) -> Iterator[Path]:
    folder = login.user.home / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    yield folder
    login.user.reset()


def experiment(home: Path, tunnel: SSHTunnel) -> run.Experiment:
    executor = SlurmExecutor(packager=run.Packager(), poll_seconds=0.2, time=5, tunnel=tunnel)
    exp = run.Experiment("trouble", executor, base_dir=home, clean_mode=True, skip_status_at_exit=True)
    exp.enable_goodbye_message = False
    return exp


def reason(home: Path, id: str) -> str:
    with Database(home) as db:
        return records.jobs(db, id)[0].status.reason


def waits(shared: Path) -> str:
    return f"i=0; while [ ! -e {shared}/go ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done\n"


def test_a_login_that_is_refused(tmp_path: Path, over_ssh: SSHTunnel, login: Server, shared: Path) -> None:
    """The status says so; jobs go on, and so does the experiment once the login works again."""
    exp = experiment(tmp_path, over_ssh)
    exp.add(run.Script(inline=f"echo ran >> {shared}/proof\n{waits(shared)}"), name="task")
    exp.run(detach=True)
    processes.until(lambda: processes.lines(shared / "proof"), "the task's start")
    login.user.write(".ssh/authorized_keys", "", mode=0o600)
    for pid in login.connections():
        processes.kill(pid)
    processes.until(lambda: reason(tmp_path, exp.id).startswith("NEEDS_LOGIN"), "the reason")
    (shared / "go").touch()
    login.user.authorize()
    results = run.Experiment.from_id(exp.id, base_dir=tmp_path).wait()
    assert results["task"].ok
    assert processes.lines(shared / "proof") == ["ran"]


def test_a_log_that_is_followed_through_lost_connections(
    tmp_path: Path, over_ssh: SSHTunnel, login: Server, shared: Path
) -> None:
    """Each line is shown once, in order, whatever happens to the connection."""
    exp = experiment(tmp_path, over_ssh)
    exp.add(run.Script(inline="for i in $(seq 40); do echo line $i; sleep 0.1; done"), name="task")
    exp.run(detach=True)
    stop = threading.Event()

    def cut() -> None:
        while not stop.wait(0.7):
            for pid in login.connections():
                processes.kill(pid)

    cutter = threading.Thread(target=cut)
    shown = io.StringIO()
    cutter.start()
    try:
        time.sleep(1.5)
        stop.set()
        with contextlib.redirect_stdout(shown):
            run.Experiment.from_id(exp.id, base_dir=tmp_path).wait(tail_logs=True)
    finally:
        stop.set()
        cutter.join()
    assert shown.getvalue().splitlines() == [f"line {i}" for i in range(1, 41)]


def test_a_noisy_login(tmp_path: Path, over_ssh: SSHTunnel, login: Server, shared: Path) -> None:
    """What login scripts print is no answer of Slurm's."""
    noise = "echo 'Welcome! 4711 jobs wait.'; echo '%queue'; echo 1234 >&2\n"
    for name in (".bashrc", ".profile"):
        login.user.write(name, noise)
    over_ssh.shell_command = "bash -l"
    exp = experiment(tmp_path, over_ssh)
    exp.add(run.Script(inline="echo fine"), name="task")
    assert exp.run()["task"].ok


def test_a_scheduler_that_does_not_answer(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is silent nothing is concluded; then all goes on."""
    monkeypatch.setenv("SLURM_CONF", cluster.impatient["SLURM_CONF"])
    executor = SlurmExecutor(packager=run.Packager(), poll_seconds=0.2, time=5)
    exp = run.Experiment("silent", executor, base_dir=tmp_path, clean_mode=True)
    exp.add(run.Script(inline=f"echo ran >> {tmp_path}/proof\n{waits(tmp_path)}"), name="task")
    exp.add(run.Script(inline=f"echo next >> {tmp_path}/proof"), name="next", dependencies=["task"])
    exp.run(detach=True)
    processes.until(lambda: processes.lines(tmp_path / "proof"), "the task's start")
    cluster.pause_controller()
    processes.until(lambda: "not seen since" in reason(tmp_path, exp.id), "the reason")
    (tmp_path / "go").touch()
    cluster.resume_controller()
    results = run.Experiment.from_id(exp.id, base_dir=tmp_path).wait()
    assert all(r.ok for r in results.values())
    assert processes.lines(tmp_path / "proof") == ["ran", "next"]


def test_no_slurm_there(tmp_path: Path, over_ssh: SSHTunnel, shared: Path) -> None:
    for tool in ("sh", "bash", "dd", "cat", "head", "timeout", "sleep", "rm", "mkdir", "kill", "date"):
        (shared / tool).symlink_to(f"/usr/bin/{tool}")
    over_ssh.pre_command = f"PATH={shared}"
    exp = experiment(tmp_path, over_ssh)
    exp.add(run.Script(inline="true"), name="task")
    with pytest.raises((ConfigError, TunnelError)) as error:
        exp.run()
    assert "sbatch" in str(error.value)
    assert "module load slurm" in str(error.value)
    assert not list(tmp_path.glob("experiments/*/*"))


def test_a_host_that_is_not_there(tmp_path: Path, login: Server, control: None) -> None:
    """The launch is refused at once, and nothing is recorded."""
    proxy = Proxy(login.port)
    port = proxy.port
    proxy.close()
    exp = experiment(tmp_path, login.tunnel(f"Port {port}"))
    exp.add(run.Script(inline="true"), name="task")
    with pytest.raises(TunnelError, match="cannot be reached"):
        exp.run()
    assert not list(tmp_path.glob("experiments/*/*"))
