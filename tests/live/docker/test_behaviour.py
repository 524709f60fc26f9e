"""What containers add: code in mounts, networks of groups, owners of files, and engines and containers in trouble."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import runyard as run
from docker_engine import IMAGE, Engine, until
from runyard.backends.base import Handle
from runyard.backends.docker import backend as docker_backend
from runyard.backends.docker import plan
from runyard.backends.docker.engine import Engine as Client
from runyard.backends.docker.plan import Caller
from runyard.cli.root import main
from runyard.errors import ConfigError, Unavailable
from runyard.packagers import Packager
from runyard.store import records
from runyard.store.db import Database
from runyard.testing.conformance import Harness


@pytest.fixture(autouse=True)
def work(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def executor(**fields: Any) -> run.DockerExecutor:
    return run.DockerExecutor(**{"container_image": IMAGE, "packager": Packager(), **fields})


def result_of(task: Any, **fields: Any) -> run.JobResult:
    result = run.run(task, executor(**fields), name="task", tail_logs=False, raise_on_failure=False)
    assert result is not None
    return result


def detached(text: str, **fields: Any) -> run.Experiment:
    exp = run.Experiment("detached", executor(**fields), clean_mode=True)
    exp.add(run.Script(inline=text), name="task")
    exp.run(detach=True)
    until(lambda: exp.jobs[0].status is run.JobState.RUNNING, "the task's start")
    return exp


def ours(engine: Engine) -> list[str]:
    with engine.client_closing() as client:
        return [c["Id"] for c in client.api.containers(all=True)] + [
            n["Name"] for n in client.api.networks(filters={"label": "runyard.job"})
        ]


def test_code_ships(engine: Engine, work: Path) -> None:
    """The default packager: what is on disk runs, is writable, and is not shared with the store."""
    subprocess.run(["git", "init", "-q", "."], check=True)
    (work / "tool.py").write_text("import sys\ndef main(x):\n    print('from the tree', x, sys.version_info[0])\n")
    (work / "train.sh").write_text("cat part; echo spoilt > part; python3 -c 'import tool; tool.main(2)'; pwd\n")
    (work / "part").write_text("whole\n")
    log = result_of(run.Script("train.sh"), packager=run.GitArchivePackager()).log_path.read_text().splitlines()
    assert log[:2] == ["whole", "from the tree 2 3"]
    assert log[2].startswith("/runyard/code/")
    assert result_of(run.Script("train.sh"), packager=run.GitArchivePackager()).log_path.read_text().startswith("whole")
    assert (work / "part").read_text() == "whole\n"


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed (make test-torch)")
def test_torchrun(engine: Engine, work: Path) -> None:
    # One write for a whole line: unbuffered, `print` makes two, and two processes share the log.
    line = "'rank {RANK} of {WORLD_SIZE}\\n'.format(**os.environ)"
    (work / "rank.py").write_text(f"import os, sys\nsys.stdout.write({line})\n")
    fields = {"volumes": [f"{sys.prefix}:{sys.prefix}:ro"], "python": sys.executable, "shm_size": "256m"}
    task = run.Script("rank.py", entrypoint="python")
    done = result_of(task, launcher="torchrun", ntasks_per_node=2, env_vars={"OMP_NUM_THREADS": "1"}, **fields)
    log = done.log_path.read_text()
    assert sorted(x for x in log.splitlines() if x.startswith("rank")) == ["rank 0 of 2", "rank 1 of 2"], log


SERVER = "import socket; s = socket.create_server(('', 5000)); c, _ = s.accept(); c.sendall(b'hello'); c.close()"
CLIENT = """
import socket, sys, time
for _ in range(200):
    try:
        print(socket.create_connection((sys.argv[1], 5000), 5).recv(9).decode(), "from", sys.argv[1])
        break
    except OSError:
        time.sleep(0.1)
"""


def test_group_members_know_each_other_by_name(engine: Engine) -> None:
    exp = run.Experiment("group", executor(), clean_mode=True)
    server = run.Script(inline=f'exec python3 -c "{SERVER}"', metadata={})
    host = run.ExecutorMacros.group_host(0)
    client = run.Script(inline=CLIENT, entrypoint="python", args=[host])
    exp.add([server, client], name="pair")
    assert exp.run()["pair"].ok
    logs = {p.parent.name: p.read_text() for p in Path(os.environ["RUNYARD_HOME"]).rglob("attempts/1/*/log")}
    assert [text for text in logs.values() if text] == [f"hello from {min(logs)}\n"]
    assert ours(engine) == []


def test_group_on_a_network_that_exists(engine: Engine) -> None:
    with engine.client_closing() as client:
        network = client.networks.create("mine")
        exp = run.Experiment("group", executor(network="mine"), clean_mode=True)
        head = run.ExecutorMacros.HEAD_NODE_IP_VAR
        exp.add(
            [
                run.Script(inline=f'exec python3 -c "{SERVER}"'),
                run.Script(inline=CLIENT, entrypoint="python", args=[head]),
            ],
            name="pair",
        )
        assert exp.run()["pair"].ok
        network.reload()
        network.remove()


def test_files_belong_to_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another user would launch it: planned with their numbers, in folders of theirs."""
    caller = Caller(4242, 4343, "somebody")
    monkeypatch.setattr(docker_backend, "_caller", lambda: caller)
    (tmp_path / "h").mkdir()
    h = Harness(lambda **f: executor(volumes=[f"{tmp_path}/h/shared:{tmp_path}/h/shared"], **f), tmp_path / "h")
    exp = h.experiment()
    exp.add(h.writes("$(id -u):$(id -g) $USER $HOME", "who", f"mkdir {h.shared}/made"), name="task")
    (job,), backend, db = h.recorded(exp)
    with db:
        for path in (h.home, h.shared, *h.home.rglob("*")):
            os.chown(path, 4242, 4343)
        for parent in (tmp_path, tmp_path / "h"):
            parent.chmod(0o755)
        (handle,) = backend.submit([job.request.at(1)])
        assert isinstance(handle, Handle), handle
        until(lambda: backend.observe([handle])[handle].state is run.JobState.SUCCEEDED, "the end of the task")
    assert h.lines("who") == ["4242:4343 somebody /tmp"]
    made = (h.shared / "made").stat()
    assert (made.st_uid, made.st_gid) == (4242, 4343)


def test_out_of_memory(engine: Engine) -> None:
    hungry = run.Script(inline="x = bytearray(300 << 20)", entrypoint="python")
    result = result_of(hungry, additional_kwargs={"mem_limit": "64m", "memswap_limit": "64m"})
    assert (result.status, result.reason) == (run.JobState.FAILED, "out of memory (OOM)")
    with Database(Path(os.environ["RUNYARD_HOME"])) as db:
        row = records.jobs(db, records.experiments(db)[0].id)[0]
    handle = Handle(*(row.handle or ()))
    # Also for those who look when the container is gone.
    seen = docker_backend.DockerBackend(os.environ["RUNYARD_HOME"]).observe([handle])[handle]
    assert seen.reason == "out of memory (OOM)"
    assert ours(engine) == []


def test_container_removed_behind_our_back(engine: Engine) -> None:
    exp = detached("sleep 300")
    with engine.client_closing() as client:
        for id in ours(engine):
            client.api.remove_container(id, force=True)
    exp.wait(raise_on_failure=False)
    (result,) = exp.jobs
    assert result.status is run.JobState.LOST
    assert "its container was removed" in result.reason


def test_container_killed_behind_our_back(engine: Engine) -> None:
    exp = detached("sleep 300")
    with engine.client_closing() as client:
        client.api.kill(ours(engine)[0])
    exp.wait(raise_on_failure=False)
    result = exp.wait(raise_on_failure=False)["task"]
    assert (result.status, result.exit_code) == (run.JobState.FAILED, 137)
    assert result.reason == "signal SIGKILL (its container was killed)"


def test_engine_restarted(engine: Engine) -> None:
    """An engine that takes its containers with it: the task has failed by the signal that it got, and is retried."""
    engine.stop()
    engine.live_restore = False
    try:
        engine.start()
        exp = detached("echo $RUNYARD_ATTEMPT; [ $RUNYARD_ATTEMPT -ge 2 ] || exec sleep 300", retries=1)
        engine.stop()
        time.sleep(0.5)
        assert not exp.jobs[0].status.ended
        engine.start()
        result = exp.wait()["task"]
        assert (result.status, result.attempts) == (run.JobState.SUCCEEDED, 2)
    finally:
        engine.stop()
        engine.live_restore = True
        engine.start()
    assert ours(engine) == []


def test_what_a_crashed_launch_made_is_used(engine: Engine, tmp_path: Path) -> None:
    """A container that was created and never started is started by the next submission, not made anew."""
    (tmp_path / "h").mkdir()
    h = Harness(lambda **f: executor(volumes=[f"{tmp_path}/h/shared:{tmp_path}/h/shared"], **f), tmp_path / "h")
    exp = h.experiment()
    exp.add(h.writes("ran", "proof"), name="task")
    (job,), backend, db = h.recorded(exp)
    with db:
        import json

        document = json.loads(job.request.files[plan.CONTAINERS])
        id, state = Client(engine.env["DOCKER_HOST"]).create(plan.at(document, 1)[0])
        assert state == "created"
        assert backend.find([(job.request, 1)]) == {}
        (handle,) = backend.submit([job.request.at(1)])
        assert isinstance(handle, Handle)
        until(lambda: backend.observe([handle])[handle].state is run.JobState.SUCCEEDED, "the end of the task")
    assert h.lines("proof") == ["ran"]
    assert id not in ours(engine)


def test_rm_removes_what_is_left(engine: Engine) -> None:
    result_of(run.Script(inline="true"))
    with Database(Path(os.environ["RUNYARD_HOME"])) as db:
        id = records.experiments(db)[0].id
        name = str(records.jobs(db, id)[0].request["options"]["name"])
    with engine.client_closing() as client:
        labels = {"runyard.job": name, "runyard.attempt": "2"}
        client.api.create_container(IMAGE, ["true"], labels=labels)
        client.api.create_network("left", labels=labels)
    assert len(ours(engine)) == 2
    with contextlib.suppress(SystemExit):
        main(["experiment", "rm", id, "--yes"])
    assert ours(engine) == []


# -- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"container_image": "no/such-image:1"}, ["no/such-image:1", "could not be pulled"]),
        ({"volumes": ["/no/such/folder:/data"]}, ["/no/such/folder", "does not exist"]),
        ({"runtime": "nvidia"}, ["nvidia", "runc"]),
        ({"network": "nowhere"}, ["nowhere", "docker network create"]),
        ({"additional_kwargs": {"mem_limits": "1g"}}, ["mem_limits", "mem_limit"]),
        ({"container_image": "Not:A:Name"}, ["Not:A:Name", "lowercase", "[registry/]name[:tag]"]),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_what_can_never_run_is_refused_at_once(fields: dict[str, Any], words: list[str], engine: Engine) -> None:
    exp = run.Experiment("bad", executor(**fields), clean_mode=True)
    exp.add(run.Script(inline="true"), name="task")
    with pytest.raises(ConfigError) as error:
        exp.run()
    assert all(word in str(error.value) for word in words), str(error.value)
    assert not list(Path(os.environ["RUNYARD_HOME"]).glob("experiments/*/*"))
    assert ours(engine) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"user": "nobody-like-this"}, ["nobody-like-this", "correct user"]),
        ({"additional_kwargs": {"ports": {"80/tcp": "x"}}}, ["refused", "opens port 80 as 8080"]),
        ({"additional_kwargs": {"mem_limit": "lots"}}, ["lots", "units", "correct additional_kwargs"]),
        ({"additional_kwargs": {"devices": ["/dev/none-such"]}}, ["/dev/none-such", "additional_kwargs['devices']"]),
        ({"ulimits": ["nofiles:1"]}, ["RLIMIT_NOFILES", "correct ulimits"]),
        ({"volumes": ["/etc/passwd:/usr"]}, ["/etc/passwd", "a folder goes onto a folder"]),
        ({"volumes": ["/etc:/data:rx"]}, ["invalid mode: rx", "source:target[:ro]"]),
        ({"additional_kwargs": {"entrypoint": ["/no/such/program"]}}, ["/no/such/program"]),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_what_the_engine_refuses(fields: dict[str, Any], words: list[str], engine: Engine) -> None:
    result = result_of(run.Script(inline="true"), **fields)
    assert result.status is run.JobState.FAILED
    assert all(word in result.reason for word in words), result.reason
    assert ours(engine) == []


def test_a_port_in_use(engine: Engine) -> None:
    ports = {"additional_kwargs": {"ports": {"80/tcp": 7777}}}
    exp = detached("exec sleep 300", **ports)
    result = result_of(run.Script(inline="true"), **ports)
    assert result.status is run.JobState.FAILED
    assert "7777 failed: port is already allocated" in result.reason
    assert "choose another port in additional_kwargs['ports']" in result.reason
    exp.cancel()
    exp.wait(raise_on_failure=False)


def test_no_podman(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/podman/podman.sock")
    exp = run.Experiment("bad", executor(), clean_mode=True)
    exp.add(run.Script(inline="true"), name="task")
    with pytest.raises(Unavailable, match=r"answers at unix://.*podman\.sock") as error:
        exp.run()
    assert "systemctl start podman.socket" in error.value.hint


def test_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    exp = run.Experiment("bad", executor(), clean_mode=True)
    exp.add(run.Script(inline="true"), name="task")
    with pytest.raises(Unavailable, match=r"no Docker engine answers at unix://.*nobody\.sock") as error:
        exp.run()
    assert "DOCKER_HOST" in error.value.hint


def test_a_folder_that_the_user_may_not_enter(engine: Engine) -> None:
    """The caller's folders are closed to others: a task as somebody else cannot begin, and its reason says why."""
    result = result_of(run.Script(inline="true"), user="65534:65534")
    assert result.status is run.JobState.FAILED
    assert "ermission denied" in result.reason
