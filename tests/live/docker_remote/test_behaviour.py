"""What an engine on another machine adds: what crosses the network and when, what stays there, and what is cut."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import runyard as run
from docker_engine import IMAGE, Engine, until
from docker_remote import Relay
from runyard.cli.root import main
from runyard.errors import ConfigError
from runyard.packagers import Packager
from runyard.store import records
from runyard.store.db import Database
from ssh_servers import Server

pytestmark = pytest.mark.usefixtures("work")


def executor(**fields: Any) -> run.DockerExecutor:
    return run.DockerExecutor(**{"container_image": IMAGE, "network": "none", **fields})


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


def runyard(*words: str) -> None:
    with contextlib.suppress(SystemExit):
        main(list(words))


def remove(id: str) -> None:
    runyard("experiment", "rm", id, "--yes")


def containers(engine: Engine) -> list[str]:
    """Return the containers of jobs; a helper may live a little longer."""
    with engine.client_closing() as client:
        names = [c["Names"][0].lstrip("/") for c in client.api.containers(all=True)]
    return [name for name in names if not name.endswith(".helper")]


WAITS = "i=0; while [ ! -e /tmp/go ] && [ $i -lt 3000 ]; do sleep 0.1; i=$((i + 1)); done; "


def go(engine: Engine) -> None:
    """Let the only task, which waits for it, go on."""
    (name,) = containers(engine)
    with engine.client_closing() as client:
        made = client.api.exec_create(name, ["touch", "/tmp/go"])
        client.api.exec_start(made["Id"])


def volumes(engine: Engine) -> set[str]:
    with engine.client_closing() as client:
        return {v["Name"] for v in client.api.volumes()["Volumes"] or ()}


def tree(folder: Path, count: int, size: int = 400) -> None:
    for i in range(count):
        path = folder / f"part{i % 100}" / f"file{i}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(size // 2).hex().encode())


# -- code --------------------------------------------------------------------------------------


def test_code_is_what_is_on_disk(engine: Engine, over_tcp: Relay, work: Path) -> None:
    """Odd names, links, executables and empty files arrive; the tree is writable, and shared in an experiment."""
    names = ["plain", "with space", "-dash", "quo'te\"$x", "new\nline", "é", os.fsdecode(b"\xff"), "x" * 200]
    for name in names:
        (work / name).write_text(f"{len(name)}\n")
    (work / "deep" / "er").mkdir(parents=True)
    (work / "deep" / "er" / "run.sh").write_text("#!/bin/sh\necho runs\n")
    (work / "deep" / "er" / "run.sh").chmod(0o755)
    (work / "link").symlink_to("deep/er")
    (work / "empty").touch()
    (work / "big").write_bytes(os.urandom(1 << 20))  # more than what is sent along with the job's files
    look = """
import hashlib, os
for where, folders, files in os.walk(b"."):
    for name in sorted(files) + [f for f in folders if os.path.islink(os.path.join(where, f))]:
        path = os.path.join(where, name)
        said = os.readlink(path) if os.path.islink(path) else hashlib.sha256(open(path, "rb").read()).hexdigest()
        print(repr(path), oct(os.stat(path).st_mode & 0o111), said)
"""
    (work / "look.py").write_text(look)
    told = subprocess.run([sys.executable, "look.py"], cwd=work, capture_output=True, text=True, check=True).stdout
    exp = run.Experiment("code", executor(), clean_mode=True)
    exp.add(run.Script("look.py", entrypoint="python"), name="look")
    exp.add(run.Script(inline="link/run.sh; echo one > made; echo more >> plain"), name="writes", dependencies=["look"])
    exp.add(run.Script(inline="cat made plain; id -u"), name="reads", dependencies=["writes"])
    results = exp.run()
    text = results["look"].log_path.read_text()
    assert sorted(text.splitlines()) == sorted(line for line in told.splitlines() if "/.git" not in line)
    assert results["writes"].log_path.read_text() == "runs\n"
    assert results["reads"].log_path.read_text() == f"one\n5\nmore\n{os.getuid()}\n"
    again = result_of(run.Script(inline="ls; cat plain"))
    assert again.log_path.read_bytes().endswith(b"\n5\n"), "a later launch got what a task had written"


def test_second_launch_sends_no_code(
    engine: Engine, over_tcp: Relay, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Random bytes, so that compression does not help: 2 MB, then nothing, then what has changed.

    What the engine keeps for that can be looked at and cleaned.
    """
    tree(work, 2000, 1000)
    (work / "folder").symlink_to("part1")
    (work / "link").mkdir()
    (work / "link" / "file").touch()
    sent = []
    for change in (None, None, "part1/file1.py", "gone"):
        if change == "gone":
            (work / "folder").unlink()
            (work / "folder").mkdir()
            (work / "folder" / "file").touch()
            (work / "link" / "file").unlink()
            (work / "link").rmdir()
            (work / "link").symlink_to("folder")
            (work / "part2" / "file2.py").unlink()
            (work / "new").write_text("new\n")
        elif change:
            (work / change).write_text("print('changed')\n")
        before = over_tcp.sent
        count = (
            "find . -type f | wc -l; cat part1/file1.py | head -c 20; ls new part2/file2.py link/* 2>/dev/null || true"
        )
        log = result_of(run.Script(inline=count)).log_path.read_text().splitlines()
        sent.append(over_tcp.sent - before)
    assert sent[0] > 1_000_000
    assert max(sent[1:]) < 100_000, sent
    assert log == ["2002", "print('changed')", "link/file", "new"]
    (work / "env.toml").write_text(f'[far]\nexecutor = "docker"\ncontainer_image = "{IMAGE}"\n')
    capsys.readouterr()
    runyard("code", "ls", "--profile", "far", "--json")
    usage = json.loads(capsys.readouterr().out)
    assert (usage["objects"], usage["unused_objects"]) == (3, 0)
    assert usage["bytes"] > 6_000_000
    stored = engine.folder / "data" / "volumes" / "runyard-code" / "_data"
    for mark in stored.glob("*.ok"):
        os.utime(mark, (time.time() - 7200,) * 2)
    runyard("code", "gc", "--profile", "far", "--older-than", "1s")
    assert "removed 3 contents" in capsys.readouterr().err
    assert list(stored.iterdir()) == []


def test_a_half_sent_tree_is_never_used(engine: Engine, over_tcp: Relay, work: Path) -> None:
    """The connection is cut while code is sent, and then again: what was asked for there goes on meanwhile."""
    tree(work, 2000, 4000)
    exp = run.Experiment("cut", executor(), clean_mode=True)
    exp.add(run.Script(inline="find . -name '*.py' -size +7 | wc -l"), name="task")
    before = over_tcp.sent
    exp.run(detach=True)
    until(lambda: over_tcp.sent > before + 1_000_000, "a part of the code")
    for _ in range(5):
        over_tcp.cut()
        time.sleep(0.7)
    result = exp.wait()["task"]
    assert result.log_path.read_text() == "2000\n"
    assert result.attempts == 1


def test_a_task_without_a_packager_is_refused(over_tcp: Relay) -> None:
    exp = run.Experiment("bad", executor(packager=Packager()), clean_mode=True)
    exp.add(run.Script(inline="true"), name="task")
    with pytest.raises(ConfigError, match="on another machine") as error:
        exp.dryrun()
    assert "packager" in error.value.hint


# -- logs and results --------------------------------------------------------------------------

GROWS = """
import sys, time
line = b"x" * 99 + b"\\n"
for _ in range(100):
    sys.stdout.buffer.write(line * 10_000)
    sys.stdout.flush()
    time.sleep(0.05)
"""


def test_a_followed_log_crosses_the_network_once(engine: Engine, over_tcp: Relay, work: Path) -> None:
    """A hundred megabytes, followed to their end."""
    (work / "grows.py").write_text(GROWS)
    exp = run.Experiment("grows", executor(), clean_mode=True)
    exp.add(run.Script("grows.py", entrypoint="python"), name="task")
    before = over_tcp.received
    exp.run(detach=True)
    follower = subprocess.run(
        [sys.executable, "-m", "runyard", "experiment", "logs", exp.id, "--follow"],
        stdout=subprocess.PIPE,
        timeout=300,
        check=True,
    )
    count = follower.stdout.count(b"x" * 99)
    result = exp.wait()["task"]
    assert count == 1_000_000
    assert result.log_path.stat().st_size == 100_000_000
    crossed = over_tcp.received - before
    print(f"{crossed / 1e6:.1f} MB crossed the network for a log of 100 MB")
    assert crossed < 205_000_000


def test_output_is_pulled_and_rm_removes_the_rest(engine: Engine, over_tcp: Relay) -> None:
    text = r"""
cd "$RUNYARD_OUTPUT_DIR"; mkdir -p a/b; echo one > a/b/one; echo odd > "$(printf 'new\nline')"; ln -s a/b/one link
echo here > "$OLDPWD/in-the-code.txt"; chmod 600 a/b/one
"""
    exp = run.Experiment("out", executor(), clean_mode=True)
    exp.add(run.Script(inline=text), name="task")
    exp.run()
    assert containers(engine) == []
    got = exp.pull("task")
    assert {p.name for p in got} >= {"one", "new\nline"}
    assert next(p for p in got if p.name == "one").read_text() == "one\n"
    assert os.readlink(next(p for p in got if p.name == "link")) == "a/b/one"
    assert [p.read_text() for p in exp.pull("task", "in-the-code.txt")] == ["here\n"]
    assert any(v.startswith("runyard-out") for v in volumes(engine))
    remove(exp.id)
    assert not any(v.startswith("runyard-out") for v in volumes(engine))
    with engine.client_closing() as client:
        assert client.api.containers(all=True) == []


def test_secrets_cannot_be_inspected(engine: Engine, over_tcp: Relay, work: Path) -> None:
    """They are in no option, label, command or environment of a container, in no volume, and go with the container."""
    value = "kept-to-itself-4711"
    exp = detached(
        f'test "$MY_TOKEN" = kept-to-itself-$((4700 + 11)) && echo right $MY_TOKEN; {WAITS}',
        env_vars={"MY_TOKEN": value},
    )
    with engine.client_closing() as client:
        (mine,) = [c for c in client.api.containers() if "helper" not in c["Names"][0]]
        shown = json.dumps([mine, client.api.inspect_container(mine["Id"]), client.api.top(mine["Id"])])
        assert value not in shown
        assert mine["Id"]
        made = client.api.exec_create(mine["Id"], ["stat", "-c", "%a %u", "/runyard/private/secrets"])
        assert client.api.exec_start(made["Id"]).decode().split() == ["600", str(os.getuid())]
        data = engine.folder / "data" / "volumes"
        found = subprocess.run(["grep", "-rl", value, str(data)], capture_output=True, text=True, check=False).stdout
        assert found == ""
    go(engine)
    result = exp.wait(raise_on_failure=False)["task"]
    assert result.log_path.read_text() == "right ***\n"
    assert containers(engine) == []
    everything = subprocess.run(
        ["grep", "-rlF", value, str(engine.folder / "data"), os.environ["RUNYARD_HOME"]],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert everything == ""


def test_secrets_of_a_read_only_container(engine: Engine, over_tcp: Relay) -> None:
    fields = {"env_vars": {"MY_TOKEN": "kept-to-itself"}, "additional_kwargs": {"read_only": True}}
    result = result_of(run.Script(inline="echo ${#MY_TOKEN}; touch /tmp/x 2>/dev/null || echo shut"), **fields)
    assert result.log_path.read_text() == "14\nshut\n"
    assert {v for v in volumes(engine) if not v.startswith("runyard")} == set()


def test_other_users(engine: Engine, over_tcp: Relay) -> None:
    """By number and by name; each owns its folder, its secrets and its code."""
    who = 'echo $(id -u) ${#MY_TOKEN}; touch made "$RUNYARD_OUTPUT_DIR/made" && echo writes'
    for user in ("4242:4343", "nobody"):
        result = result_of(run.Script(inline=who), user=user, env_vars={"MY_TOKEN": "kept-to-itself"})
        number = "65534" if user == "nobody" else "4242"
        assert result.log_path.read_text() == f"{number} 14\nwrites\n", result.reason


# -- trouble -----------------------------------------------------------------------------------


def test_removed_behind_our_back(engine: Engine, over_tcp: Relay) -> None:
    """What a task wrote is in the volume: one that had ended is judged by it, one that had not is lost."""
    exp = detached("sleep 300")
    with engine.client_closing() as client:
        for name in containers(engine):
            client.api.remove_container(name, force=True)
    result = exp.wait(raise_on_failure=False)["task"]
    assert result.status is run.JobState.LOST
    assert "its container was removed" in result.reason


def test_removed_after_its_end(engine: Engine, over_tcp: Relay, capsys: pytest.CaptureFixture[str]) -> None:
    """Its container, and then its record while the engine is away: what is left there goes later."""
    exp = detached(f"echo said; {WAITS} exit 7")
    over_tcp.away()  # the network, while it ends
    go(engine)
    with engine.client_closing() as client:
        (name,) = containers(engine)
        client.api.wait(name)
        client.api.remove_container(name)
    assert exp.jobs[0].status is run.JobState.RUNNING
    over_tcp.path = engine.socket
    result = exp.wait(raise_on_failure=False)["task"]
    assert (result.status, result.exit_code) == (run.JobState.FAILED, 7)
    assert result.log_path.read_text() == "said\n"
    (volume,) = (v for v in volumes(engine) if v.startswith("runyard-detached"))
    with engine.client_closing() as client:
        labels = {"runyard.experiment": exp.id, "runyard.volume": "experiment"}
        client.api.create_volume("runyard-detached-of-another-home", labels=labels)
    over_tcp.away()
    remove(exp.id)
    assert "what its jobs left there stays" in capsys.readouterr().err
    over_tcp.path = engine.socket
    runyard("code", "gc", "--dry-run")
    assert f"would remove volume {volume} of {exp.id}" in capsys.readouterr().err
    runyard("code", "gc")
    assert {v for v in volumes(engine) if "detached" in v} == {"runyard-detached-of-another-home"}


def test_engine_restarted(engine: Engine, over_tcp: Relay) -> None:
    """With live-restore its containers go on, and so do we."""
    exp = detached(f"echo one; {WAITS} echo two")
    engine.stop()
    time.sleep(0.5)
    assert not exp.jobs[0].status.ended
    engine.start()
    go(engine)
    assert exp.wait()["task"].log_path.read_text() == "one\ntwo\n"


def test_ssh_is_cut(engine: Engine, over_ssh: Server) -> None:
    """States stay, the next login goes on; an experiment takes one login for all its questions."""
    exp = detached(f"echo one; {WAITS} echo two")
    assert over_ssh.logins == 1
    over_ssh.stop()
    until(lambda: "not seen since" in exp.jobs[0].reason, "a word about it")
    assert exp.jobs[0].status is run.JobState.RUNNING
    over_ssh.start()
    go(engine)
    assert exp.wait()["task"].log_path.read_text() == "one\ntwo\n"
    assert over_ssh.logins == 2


def test_record_says_which_engine(engine: Engine, over_tcp: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """An experiment is looked after, read and removed although ``DOCKER_HOST`` means another engine by then."""
    exp = detached("echo one; sleep 1; echo out > $RUNYARD_OUTPUT_DIR/out")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    assert exp.wait()["task"].log_path.read_text() == "one\n"
    assert [p.read_text() for p in exp.pull("task")] == ["out\n"]
    remove(exp.id)
    assert not any("detached" in v for v in volumes(engine))
    with Database(Path(os.environ["RUNYARD_HOME"])) as db:
        assert records.experiments(db) == []
