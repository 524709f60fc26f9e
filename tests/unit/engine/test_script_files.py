"""Texts that travel with a script: in its folder, in the request, in groups, and with reruns."""

from __future__ import annotations

from pathlib import Path

import pytest

import runyard as run
from runyard.engine import launch, replay
from runyard.engine.plan import Entry
from runyard.errors import ConfigError
from runyard.store.db import Database
from runyard.testing.conformance import Harness


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    harness = Harness(run.LocalExecutor, tmp_path)
    yield harness
    harness.end_everything()


def shows(text: str) -> run.Script:
    words = [run.Script.file("a.txt"), f"--a={run.Script.file('a.txt')}", "${runyard_job}/x"]
    return run.Script(inline='cat "$1"; cat "${2#--a=}"', args=words, files={"a.txt": text})


def test_a_file_is_where_its_argument_says_also_in_a_group(harness: Harness) -> None:
    exp = harness.experiment()
    exp.add(shows("one\n"), name="single")
    exp.add([shows("two\n"), shows("three é\n")], name="pair")
    exp.run()
    folder = Path(exp.status(return_dict=True)["single"]["local_dir"])
    assert (folder / "a.txt").read_text() == "one\n"
    assert (folder / "attempts/1/log").read_text() == "one\none\n"
    logs = sorted(p.read_text() for p in folder.parent.glob("pair/attempts/1/*/log"))
    assert logs == ["three é\nthree é\n", "two\ntwo\n"]
    with Database(harness.home) as db:
        entries = replay.entries(db, exp.id)
    assert [t.files["a.txt"] for e in entries for t in e.tasks] == ["one\n", "two\n", "three é\n"]


def plan_of(task: run.Script, **env: str):
    def entries(id: str) -> list[Entry]:
        return [Entry("t", (task,), (run.LocalExecutor(env_vars=env),))]

    return launch.preview(Path("/nowhere"), "t", 1, entries)[1][0]


def test_the_request_of_a_dry_run_holds_them() -> None:
    planned = plan_of(shows("text"))
    assert planned.request.files["a.txt"] == "text"
    assert planned.files["a.txt"] == b"text"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: run.Script("x", files={"../a": ""}), "'../a'"),
        (lambda: run.Script("x", files={"a": 1}), "is no text"),
        (lambda: plan_of(run.Script(inline="true", files={"task.yaml": ""})), "task.yaml, which is a file of Runyard"),
        (lambda: plan_of(run.Script(inline="true", files={"attempts": ""})), "attempts"),
        (lambda: plan_of(run.Script(inline="true", files={"pulled": ""})), "pulled, which is a file of Runyard"),
        (lambda: plan_of(run.Script(inline="true", args=[run.Script.file("b")])), "not in Script.files"),
        (lambda: plan_of(run.Script(inline="true", files={"a": "is hunter22"}), MY_TOKEN="hunter22"), "MY_TOKEN"),
    ],
)
def test_what_cannot_be_is_refused(make, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()
