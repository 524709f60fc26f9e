"""A store in a local folder: materialise, damage, limits, clean-up."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from runyard.errors import PackagingError
from runyard.snapshots.listing import CodeInfo
from runyard.snapshots.local import LocalStore, remove_tree
from runyard.snapshots.manifest import Entry, tree_hash
from runyard.snapshots.snapshot import Snapshot

from .conftest import NOBODY, as_nobody, assert_same, small_disk, take


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def many_equal(top: Path, count: int) -> Snapshot:
    """Return a snapshot of ``count`` equal files, without making them all."""
    top.mkdir(exist_ok=True)
    (top / "one").write_text("equal\n")
    snapshot = take(top)
    (first,) = snapshot.entries
    entries = tuple(Entry(f"d{n // 1000}/f{n:06d}", "f", first.size, first.value) for n in range(count))
    ordered = tuple(sorted(entries))
    return Snapshot(ordered, tree_hash(ordered), CodeInfo(), folder=snapshot.folder)


def test_linked_trees_share_objects(tree: Path, store: LocalStore, tmp_path: Path) -> None:
    snapshot = take(tree)
    first = store.materialise(snapshot, tmp_path / "e1/code", root_safe=False)
    second = store.materialise(snapshot, tmp_path / "e2/code", root_safe=False)
    for made in (first, second):
        assert_same(made.path, tree)
    # pkg/a.py and pkg/same.py are one object; the empty file is none.
    assert (first.linked, first.copied, first.new_objects) == (5, 0, 4)
    assert (second.linked, second.new_objects) == (5, 0)
    a1, a2 = tmp_path / "e1/code/pkg/a.py", tmp_path / "e2/code/pkg/a.py"
    assert a1.stat().st_ino == a2.stat().st_ino
    assert a1.stat().st_mode & 0o777 == 0o444
    assert (tmp_path / "e1/code/run.sh").stat().st_mode & 0o777 == 0o555
    assert (tmp_path / "e1/code/pkg").stat().st_mode & 0o700 == 0o700
    empties = {(tmp_path / f"{e}/code/pkg/__init__.py").stat().st_ino for e in ("e1", "e2")}
    assert len(empties) == 2
    assert store.missing(snapshot) == []


def test_a_tree_that_exists_is_left_alone(tree: Path, store: LocalStore, tmp_path: Path) -> None:
    snapshot = take(tree)
    store.materialise(snapshot, tmp_path / "code")
    (tmp_path / "code/output.txt").write_text("the job's")
    again = store.materialise(snapshot, tmp_path / "code")
    assert again.existed
    assert (tmp_path / "code/output.txt").exists()


def test_executable_and_plain_files_of_one_content_do_not_mix(store: LocalStore, tmp_path: Path) -> None:
    top = tmp_path / "t"
    top.mkdir()
    (top / "plain").write_text("same")
    (top / "tool").write_text("same")
    (top / "tool").chmod(0o755)
    made = store.materialise(take(top), tmp_path / "code", root_safe=False)
    assert not os.stat(made.path / "plain").st_mode & 0o111
    assert os.stat(made.path / "tool").st_mode & 0o111


def test_a_job_that_runs_as_root_damages_only_its_own_tree(tree: Path, store: LocalStore, tmp_path: Path) -> None:
    snapshot = take(tree)
    store.materialise(snapshot, tmp_path / "linked", root_safe=False)
    made = store.materialise(snapshot, tmp_path / "own", root_safe=True)
    assert (made.linked, made.copied) == (0, 5)
    with open(tmp_path / "own/pkg/a.py", "a") as file:
        file.write("damage")
    assert (tmp_path / "linked/pkg/a.py").read_text() == "a = 1\n"
    assert store.verify() == []
    assert_same(store.materialise(snapshot, tmp_path / "next", root_safe=True).path, tree)


def test_copies_are_the_default_for_root(tree: Path, store: LocalStore, tmp_path: Path) -> None:
    made = store.materialise(take(tree), tmp_path / "code")
    assert (made.linked == 0) == (os.geteuid() == 0)


def test_an_ordinary_user_cannot_change_a_linked_file(tree: Path) -> None:
    with as_nobody() as folder:
        subprocess.run(["cp", "-r", str(tree), str(folder / "t")], check=False)
        (folder / "t").mkdir(exist_ok=True)
        (folder / "t/a.py").write_text("a = 1\n")
        os.environ["RUNYARD_HOME"] = str(folder / "records")
        made = LocalStore(folder / "store").materialise(take(folder / "t"), folder / "code")
        assert made.linked >= 1
        with pytest.raises(PermissionError):
            (made.path / "a.py").write_text("damage")
        (made.path / "out.txt").write_text("folders are writable")


@pytest.mark.parametrize("content", [b"", b"short", b"a = 1\nlonger"])
def test_an_object_of_a_wrong_size_is_replaced(tree: Path, store: LocalStore, tmp_path: Path, content: bytes) -> None:
    snapshot = take(tree)
    entry = next(e for e in snapshot if e.path == "pkg/a.py")
    path = store.root / "objects" / entry.key
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert entry.key in {e.key for e in store.missing(snapshot)}
    made = store.materialise(snapshot, tmp_path / "code", root_safe=False)
    assert made.replaced == [entry.key]
    assert_same(made.path, tree)
    assert store.missing(snapshot) == []


def test_verify_finds_damage_of_equal_size_and_repairs(tree: Path, store: LocalStore, tmp_path: Path) -> None:
    snapshot = take(tree)
    made = store.materialise(snapshot, tmp_path / "code", root_safe=False)
    entry = next(e for e in snapshot if e.path == "run.sh")
    path = made.path / "run.sh"
    path.chmod(0o755)
    path.write_text("#!/bin/SH\n")  # what root could do to a shared file
    assert store.verify() == [entry.key]
    assert store.verify(repair=True) == [entry.key]
    assert store.verify() == []
    assert_same(store.materialise(snapshot, tmp_path / "next", root_safe=False).path, tree)


def test_seventy_thousand_equal_files(store: LocalStore, tmp_path: Path) -> None:
    snapshot = many_equal(tmp_path / "t", 70_000)
    made = store.materialise(snapshot, tmp_path / "code", root_safe=False)
    assert made.linked + made.copied == 70_000
    for n in (0, 64_998, 64_999, 65_000, 69_999):
        assert (tmp_path / f"code/d{n // 1000}/f{n:06d}").read_text() == "equal\n"
    names = sum(len(files) for _, _, files in os.walk(made.path))
    assert names == 70_000
    remove_tree(made.path)


def test_a_destination_on_another_file_system(tree: Path, store: LocalStore, tmp_path: Path) -> None:
    snapshot = take(tree)
    with small_disk(tmp_path / "disk", "4m") as disk:
        made = store.materialise(snapshot, disk / "code", root_safe=False)
        assert_same(made.path, tree)
        assert (made.linked, made.copied) == (0, 5)
        assert sorted(p.name for p in disk.iterdir()) == ["code"]


def test_no_space_left(tmp_path: Path) -> None:
    top = tmp_path / "t"
    top.mkdir()
    for n in range(30):
        (top / f"{n}").write_bytes(os.urandom(100_000))
    snapshot = take(top)
    with small_disk(tmp_path / "disk", "1m") as disk:
        for root_safe in (True, False):
            with pytest.raises(
                PackagingError, match=r"disk/code: cannot be written \(No space left on device"
            ) as caught:
                LocalStore(disk / "store").materialise(snapshot, disk / "code", root_safe=root_safe)
            assert "runyard code gc" in caught.value.hint
            assert not (disk / "code").exists()
        # Nothing that was cut short is taken for an object.
        assert LocalStore(disk / "store").verify() == []
    assert_same(LocalStore(tmp_path / "s").materialise(snapshot, tmp_path / "code").path, top)


def test_no_permission(tree: Path, tmp_path: Path) -> None:
    snapshot = take(tree)
    tmp_path.chmod(0o755)
    with as_nobody():
        with pytest.raises(PackagingError, match=r"cannot be written .*Permission denied") as caught:
            LocalStore("/root-only-store").materialise(snapshot, "/root-only-store/code")
        assert "write permission" in caught.value.hint
    assert NOBODY


def test_sweep_removes_only_what_no_tree_links_to(tree: Path, store: LocalStore, tmp_path: Path) -> None:
    old = take(tree)
    store.materialise(old, tmp_path / "e1", root_safe=False)
    (tree / "pkg/a.py").write_text("changed = 1\n")
    new = take(tree)
    store.materialise(new, tmp_path / "e2", root_safe=False)
    remove_tree(tmp_path / "e1")
    gone = next(e for e in old if e.path == "-rf")
    usage = store.usage()
    assert (usage.objects, usage.unused_objects) == (5, 0)  # pkg/same.py still links the old content
    remove_tree(tmp_path / "e2")
    assert store.usage().unused_objects == 5
    assert store.sweep(grace=3600).objects == 0
    assert store.sweep(grace=0, dry_run=True).objects == 5
    assert store.has(gone)
    assert store.sweep(grace=0, keep={gone.value}).objects == 4
    assert store.sweep(grace=0).objects == 1
    assert_same(store.materialise(new, tmp_path / "e3", root_safe=False).path, tree)


def test_sweep_down_to_a_size_takes_the_oldest(store: LocalStore, tmp_path: Path) -> None:
    top = tmp_path / "t"
    top.mkdir()
    for n in range(4):
        (top / "f").write_bytes(os.urandom(1000 + n))
        store.materialise(take(top), tmp_path / "code", root_safe=False)
        remove_tree(tmp_path / "code")
        time.sleep(0.01)
    swept = store.sweep(grace=0, max_bytes=2500)
    assert (swept.objects, swept.bytes) == (2, 2001)
    assert sorted(st.st_size for _, st in store.objects()) == [1002, 1003]


def test_a_sweep_during_launches_loses_nothing(tree: Path, store: LocalStore, tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom runyard.snapshots.local import LocalStore\nprint('sweeps', flush=True)\n"
        "while not os.path.exists(sys.argv[2]): LocalStore(sys.argv[1]).sweep(grace=0)\n"
    )
    import sys

    for n in range(200):
        (tree / f"pkg/m{n}.py").write_text(f"n = {n}\n")
    snapshot = take(tree)
    words = [sys.executable, "-c", code, str(store.root), str(tmp_path / "enough")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as sweeper:
        assert sweeper.stdout is not None
        assert sweeper.stdout.readline() == b"sweeps\n"
        try:
            for n in range(25):
                made = store.materialise(snapshot, tmp_path / f"code{n}", root_safe=False)
                if n % 5 == 0:
                    assert_same(made.path, tree)
                remove_tree(made.path)
        finally:
            (tmp_path / "enough").touch()
    assert sweeper.returncode == 0


def test_leftovers_of_a_killed_launch_are_swept_after_a_day(tree: Path, store: LocalStore, tmp_path: Path) -> None:
    store.materialise(take(tree), tmp_path / "code")
    left = store.root / "incoming/dead"
    (left / "t").mkdir(parents=True)
    store.sweep(grace=0)
    assert left.exists()
    os.utime(left, (0, 0))
    store.sweep(grace=0)
    assert not left.exists()


def test_remove_tree_manages_read_only_folders_and_never_touches_shared_modes(
    tree: Path, store: LocalStore, tmp_path: Path
) -> None:
    remove_tree(tmp_path / "not there")
    snapshot = take(tree)
    store.materialise(snapshot, tmp_path / "e1", root_safe=False)
    (tmp_path / "e1/pkg").chmod(0o500)
    remove_tree(tmp_path / "e1")
    assert not (tmp_path / "e1").exists()
    assert {st.st_mode & 0o222 for _, st in store.objects()} == {0}
