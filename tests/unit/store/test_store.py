"""The store: schema, leases, look-ups, folders."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runyard.errors import LeaseLost, StoreError, UnknownExperiment
from runyard.journal import on_network
from runyard.states import JobState, Status
from runyard.store import layout, lease, records
from runyard.store.db import Database
from runyard.store.migrations import STEPS
from runyard.store.records import Change

ME = lease.Owner("here", "1@1.boot")
OTHER = lease.Owner("here", "2@1.boot")
FAR = lease.Owner("elsewhere", "1@1.boot")


@pytest.fixture
def db(tmp_path: Path):
    with Database(tmp_path / "home") as db:
        yield db


def create(db: Database, id: str, title: str = "t", created: float = 1.0, jobs: tuple[str, ...] = ("a", "b")) -> None:
    rows = [(name, {}, {}, "") for name in jobs]
    records.create(db, id=id, title=title, created=created, folder=f"experiments/{title}/{id}", facts={}, jobs=rows)


# -- schema ----------------------------------------------------------------------------------------


def test_a_new_store_is_private_and_current(tmp_path: Path) -> None:
    home = tmp_path / "a" / "b"
    with Database(home) as db:
        assert db.rows("PRAGMA user_version")[0][0] == len(STEPS)
        assert db.rows("PRAGMA journal_mode")[0][0] == "wal"
        assert db.rows("PRAGMA integrity_check")[0][0] == "ok"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "runyard.db").stat().st_mode) == 0o600


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    with Database(tmp_path) as db:
        create(db, "t_1")
    with Database(tmp_path) as db:
        assert records.count(db) == 1


def test_a_migration_that_died_halfway_left_nothing(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "runyard.db") as con:
        con.execute("CREATE TABLE jobs (a)")  # in the way of the first step
    con.close()
    with pytest.raises(StoreError):
        Database(tmp_path)
    with sqlite3.connect(tmp_path / "runyard.db") as con:
        names = [r[0] for r in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        version = con.execute("PRAGMA user_version").fetchone()[0]
    con.close()
    assert (names, version) == (["jobs"], 0)


def test_many_that_make_the_store_at_once(tmp_path: Path) -> None:
    problems: list[Exception] = []

    def use(number: int) -> None:
        try:
            with Database(tmp_path / "home") as db:
                create(db, f"t_{number}")
        except Exception as e:
            problems.append(e)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems
    with Database(tmp_path / "home") as db:
        assert records.count(db) == 12


def test_processes_that_make_the_store_at_once(tmp_path: Path) -> None:
    """SQLite refuses at once who finds another changing the journal's mode, however long it may wait otherwise."""
    code = (
        "import pathlib, sys, time; from runyard.store.db import Database\n"
        "for n in range(25):\n"
        "    time.sleep(max(0, float(sys.argv[2]) + n / 20 - time.time()))\n"
        "    Database(pathlib.Path(sys.argv[1], str(n))).close()"
    )
    words = [sys.executable, "-c", code, str(tmp_path), str(time.time() + 1)]
    several = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate(timeout=60)[1] for process in several]
    assert [process.returncode for process in several] == [0] * 4, said


def test_reading_does_not_make_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        Database(tmp_path / "home", create=False)
    assert not (tmp_path / "home").exists()


def test_the_kernel_says_which_file_systems_are_remote() -> None:
    assert not on_network(Path("/proc"))
    assert not on_network(Path("/no/such/folder"))


# -- leases ----------------------------------------------------------------------------------------


def test_one_holder_at_a_time(db: Database) -> None:
    create(db, "t_1")
    assert lease.acquire(db, "t_1", ME, lambda _: True) == 1
    assert lease.held(db, "t_1", OTHER, lambda _: True)
    assert lease.acquire(db, "t_1", OTHER, lambda _: True) is None
    assert lease.acquire(db, "t_1", OTHER, lambda _: False) == 2, "the holder is dead"
    lease.release(db, "t_1", 1)
    assert lease.held(db, "t_1", ME, lambda _: True), "an old epoch releases nothing"
    lease.release(db, "t_1", 2)
    assert not lease.held(db, "t_1", ME, lambda _: True)
    assert lease.acquire(db, "t_1", ME, lambda _: True) == 3, "epochs only grow"


def test_a_holder_elsewhere_is_judged_by_its_beat(db: Database) -> None:
    create(db, "t_1")
    epoch = lease.acquire(db, "t_1", FAR, lambda _: True)
    assert epoch is not None
    assert lease.acquire(db, "t_1", ME, lambda _: False) is None, "its process is not ours to judge"
    db.run("UPDATE experiments SET lease_beat = ?", (time.time() - lease.STALE_SECONDS - 1,))
    lease.beat(db, "t_1", epoch - 1)
    assert lease.acquire(db, "t_1", ME, lambda _: True) == epoch + 1
    lease.beat(db, "t_1", epoch)
    assert not lease.held(db, "t_1", ME, lambda _: True)


def test_an_unknown_experiment_has_no_lease(db: Database) -> None:
    assert lease.acquire(db, "gone", ME, lambda _: True) is None
    assert not lease.held(db, "gone", ME, lambda _: True)


def test_of_many_that_ask_at_once_one_gets_it(tmp_path: Path) -> None:
    with Database(tmp_path) as db:
        create(db, "t_1")
    got: list[int | None] = []

    def ask(number: int) -> None:
        with Database(tmp_path) as mine:
            got.append(lease.acquire(mine, "t_1", lease.Owner("here", str(number)), lambda _: True))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(str, got)) == ["1"] + ["None"] * 7


# -- changes ---------------------------------------------------------------------------------------


def test_changes_are_written_as_a_whole_or_not_at_all(db: Database) -> None:
    create(db, "t_1")
    epoch = lease.acquire(db, "t_1", ME, lambda _: True)
    assert epoch == 1
    done = Status(JobState.SUCCEEDED, exit_code=0, started=1.0, ended=2.0)
    for wrong in (0, 2):
        with pytest.raises(LeaseLost):
            records.apply(db, "t_1", wrong, [Change("a", done)])
    assert records.experiment(db, "t_1").live == 2
    assert not records.events(db, "t_1")
    records.apply(db, "t_1", epoch, [Change("a", done, handle=("k", "c", "1", "f"))], now=5.0)
    job = records.jobs(db, "t_1")[0]
    assert (job.status, job.handle) == (done, ["k", "c", "1", "f"])
    assert [(e.name, e.state, e.at) for e in records.events(db, "t_1")] == [("a", JobState.SUCCEEDED, 5.0)]
    assert [(a.name, a.attempt) for a in records.attempts(db, "t_1")] == [("a", 1)]
    assert records.experiment(db, "t_1").live == 1
    records.apply(db, "t_1", epoch, [Change("b", Status(JobState.SKIPPED))])
    assert records.experiment(db, "t_1").live == 0
    assert len(records.attempts(db, "t_1")) == 1, "a skipped task made no attempt"


def test_a_removed_experiment_takes_no_changes(db: Database) -> None:
    create(db, "t_1")
    lease.acquire(db, "t_1", ME, lambda _: True)
    records.remove(db, "t_1")
    with pytest.raises(LeaseLost, match="removed"):
        records.apply(db, "t_1", 1, [Change("a", Status(JobState.RUNNING))])
    assert not db.rows("SELECT * FROM jobs")
    assert not db.rows("SELECT * FROM events")


def test_a_wish_to_stop_reaches_only_what_lives(db: Database) -> None:
    create(db, "t_1")
    lease.acquire(db, "t_1", ME, lambda _: True)
    records.apply(db, "t_1", 1, [Change("a", Status(JobState.SUCCEEDED))])
    records.request_stop(db, "t_1", ["a", "b", "unknown"])
    assert records.stops(db, "t_1") == {"b": "cancelled"}


# -- looking up ------------------------------------------------------------------------------------


def test_resolve(db: Database) -> None:
    create(db, "digits_100", "digits", 1.0)
    with pytest.raises(UnknownExperiment, match="no experiment"):
        records.resolve(db, "")
    create(db, "digits_200", "digits", 2.0)
    create(db, "digits-wide_150", "digits-wide", 3.0)
    create(db, "x%y_1", "x%y", 4.0)
    assert records.resolve(db, "digits_100") == "digits_100"
    assert records.resolve(db, "digits") == "digits_200", "a title is its latest run"
    assert records.resolve(db, "digits_1") == "digits_100"
    assert records.resolve(db, "digits-") == "digits-wide_150"
    assert records.resolve(db, "x%") == "x%y_1"
    for ref, needle in (
        ("dig", "fits several"),
        ("digits_", "fits several"),
        ("digit_", "no experiment"),
        ("%", "no exp"),
    ):
        with pytest.raises(UnknownExperiment, match=needle) as caught:
            records.resolve(db, ref)
        assert repr(ref) in str(caught.value)
        assert caught.value.hint
    with pytest.raises(UnknownExperiment, match="did you mean 'digits'"):
        records.resolve(db, "digts")


refs = st.text("ab_%\\1", min_size=1, max_size=5)


@given(st.sets(refs, min_size=1, max_size=6), refs)
@settings(max_examples=60, deadline=None)
def test_resolve_finds_a_prefix_exactly_when_it_is_unique(tmp_path_factory, ids: set[str], ref: str) -> None:
    with Database(tmp_path_factory.mktemp("home")) as db:
        for id in ids:
            create(db, id, title=f"title of {id}")
        fitting = [i for i in ids if i.startswith(ref)]
        if ref in ids or len(fitting) == 1:
            assert records.resolve(db, ref) == (ref if ref in ids else fitting[0])
        else:
            with pytest.raises(UnknownExperiment):
                records.resolve(db, ref)


def test_newest_first_and_counted(db: Database) -> None:
    for i in range(5):
        create(db, f"t_{i}", created=float(i))
    assert [e.id for e in records.experiments(db, limit=2)] == ["t_4", "t_3"]
    assert records.count(db, "t") == 5
    assert records.count(db, "other") == 0
    assert records.state_counts(db, ["t_0", "gone"]) == {"t_0": {JobState.CREATED: 2}, "gone": {}}


# -- folders ---------------------------------------------------------------------------------------


def test_a_folder_appears_as_a_whole(tmp_path: Path) -> None:
    folder = layout.folder_of("my title", "my-title_1")
    assert folder == "experiments/my-title/my-title_1"
    assert layout.reserve(tmp_path, folder)
    assert not layout.reserve(tmp_path, folder), "taken"
    layout.write(tmp_path, folder, [("a/b.txt", b"1"), ("attempts/", b"")])
    assert not (tmp_path / folder).exists()
    layout.publish(tmp_path, folder)
    layout.publish(tmp_path, folder)
    assert (tmp_path / folder / "a" / "b.txt").read_bytes() == b"1"
    assert (tmp_path / folder / "attempts").is_dir()
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "experiments").rglob("*")}
    assert modes == {0o700, 0o600}
    assert not layout.reserve(tmp_path, folder), "taken for good"
    layout.remove(tmp_path, folder)
    layout.remove(tmp_path, folder)
    assert not (tmp_path / "experiments" / "my-title").exists()


def test_a_recorded_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is gone") as caught:
        layout.publish(tmp_path, "experiments/t/t_1")
    assert "t_1" in caught.value.hint


def test_old_drafts_are_swept_and_young_or_recorded_ones_are_not(tmp_path: Path) -> None:
    for name in ("old", "young", "recorded"):
        assert layout.reserve(tmp_path, f"experiments/t/t_{name}")
    old = time.time() - layout.ORPHAN_SECONDS - 1
    for name in ("old", "recorded"):
        os.utime(tmp_path / f"experiments/t/.t_{name}.draft", (old, old))
    layout.sweep(tmp_path, "experiments/t", {"t_recorded"})
    assert sorted(p.name for p in (tmp_path / "experiments/t").iterdir()) == [".t_recorded.draft", ".t_young.draft"]


def test_event_lines_are_json() -> None:
    status = Status(JobState.FAILED, attempt=2, reason="exit code 3", exit_code=3, ended=5.5)
    assert json.loads(layout.event_line("a", status, 1.23456)) == {
        "at": 1.235,
        "task": "a",
        "attempt": 2,
        "state": "FAILED",
        "reason": "exit code 3",
        "exit_code": 3,
        "ended": 5.5,
    }
