"""Tasks that depend on tasks of earlier experiments."""

from __future__ import annotations

from pathlib import Path

import pytest

import processes
import runyard as run
from runyard.engine import record
from runyard.errors import ConfigError, UnknownExperiment
from runyard.states import JobState
from runyard.store.db import Database


def experiment(home: Path, title: str, **fields: object) -> run.Experiment:
    executor = run.LocalExecutor(**fields)  # type: ignore[arg-type]
    return run.Experiment(title, executor, base_dir=home, clean_mode=True, skip_status_at_exit=True)


def says(home: Path, name: str, then: str = "") -> run.Script:
    return run.Script(inline=f"echo {name} >> {home}/proof\n{then}")


def waits(home: Path) -> str:
    return f"i=0; while [ ! -e {home}/go ] && [ $i -lt 3000 ]; do sleep 0.1; i=$((i+1)); done; "


def test_a_task_waits_for_another_experiments(tmp_path: Path) -> None:
    first = experiment(tmp_path, "first")
    first.add(says(tmp_path, "train", waits(tmp_path) + f"echo trained >> {tmp_path}/proof"), name="train")
    first.run(detach=True)
    second = experiment(tmp_path, "second")
    second.add(says(tmp_path, "evaluate"), name="evaluate", dependencies=[first.handle("train")])
    second.add(says(tmp_path, "report"), name="report", dependencies=["evaluate"])
    second.run(detach=True)
    processes.until(lambda: processes.lines(tmp_path / "proof"), "the start of the first")
    (tmp_path / "go").touch()
    assert all(r.ok for r in second.wait().values())
    assert processes.lines(tmp_path / "proof") == ["train", "trained", "evaluate", "report"]


def test_what_can_never_start_is_skipped(tmp_path: Path) -> None:
    first = experiment(tmp_path, "first")
    first.add(says(tmp_path, "bad", "exit 3"), name="bad")
    first.run(raise_on_failure=False)
    second = experiment(tmp_path, "second")
    second.add(says(tmp_path, "next"), name="next", dependencies=[first.handle("bad")])
    result = second.run(raise_on_failure=False)["next"]
    assert result.status is JobState.SKIPPED
    assert f"{first.id}/bad" in result.reason
    anyway = experiment(tmp_path, "third", dependency_type="afterany")
    anyway.add(says(tmp_path, "cleans"), name="cleans", dependencies=[first.handle("bad")])
    assert anyway.run()["cleans"].ok
    assert processes.lines(tmp_path / "proof") == ["bad", "cleans"]


def test_run_after_holds_back_the_first_tasks(tmp_path: Path) -> None:
    first = experiment(tmp_path, "first")
    for name in ("a", "b"):
        first.add(says(tmp_path, name, waits(tmp_path)), name=name)
    first.run(detach=True)
    second = experiment(tmp_path, "second")
    second.add(says(tmp_path, "c"), name="c")
    second.add(says(tmp_path, "d"), name="d", dependencies=["c"])
    second.run(detach=True, run_after="first")
    processes.until(lambda: len(processes.lines(tmp_path / "proof")) == 2, "the first experiment")
    (tmp_path / "go").touch()
    assert all(r.ok for r in second.wait().values())
    assert processes.lines(tmp_path / "proof")[2:] == ["c", "d"]
    assert second.reset().run()["d"].ok  # again, after what has ended long ago


def test_mistakes_are_named(tmp_path: Path) -> None:
    first = experiment(tmp_path, "first")
    first.add(says(tmp_path, "train"), name="train")
    with pytest.raises(ConfigError, match="was not launched yet"):
        first.handle("train")
    first.run()
    second = experiment(tmp_path, "second")
    second.add(says(tmp_path, "next"), name="next", dependencies=[first.handle("train") + "x"])
    with pytest.raises(ConfigError, match=f"did you mean '{first.id}/train'"):
        second.run()
    with pytest.raises(UnknownExperiment, match="nothing-like-it"):
        experiment(tmp_path, "third").run(run_after="nothing-like-it")
    assert len(list(tmp_path.glob("experiments/*/*"))) == 1


def test_what_has_succeeded_counts_when_its_record_is_removed(tmp_path: Path) -> None:
    first = experiment(tmp_path, "first")
    first.add(says(tmp_path, "train"), name="train")
    first.run()
    second = experiment(tmp_path, "second")
    second.add(says(tmp_path, "next", waits(tmp_path)), name="next")
    second.add(says(tmp_path, "last"), name="last", dependencies=["next", first.handle("train")])
    second.run(detach=True)
    processes.until(lambda: len(processes.lines(tmp_path / "proof")) == 2, "the second experiment")
    with Database(tmp_path) as db:
        record.remove(db, tmp_path, first.id)
    (tmp_path / "go").touch()
    assert all(r.ok for r in second.wait().values())
