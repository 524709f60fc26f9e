"""A store that cannot be used: errors in words, and nothing lost or half-written."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import processes
import runyard as run
from runyard.engine import controller
from runyard.errors import ConfigError, LeaseLost, RunyardError, StoreError
from runyard.states import JobState, Status
from runyard.store import lease, records
from runyard.store.db import Database
from runyard.store.records import Change

NOBODY = 65534


def refused(kind: type[RunyardError], function: Callable[[], object], *needles: str) -> None:
    with pytest.raises(kind) as caught:
        function()
    assert type(caught.value) is kind
    assert caught.value.exit_code == 2
    assert caught.value.hint, f"no remedy: {caught.value}"
    for needle in needles:
        assert needle in str(caught.value), f"{needle!r} is not in: {caught.value}"


def launch(title: str = "bad-store", text: str = "echo hello", detach: bool = False) -> run.Experiment:
    exp = run.Experiment(title, clean_mode=True, enable_goodbye_message=False)
    exp.add(run.Script(inline=text), name="task")
    exp.run(detach=detach)
    return exp


def command(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("runyard")), *words],
        env=processes.environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def as_nobody() -> Iterator[None]:
    """Lose the rights of root for a moment: root may write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as f:
        for size in (65536, 4096, 1):
            try:
                while True:
                    f.write(b"x" * size)
            except OSError:
                continue
    return filler


def test_a_full_disk_refuses_a_launch(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = small_disk / "home"
    monkeypatch.setenv("RUNYARD_HOME", str(home))
    first = launch()
    filler = fill(small_disk)
    before = {str(p) for p in home.rglob("*") if "runyard.db-" not in p.name}
    refused(StoreError, launch, str(home), "free disk space")
    assert {str(p) for p in home.rglob("*") if "runyard.db-" not in p.name} == before
    assert not processes.controllers(home)
    filler.unlink()
    assert run.Experiment.catalog() == [first.id], "what was there can still be read"


def test_a_full_disk_before_there_is_a_store(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(small_disk)
    home = small_disk / "home"
    monkeypatch.setenv("RUNYARD_HOME", str(home))
    refused(StoreError, launch, str(home), "free disk space")


def test_a_disk_that_fills_up(small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ended meanwhile is recorded when there is space again."""
    home = small_disk / "home"
    monkeypatch.setenv("RUNYARD_HOME", str(home))
    go, ran = tmp_path / "go", tmp_path / "ran"
    exp = run.Experiment("full", clean_mode=True)
    exp.add(run.Script(inline=f"while [ ! -e {go} ]; do sleep 0.05; done; echo first >> {ran}"), name="first")
    exp.add(run.Script(inline=f"echo second >> {ran}"), name="second", dependencies=["first"])
    exp.run(detach=True)
    processes.until(lambda: processes.states(home, exp.id)["first"] is JobState.RUNNING, "the first task's start")
    filler = fill(small_disk)
    go.touch()
    processes.until(lambda: processes.lines(ran), "the first task's end")
    processes.until(
        lambda: "full" in _text(home, "controller.log") or set(processes.states(home, exp.id).values()) != {1}, "a note"
    )
    filler.unlink()
    done = run.Experiment.from_id(exp.id).wait(raise_on_failure=False)
    assert done["first"].status.ended
    assert done["second"].status.ended
    assert processes.lines(ran) in (["first"], ["first", "second"])
    if done["first"].ok:
        assert processes.lines(ran) == ["first", "second"]


def _text(home: Path, name: str) -> str:
    return "".join(p.read_text() for p in home.glob(f"experiments/*/*/{name}"))


def test_home_is_a_file(home: Path) -> None:
    home.write_text("I am no folder")
    refused(StoreError, launch, str(home), "RUNYARD_HOME")
    assert home.read_text() == "I am no folder"


def test_home_of_a_user_whom_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNYARD_HOME", "~no-such-user/records")
    refused(ConfigError, launch, "~no-such-user/records", "RUNYARD_HOME", "absolute path")


def test_home_lies_below_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "file" / "home"))
    refused(StoreError, launch, str(tmp_path / "file"), "RUNYARD_HOME")


def test_home_is_not_writable(home: Path) -> None:
    first = launch()
    os.chmod(home, 0o500)
    for path in home.rglob("*"):
        os.chown(path, NOBODY, NOBODY)
    os.chown(home, NOBODY, NOBODY)
    try:
        with as_nobody():
            refused(StoreError, launch, str(home), "RUNYARD_HOME")
    finally:
        os.chmod(home, 0o700)
    assert run.Experiment.catalog() == [first.id]


def test_an_unreadable_store(home: Path) -> None:
    first = launch()
    for path in home.glob("runyard.db*"):
        os.chmod(path, 0)
    os.chmod(home, 0o755)
    with as_nobody():
        refused(StoreError, run.Experiment.catalog, str(home / "runyard.db"), "writable for you")
    for path in home.glob("runyard.db*"):
        os.chmod(path, 0o600)
    assert run.Experiment.catalog() == [first.id]


def test_a_folder_for_a_store(home: Path) -> None:
    (home / "runyard.db").mkdir(parents=True)
    refused(StoreError, run.Experiment.catalog, str(home / "runyard.db"))


@pytest.mark.parametrize("content", [b"this is no database at all, but a text of some length" * 40, b"\0" * 5000])
def test_a_damaged_store(home: Path, content: bytes) -> None:
    home.mkdir()
    (home / "runyard.db").write_bytes(content)
    refused(StoreError, launch, str(home / "runyard.db"), "runyard doctor --rebuild")
    assert (home / "runyard.db").read_bytes() == content, "what could perhaps be mended was overwritten"
    assert not list(home.glob("experiments/*/*"))


def test_a_truncated_store(home: Path) -> None:
    exp = launch()
    with Database(home) as db:
        db.run("PRAGMA wal_checkpoint(TRUNCATE)")
    for path in home.glob("runyard.db-*"):
        path.unlink()
    path = home / "runyard.db"
    path.write_bytes(path.read_bytes()[:9000])
    refused(StoreError, lambda: run.Experiment.from_id(exp.id), str(path), "runyard doctor --rebuild")


def test_a_newer_store(home: Path) -> None:
    launch()
    with sqlite3.connect(home / "runyard.db") as con:
        con.execute("PRAGMA user_version = 999")
    con.close()
    refused(StoreError, launch, str(home / "runyard.db"), "999", "upgrade Runyard", "RUNYARD_HOME")
    assert len(list(home.glob("experiments/*/*"))) == 1
    told = command("experiment", "list", home=home)
    assert told.returncode == 2
    assert "upgrade Runyard" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize(
    ("column", "value"),
    [("spec", "{"), ("status", "[1]"), ("status", '{"warp": 9}'), ("state", "FLYING"), ("request", "")],
)
def test_a_corrupt_record(home: Path, column: str, value: str) -> None:
    exp = launch()
    other = launch("other")
    with Database(home) as db:
        db.run(f"UPDATE jobs SET {column} = ? WHERE experiment = ?", (value, exp.id))
    refused(StoreError, run.Experiment.from_id(exp.id).status, exp.id, "task", "runyard doctor --rebuild")
    told = command("experiment", "status", exp.id, home=home)
    assert (told.returncode, "Traceback" in told.stderr) == (2, False), told.stderr
    assert run.Experiment.from_id(other.id).jobs[0].status is JobState.SUCCEEDED, "another experiment suffers"
    assert command("experiment", "list", home=home).returncode == 0


def test_a_corrupt_experiment(home: Path) -> None:
    exp = launch()
    with Database(home) as db:
        db.run("UPDATE experiments SET facts = 'x' WHERE id = ?", (exp.id,))
    refused(StoreError, lambda: run.Experiment.from_id(exp.id), exp.id, "runyard doctor --rebuild")


def test_a_rerun_of_damaged_files(home: Path) -> None:
    exp = launch()
    (found,) = home.glob("experiments/*/*/task/job.json")
    found.write_text(found.read_text()[:50])
    refused(StoreError, run.Experiment.from_id(exp.id).reset, "'task'", str(found.parent))


def test_a_rerun_of_files_that_are_gone(home: Path) -> None:
    exp = launch()
    shutil.rmtree(home / "experiments")
    refused(StoreError, run.Experiment.from_id(exp.id).reset, "'task'", str(home / "experiments"))


def test_half_written_files_of_the_job_are_no_result(home: Path) -> None:
    """A result that is cut off counts as none; the process itself still tells how it ended."""
    exp = launch(text='printf "" > "$RUNYARD_JOB_DIR/attempts/1/rc"; exit 0')
    assert run.Experiment.from_id(exp.id).jobs[0].status is JobState.SUCCEEDED


def test_two_drivers_of_one_experiment(home: Path, tmp_path: Path) -> None:
    """The second gets no lease while the first lives; a write of an old lease changes nothing."""
    go = tmp_path / "go"
    exp = launch(text=f"while [ ! -e {go} ]; do sleep 0.05; done", detach=True)
    with Database(home) as db:
        processes.until(lambda: lease.held(db, exp.id, controller.me(), controller.is_alive), "a driver")
        assert lease.acquire(db, exp.id, controller.me(), controller.is_alive) is None
        go.touch()
        processes.until(lambda: processes.states(home, exp.id)["task"].ended, "the end")
        before = records.jobs(db, exp.id), records.events(db, exp.id), records.attempts(db, exp.id)
        late = Change("task", Status(JobState.FAILED, reason="says an old driver"))
        refused(LeaseLost, lambda: records.apply(db, exp.id, 0, [late]), exp.id, "runyard experiment status")
        assert (records.jobs(db, exp.id), records.events(db, exp.id), records.attempts(db, exp.id)) == before


def test_two_processes_that_follow_one_experiment(home: Path, tmp_path: Path) -> None:
    """Both see it end; one cancels while the other waits."""
    exp = launch(text="exec sleep 300", detach=True)
    program = (
        f"import runyard as run; print(run.Experiment.from_id({exp.id!r}).wait(raise_on_failure=False)['task'].status)"
    )
    waiting = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=processes.environment(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    try:
        processes.until(lambda: processes.states(home, exp.id)["task"] is JobState.RUNNING, "its start")
        run.Experiment.from_id(exp.id).cancel()
        assert [p.communicate(timeout=60)[0] for p in waiting] == [b"CANCELLED\n"] * 2
    finally:
        for process in waiting:
            processes.end(process)


def test_the_same_id_twice(home: Path) -> None:
    exp = launch()
    with Database(home) as db:
        row = records.experiment(db, exp.id)
        facts = {"id": exp.id, "title": "x", "created": 1.0, "folder": row.folder, "facts": {}}
        refused(StoreError, lambda: records.create(db, **facts, jobs=[]), exp.id, "launch again")
        assert records.experiment(db, exp.id) == row


def test_an_experiment_that_is_removed_while_it_runs_is_refused(home: Path) -> None:
    exp = launch(text="exec sleep 300", detach=True)
    told = command("experiment", "rm", "--yes", exp.id, home=home)
    assert told.returncode == 2, told.stdout + told.stderr
    assert "cancel" in told.stderr
    exp.cancel()


@pytest.mark.parametrize("verb", ["status", "logs", "cancel", "show", "rerun"])
def test_commands_name_what_they_do_not_know(home: Path, verb: str) -> None:
    launch("digits")
    told = command("experiment", verb, "digist", home=home)
    assert told.returncode == 2, told.stdout + told.stderr
    assert "'digist'" in told.stderr
    assert "did you mean 'digits'?" in told.stderr
    assert "Traceback" not in told.stderr


def test_records_can_be_read_by_any_json_reader(home: Path) -> None:
    exp = launch()
    with Database(home) as db:
        (job,) = records.jobs(db, exp.id)
    assert json.loads(json.dumps(dict(job.spec))) == job.spec
