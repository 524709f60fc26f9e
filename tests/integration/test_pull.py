"""Pulling from tasks that ran on this machine."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

import runyard as run
from runyard.errors import ConfigError, RunyardError

WRITE = (
    'cd "$RUNYARD_OUTPUT_DIR"; mkdir -p d; echo $RUNYARD_ATTEMPT > a.txt; echo b > d/.b; ln -s d/.b last; ln -s / up'
)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home, and a folder to launch from."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))


def launch(inline: str, **fields: object) -> tuple[run.Experiment, Path]:
    """Run a task; return its experiment and the folder of its attempts."""
    exp = run.Experiment("local", run.LocalExecutor(**fields), skip_status_at_exit=True)  # type: ignore[arg-type]
    exp.add(run.Script(inline=inline), name="task")
    exp.run(raise_on_failure=False)
    return exp, Path(exp.jobs[0].local_dir, "attempts")


def test_outputs_stay_where_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    exp, attempts = launch(WRITE)
    output = attempts / "1" / "output"
    assert exp.pull("task") == [output / n for n in ("a.txt", "d/.b", "last", "up")]
    assert exp.pull("0", "d") == [output / "d/.b"]
    assert exp.pull("task", ["*.txt", "last"]) == [output / "a.txt", output / "last"]
    assert f"4 files in {output}, where the task wrote them\n" in capfd.readouterr().err
    assert run.Experiment.from_id(exp.id).pull("task", "a.txt") == [output / "a.txt"]


def test_into_copies_what_is_new(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    exp, attempts = launch(WRITE)
    into = tmp_path / "results"
    wanted = [into / n for n in ("a.txt", "d/.b", "last")]
    assert exp.pull("task", into=into) == wanted
    said = capfd.readouterr().err
    assert "pulled 3 of 3 files, 4 B\n" in said
    assert "warning: left out: a link that leads out of the folder: up\n" in said
    assert os.readlink(into / "last") == "d/.b"
    assert exp.pull("task", into=str(into)) == wanted
    assert "pulled 0 of 3 files, 0 B; 3 were here already\n" in capfd.readouterr().err
    (attempts / "1/output/a.txt").write_text("2\n")
    assert exp.pull("task", into=into) == wanted
    assert "pulled 1 of 3 files, 2 B; 2 were here already\n" in capfd.readouterr().err
    assert (into / "a.txt").read_text() == "2\n"


def test_relative_folders_are_those_of_the_caller(tmp_path: Path) -> None:
    exp, _ = launch(WRITE)
    assert exp.pull("task", "a.txt", into="out") == [tmp_path / "work" / "out" / "a.txt"]


def test_attempts() -> None:
    exp, attempts = launch(f"{WRITE}; [ $RUNYARD_ATTEMPT = 2 ]", retries=1)
    assert exp.pull("task", "a.txt") == [attempts / "2/output/a.txt"]
    assert exp.pull("task", "a.txt", attempt=1)[0].read_text() == "1\n"
    with pytest.raises(ConfigError, match="no attempt 3") as e:
        exp.pull("task", attempt=3)
    assert "it has 1, 2" in e.value.hint


def test_the_working_directory_comes_second(tmp_path: Path) -> None:
    """The code tree of a task with code, else the folder of the launch."""
    subprocess.run(["git", "init", "-q", "."], check=True)
    Path("kept").write_text("shipped")
    exp, attempts = launch("mkdir -p runs/a; echo r > runs/a/r; echo k > $RUNYARD_OUTPUT_DIR/kept", packager=git())
    (found,) = exp.pull("task", "runs/**")
    assert found.relative_to(attempts.parent.parent / ".code").parts[1:] == ("runs", "a", "r")
    assert exp.pull("task", "runs", into="copied") == [tmp_path / "work" / "copied" / "runs/a/r"]
    assert exp.pull("task", "kept") == [attempts / "1/output/kept"], "outputs come first"

    plain, _ = launch("echo x > here.txt", packager=run.Packager())
    assert plain.pull("task", "here.*") == [tmp_path / "work" / "here.txt"]


def git() -> run.Packager:
    return run.GitArchivePackager()


def test_what_matches_nothing_is_told_with_the_folders_and_a_near_name(tmp_path: Path) -> None:
    exp, attempts = launch(f"{WRITE}; mkdir outputs", packager=run.Packager())
    with pytest.raises(ConfigError) as e:
        exp.pull("task", "d/b")
    assert f"its output folder {attempts}/1/output" in str(e.value)
    assert f"its working directory {tmp_path}/work" in str(e.value)
    assert e.value.hint == "did you mean d/.b?"
    with pytest.raises(ConfigError, match="leads out"):
        exp.pull("task", "/etc/*")
    with pytest.raises(ConfigError, match="no task 'tsk'"):
        exp.pull("tsk")


def test_a_task_without_output_has_none(capfd: pytest.CaptureFixture[str]) -> None:
    exp, attempts = launch("true")
    assert exp.pull("task") == []
    assert exp.pull("task", into="out") == []
    assert f"nothing to pull from {attempts}/1/output\n" in capfd.readouterr().err
    assert not Path("out").exists()


def test_a_running_task(tmp_path: Path) -> None:
    exp = run.Experiment("local", run.LocalExecutor())
    inline = f'cd "$RUNYARD_OUTPUT_DIR"; echo 1 > a; until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo 2 > b'
    exp.add(run.Script(inline=inline), name="task")
    exp.run(detach=True)
    try:
        until = time.monotonic() + 60
        while not [p for p in exp.pull("task", into="out") if p.read_text()]:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert [p.name for p in exp.pull("task", into="out")] == ["a"]
    finally:
        (tmp_path / "go").touch()
        exp.wait()
    assert [p.name for p in exp.pull("task", into="out")] == ["a", "b"]


def test_a_group_shares_its_output_and_has_several_working_directories() -> None:
    exp = run.Experiment("local", run.LocalExecutor(), skip_status_at_exit=True)
    tasks = [run.Script(inline=f"echo {n} > $RUNYARD_OUTPUT_DIR/{n}") for n in "xy"]
    exp.add(tasks, name="task")
    exp.run()
    assert [p.name for p in exp.pull("task")] == ["x", "y"]


def test_nowhere_to_write_is_told() -> None:
    exp, _ = launch(WRITE)
    Path("file").touch()
    for into in ("file", "file/below"):
        with pytest.raises(RunyardError, match="file") as e:
            exp.pull("task", into=into)
        assert e.value.hint
