"""What a dead controller, or a removed record, leaves at the engine: the truth is told of it, and it is cleaned up."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from pathlib import Path

import pytest

import runyard as run
from docker_engine import IMAGE, Engine
from runyard.cli.root import main
from runyard.packagers import Packager
from runyard.store import records
from runyard.store.db import Database
from runyard.testing.conformance import Harness


@pytest.fixture
def harness(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Harness:
    folder = tmp_path / "h"
    folder.mkdir()

    def make(**fields: object) -> run.DockerExecutor:
        return run.DockerExecutor(
            container_image=IMAGE, packager=Packager(), volumes=[f"{folder}/shared:{folder}/shared"], **fields
        )

    h = Harness(make, folder)
    monkeypatch.setenv("RUNYARD_HOME", str(h.home))
    return h


def held(engine: Engine) -> list[str]:
    """Return the names of all containers, and of the networks that belong to jobs."""
    with engine.client_closing() as client:
        names = [c["Names"][0] for c in client.api.containers(all=True)]
        return names + [n["Name"] for n in client.api.networks(filters={"label": "runyard.job"})]


def runyard(*words: str) -> None:
    with contextlib.suppress(SystemExit):
        main(list(words))


def without_a_controller(h: Harness, text: str) -> str:
    """Start a task, and kill the controller while it runs."""
    exp = h.experiment()
    begun = f"begun-{uuid.uuid4()}"
    exp.add(h.writes("begun", begun, text), name="task")
    exp.run(detach=True)
    h.until_lines(begun)
    h.until(lambda: h.states(exp.id)["task"] is run.JobState.RUNNING, "the record of its start")
    h.kill(h.driver(exp.id))
    return exp.id


def gone(engine: Engine, h: Harness, id: str) -> None:
    """Take the record and the folder of an experiment away, without a word to the engine."""
    with Database(h.home) as db:
        (folder,) = (h.home / str(r["folder"]) for r in db.rows("SELECT folder FROM experiments WHERE id = ?", (id,)))
        db.run("DELETE FROM jobs WHERE experiment = ?", (id,))
        db.run("DELETE FROM experiments WHERE id = ?", (id,))
    shutil.rmtree(folder)


def test_rm_after_the_controller_crashed(harness: Harness, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    id = without_a_controller(harness, "exec sleep 300")
    assert len(held(engine)) == 1
    runyard("experiment", "cancel", id)
    harness.until_ended(id)
    runyard("experiment", "rm", id, "--yes")
    assert held(engine) == []
    capsys.readouterr()
    runyard("experiment", "list", "--json")
    assert id not in capsys.readouterr().out


def test_container_removed_while_the_controller_is_dead(harness: Harness, engine: Engine) -> None:
    """Without an exit code it is lost, and nothing else."""
    id = without_a_controller(harness, "exec sleep 300")
    with engine.client_closing() as client:
        client.api.remove_container(held(engine)[0], force=True)
    exp = harness.again(id)
    result = exp.wait(raise_on_failure=False)["task"]
    assert result.status is run.JobState.LOST
    assert "its container was removed" in result.reason


def test_ended_container_removed_while_the_controller_is_dead(harness: Harness, engine: Engine) -> None:
    """The exit code that its task left is what counts."""
    id = without_a_controller(harness, harness.waits_for("go") + "exit 7")
    harness.go("go")
    with engine.client_closing() as client:
        container = client.containers.get(held(engine)[0].lstrip("/"))
        container.wait(timeout=60)
        container.remove(force=True)
    result = harness.again(id).wait(raise_on_failure=False)["task"]
    assert (result.status, result.exit_code) == (run.JobState.FAILED, 7)


def test_gc_removes_what_experiments_left_that_are_gone(
    harness: Harness, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only of this home, only what is in no record and no folder, and nothing that runs."""
    id = without_a_controller(harness, harness.waits_for("go"))
    kept = without_a_controller(harness, harness.waits_for("go"))
    running = without_a_controller(harness, "exec sleep 300")
    (mine,) = (name for name in held(engine) if id in name)
    job = mine.lstrip("/").removesuffix(".1")
    labels = {"runyard.experiment": id, "runyard.task": "task", "runyard.attempt": "1"}
    with engine.client_closing() as client:
        client.api.create_network("ours", labels={**labels, "runyard.job": job})
        other = {**labels, "runyard.job": f"{id}.task-00000000"}
        client.api.create_container(IMAGE, ["true"], name="of-another-home", labels=other)
    harness.go("go")
    with engine.client_closing() as client:
        for name in [n for n in held(engine) if id in n or kept in n]:
            client.containers.get(name.lstrip("/")).wait(timeout=60)
    gone(engine, harness, id)
    gone(engine, harness, running)
    before = held(engine)
    assert any(running in name for name in before)
    assert not list(harness.home.glob(f"experiments/*/{running}"))

    capsys.readouterr()
    runyard("code", "gc", "--dry-run")
    assert held(engine) == before
    assert f"would remove container {mine.lstrip('/')}" in capsys.readouterr().err

    runyard("code", "gc")
    said = capsys.readouterr().err
    assert sorted(set(before) - set(held(engine))) == sorted([mine, "ours"])
    assert f"still running, and kept: container {running}" in said


def test_gc_after_rm_while_the_engine_was_away(harness: Harness, engine: Engine) -> None:
    exp = harness.experiment()
    exp.add(harness.writes("done", "proof"), name="task")
    exp.run()
    with Database(harness.home) as db:
        name = str(records.jobs(db, exp.id)[0].request["options"]["name"])
    labels = {"runyard.experiment": exp.id, "runyard.task": "task", "runyard.job": name, "runyard.attempt": "2"}
    with engine.client_closing() as client:
        client.api.create_container(IMAGE, ["true"], name="left", labels=labels)
    engine.stop()
    runyard("experiment", "rm", exp.id, "--yes")
    engine.start()
    assert held(engine) == ["/left"]
    runyard("code", "gc")
    assert held(engine) == []
