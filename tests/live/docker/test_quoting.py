"""Values that shells and option parsers trip over arrive in a container as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import runyard as run
from docker_engine import IMAGE, Engine
from runyard.packagers import Packager

ODD = "two  words, 'one' \"two\" `id` $(id) $HOME; \\n\nand a line = é"


def test_values_arrive_as_they_are(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of folders, of variables in either case, their values, labels, and arguments."""
    work = tmp_path / "it's $HOME, really"
    work.mkdir()
    (work / "data").write_text("from the folder")
    monkeypatch.chdir(work)
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "a home; of 'mine'"))
    executor = run.DockerExecutor(
        container_image=IMAGE,
        packager=Packager(),
        network="none",
        volumes=[f"{work}:/mnt/two words, $HOME:ro"],
        env_vars={"odd": ODD, "http_proxy": "lower"},
        additional_kwargs={"labels": {"odd": ODD}},
    )
    task = run.Script(
        inline="import json, os, sys\n"
        "data = open('/mnt/two words, $HOME/data').read()\n"
        "print(json.dumps([data, os.environ['odd'], os.environ['http_proxy'], sys.argv[1:], os.getcwd()]))\n",
        entrypoint="python",
        args=[ODD, ""],
    )
    done = run.run(task, executor, name="task", tail_logs=False)
    assert done is not None
    assert json.loads(done.log_path.read_text()) == ["from the folder", ODD, "lower", [ODD, ""], str(work)]


def test_short_tasks_lose_no_output(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers that end at once, several at a time, and one that says much and ends."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    executor = run.DockerExecutor(container_image=IMAGE, packager=Packager(), network="none", max_parallel=4)
    exp = run.Experiment("short", executor, clean_mode=True)
    for i in range(4):
        exp.add(run.Script(inline=f"echo said {i}"), name=f"task-{i}")
    exp.add(run.Script(inline="seq 200000"), name="much")
    done = exp.run()
    assert [done[f"task-{i}"].log_path.read_text() for i in range(4)] == [f"said {i}\n" for i in range(4)]
    assert done["much"].log_path.read_text() == "".join(f"{n}\n" for n in range(1, 200001))
