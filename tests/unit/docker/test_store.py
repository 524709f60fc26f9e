"""The engine's store of code trees: its scripts, as helpers run them, on a folder of this machine."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from runyard.backends.docker import store as scripts
from runyard.backends.docker.helper import CACHE_DIR


class Store:
    """A folder that is treated as the engine's store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, script: str, *args: str, path: str = "") -> tuple[int, list[str]]:
        """Run a script, and return its exit code and what it printed."""
        script = script.replace(CACHE_DIR, str(self.folder))
        env = os.environ | {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", "-c", script, "sh", *args], capture_output=True, text=True, timeout=60, check=False, env=env
        )
        return done.returncode, done.stdout.split()

    def add(self, hash: str, token: str, text: str = "") -> None:
        """Bring a tree of one file."""
        assert self.run(scripts.PREPARE, f"{hash}.{token}", "")[0] == 0
        (self.folder / f"{hash}.{token}" / "file").write_text(text or token)
        assert self.run(scripts.FINISH, f"{hash}.{token}", hash)[0] == 0

    def names(self) -> set[str]:
        return set(os.listdir(self.folder))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "store").mkdir()
    return Store(tmp_path / "store")


def test_a_tree_is_brought_once(store: Store) -> None:
    assert store.run(scripts.PROBE, "aa") == (0, [])
    store.add("aa", "1")
    assert store.run(scripts.PROBE, "aa") == (0, ["have"])
    assert store.run(scripts.PROBE, "bb") == (0, ["aa"])
    # The helper ended before it could say so: it is run once more.
    assert store.run(scripts.FINISH, "aa.1", "aa")[0] == 0
    assert store.names() == {"aa.ok", "aa.1"}


def test_two_launches_bring_the_same_tree(store: Store) -> None:
    """The first one counts: others may be copying it."""
    assert store.run(scripts.PREPARE, "aa.2", "")[0] == 0
    store.add("aa", "1")
    assert store.run(scripts.FINISH, "aa.2", "aa")[0] == 0
    assert (store.folder / "aa.ok").read_text() == "aa.1\n"
    assert store.names() == {"aa.ok", "aa.1"}


def test_a_script_that_is_run_twice_leaves_the_same(store: Store) -> None:
    store.add("aa", "1")
    for _ in range(2):
        assert store.run(scripts.PREPARE, "bb.1", "aa")[0] == 0
        assert os.listdir(store.folder / "bb.1") == ["file"]
    (store.folder / "bb.1.gone").write_bytes(b"file\0-rf\0")
    for _ in range(2):
        assert store.run(scripts.REMOVE, "bb.1")[0] == 0
        assert os.listdir(store.folder / "bb.1") == []


def test_a_tree_that_is_removed_while_it_is_copied(store: Store, tmp_path: Path) -> None:
    """What was copied may lack files, though cp does not say so: it is not used."""
    store.add("aa", "1")
    cp = tmp_path / "bin" / "cp"
    cp.parent.mkdir()
    cp.write_text(f'#!/bin/sh\nrm {store.folder}/aa.ok\nexec {os.defpath.split(":")[-1]}/cp "$@"\n')
    cp.chmod(0o755)
    goal = tmp_path / "code" / "aa"
    owner = f"{os.getuid()}:{os.getgid()}"
    assert store.run(scripts.COPY, "aa", str(goal), owner, path=str(cp.parent))[0] == scripts._GONE
    assert os.listdir(goal.parent) == []
    assert store.run(scripts.PREPARE, "bb.1", "aa", path=str(cp.parent))[0] == scripts._GONE
    store.add("aa", "2", "new")
    assert store.run(scripts.COPY, "aa", str(goal), owner)[0] == 0
    assert (goal / "file").read_text() == "new"
    # A second one, of a process that knew nothing of the first, leaves alone what a task may be using.
    (goal / "file").write_text("written by the task")
    assert store.run(scripts.COPY, "aa", str(goal), owner)[0] == 0
    assert (goal / "file").read_text() == "written by the task"


def test_what_half_a_removal_leaves_is_not_used(store: Store, tmp_path: Path) -> None:
    """A helper that ended while it removed an old tree: the mark goes first."""
    store.add("aa", "1")
    (store.folder / "aa.ok").unlink()
    (store.folder / "aa.1" / "file").unlink()
    assert store.run(scripts.PROBE, "aa") == (0, [])
    store.add("aa", "2")
    goal = tmp_path / "goal"
    assert store.run(scripts.COPY, "aa", str(goal), f"{os.getuid()}:{os.getgid()}")[0] == 0
    assert (goal / "file").read_text() == "2"


def test_only_so_many_trees_are_kept_and_no_remains(store: Store) -> None:
    """What launches have left that died goes after a day; a stored tree does not, however old its files are."""
    for n in range(scripts.KEEP + 2):
        store.add(f"{n:02d}", "1")
        os.utime(store.folder / f"{n:02d}.ok", (n, n))
    old = time.time() - 2 * 86400
    for name in ("17.dead", "17.dead.gone", "17.1", "17.new"):
        (store.folder / name).mkdir(exist_ok=True)
        os.utime(store.folder / name, (old, old))
    os.utime(store.folder / "17.new", None)
    store.add("99", "1")
    kept = [*range(3, scripts.KEEP + 2), 99]
    assert store.names() == {f"{n:02d}.{end}" for n in kept for end in ("1", "ok")} | {"17.new"}


def test_cleaning(store: Store) -> None:
    """By the hashes of trees that nobody used within the hour, and what launches have left that died."""
    for hash in ("aaaa", "bbbb", "cccc"):
        store.add(hash, "1")
    for name, hours in (("aaaa.ok", 2), ("bbbb.ok", 2), ("dddd.dead", 48), ("dddd.new", 2)):
        (store.folder / name).exists() or (store.folder / name).mkdir()
        os.utime(store.folder / name, (time.time() - hours * 3600,) * 2)
    code, (trees, kept, others, lost) = store.run(scripts._USAGE)
    assert (code, trees, others) == (0, "3", "2")
    assert int(kept) >= 3 * int(lost) / 2
    before = store.names()
    assert store.run(scripts._CLEAN, "dry", "aaaa") == (0, ["./dddd.dead"])
    assert store.names() == before
    assert store.run(scripts._CLEAN, "", "aa", "cccc")[0] == 0
    assert before - store.names() == {"aaaa.ok", "aaaa.1", "dddd.dead"}
