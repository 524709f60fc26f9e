"""Taking snapshots: contents, cache, packs, two processes, damage, clean-up."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

from runyard.errors import PackagingError, StoreError
from runyard.snapshots import trees
from runyard.snapshots.capture import _Cleaned, _finish, _from_cache, capture, store_folder
from runyard.snapshots.gc import gc, store_bytes, stored_trees
from runyard.snapshots.index import Index
from runyard.snapshots.local import LocalStore
from runyard.snapshots.packs import PackWriter
from runyard.snapshots.reading import read_files
from runyard.snapshots.snapshot import Snapshot

from .conftest import as_nobody, assert_same, listing_of, small_disk, take


def packs() -> list[Path]:
    return sorted((store_folder() / "packs").glob("*.pack"))


def age(tree: str, seconds: float) -> None:
    """Make a tree look as if it was used long ago."""
    with Index(store_folder()) as index, index.transaction() as db:
        db.execute("UPDATE trees SET used=? WHERE hash=?", (time.time() - seconds, tree))


def settle(top: Path) -> None:
    """Let the files grow old enough for their hashes to be cached."""
    del top
    time.sleep(0.06)


def test_a_snapshot_holds_everything_and_stays_what_it_was(tree: Path, tmp_path: Path) -> None:
    snapshot = take(tree)
    assert (snapshot.file_count, snapshot.total_size) == (6, 33)
    subprocess.run(["cp", "-a", str(tree), str(tmp_path / "copy")], check=True)
    (tree / "pkg/a.py").write_text("changed\n")
    (tree / "-rf").unlink()
    assert_same(snapshot.extract(tmp_path / "out"), tmp_path / "copy")
    assert Snapshot.load(snapshot.hash[:10]) == Snapshot(snapshot.entries, snapshot.hash)
    changes = snapshot.diff(take(tree))
    assert (changes.changed, changes.removed, changes.added) == (("pkg/a.py",), ("-rf",), ())
    assert snapshot.to_dict(entries=True)["entries"][0] == {
        "path": "-rf",
        "kind": "file",
        "size": 4,
        "value": snapshot.entries[0].value,
    }


def test_equal_contents_are_stored_once(tree: Path) -> None:
    take(tree)
    settle(tree)
    size = sum(p.stat().st_size for p in packs())
    (tree / "third.py").write_text("a = 1\n")
    take(tree)
    assert sum(p.stat().st_size for p in packs()) == size
    assert len(packs()) == 1


def test_unchanged_files_are_not_read_again(tree: Path) -> None:
    settle(tree)
    first = take(tree)
    with Index(store_folder()) as index:
        _, todo, _ = _from_cache(listing_of(tree), index)
        assert todo == []
        os.utime(tree / "run.sh")
        _, todo, _ = _from_cache(listing_of(tree), index)
        assert [f.path for f in todo] == ["run.sh"]
    assert take(tree).hash == first.hash


def test_a_change_within_the_same_clock_tick_is_seen(tree: Path) -> None:
    for n in range(20):
        (tree / "pkg/a.py").write_text(f"a = {n % 10}\n")
        assert take(tree).read("pkg/a.py") == f"a = {n % 10}\n".encode()


def test_a_mode_change_is_another_tree(tree: Path) -> None:
    first = take(tree)
    (tree / "pkg/a.py").chmod(0o755)
    second = take(tree)
    assert first.hash != second.hash
    assert {e.path: e.executable for e in second}["pkg/a.py"]


@pytest.mark.parametrize("size", [0, 1, (2 << 20) - 1, (2 << 20), (2 << 20) + 1, 5 << 20])
def test_files_around_the_buffer_sizes(tmp_path: Path, size: int) -> None:
    top = tmp_path / "t"
    top.mkdir()
    (top / "f").write_bytes(os.urandom(size))
    for n in range(60):
        (top / f"g{n}").write_bytes(os.urandom(100_000 if n % 7 == 0 else n))
    assert_same(take(top).extract(tmp_path / "out"), top)


def test_a_large_file_known_under_another_name_takes_no_space(tmp_path: Path) -> None:
    top = tmp_path / "t"
    top.mkdir()
    (top / "a").write_bytes(os.urandom(3 << 20))
    take(top)
    before = store_bytes()
    os.rename(top / "a", top / "b")
    os.utime(top / "b")
    assert take(top).file_count == 1
    assert store_bytes() - before < 1 << 20


def test_a_file_removed_or_replaced_meanwhile(tree: Path) -> None:
    listing = listing_of(tree)
    (tree / "pkg/a.py").unlink()
    with pytest.raises(PackagingError, match=r"tree/pkg/a\.py: was removed while being read") as caught:
        capture(listing)
    assert "launch again" in caught.value.hint
    (tree / "pkg/a.py").symlink_to("same.py")
    with pytest.raises(PackagingError, match=r"pkg/a\.py: was replaced by a link while being read"):
        capture(listing)
    (tree / "pkg/a.py").unlink()
    os.mkfifo(tree / "pkg/a.py")
    with pytest.raises(PackagingError, match=r"pkg/a\.py: a FIFO cannot ship"):
        capture(listing)
    (tree / "pkg/a.py").unlink()
    take(tree)


@pytest.mark.parametrize("size", [1 << 20, 24 << 20])
def test_a_file_that_changes_while_being_read(tmp_path: Path, size: int) -> None:
    top = tmp_path / "t"
    top.mkdir()
    (top / "log.txt").write_bytes(b"0" * size)
    done = threading.Event()

    def write() -> None:
        with open(top / "log.txt", "r+b", buffering=0) as file:
            while not done.is_set():
                file.seek(0)
                file.write(os.urandom(4096))
                file.seek(0, 2)
                file.write(b"x")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(PackagingError, match=r"t/log\.txt: changed( its size)? while being read") as caught:
            all(take(top) for _ in range(200))
        assert "exclude it" in caught.value.hint
    finally:
        done.set()
        writer.join()


def test_no_permission(tree: Path) -> None:
    with as_nobody() as folder:
        (folder / "t").mkdir()
        (folder / "t/secret.py").write_text("x")
        (folder / "t/secret.py").chmod(0)
        listing = listing_of(folder / "t")
        with pytest.raises(PackagingError, match=r"t/secret\.py: cannot be read \(Permission denied\)") as caught:
            capture(listing, home=folder / "home")
        assert "chmod u+r" in caught.value.hint
        (folder / "t/secret.py").chmod(0o600)
        capture(listing_of(folder / "t"), home=folder / "home")
        with pytest.raises(StoreError, match=r"/proc/nope/snapshots: the snapshot store cannot be used") as store:
            capture(listing, home=Path("/proc/nope"))
        assert "RUNYARD_HOME" in store.value.hint


def test_no_space_for_the_capture(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    for n in range(60):
        (tmp_path / f"t/{n}").write_bytes(os.urandom(50_000))
    with small_disk(tmp_path / "disk", "1m") as disk:
        with pytest.raises(PackagingError, match=r"disk/.*no space left") as caught:
            capture(listing_of(tmp_path / "t"), home=disk)
        assert "runyard code gc" in caught.value.hint
        # What was half-written is given back.
        assert all(p.stat().st_size == 0 for p in (disk / "snapshots/packs").glob("*.pack"))


def test_a_half_written_tail_is_cut_off_and_never_taken(tree: Path, tmp_path: Path) -> None:
    first = take(tree)
    (pack,) = packs()
    size = pack.stat().st_size
    with pack.open("ab") as file:
        file.write(b"RYO1" + os.urandom(5000))  # as a killed process leaves it
    (tree / "new.py").write_text("new\n")
    second = take(tree)
    assert len(packs()) == 1
    assert size < pack.stat().st_size < size + 200
    assert_same(second.extract(tmp_path / "out"), tree)
    assert first.read("pkg/a.py") == b"a = 1\n"


@pytest.mark.parametrize("how", ["flip", "truncate", "remove"])
def test_a_damaged_pack_is_noticed_and_healed_by_the_next_launch(tree: Path, tmp_path: Path, how: str) -> None:
    settle(tree)
    snapshot = take(tree)
    (pack,) = packs()
    if how == "remove":
        pack.unlink()
    else:
        data = bytearray(pack.read_bytes())
        data[-2:] = b"??" if how == "flip" else b""
        pack.write_bytes(data)
    with pytest.raises(PackagingError, match=r"captured bytes in .* are missing or damaged") as caught:
        snapshot.write_tar(tmp_path / "x.tar.gz")
    assert "launch again" in caught.value.hint
    assert not (tmp_path / "x.tar.gz").exists()
    for n in range(9):
        try:
            take(tree).extract(tmp_path / f"out{n}")
            break
        except PackagingError:
            continue
    assert_same(tmp_path / f"out{n}", tree)


def test_a_damaged_index_is_an_error_with_a_remedy(tree: Path) -> None:
    take(tree)
    for path in store_folder().glob("index.db*"):
        path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match=r"index\.db: the snapshot index cannot be used") as caught:
        take(tree)
    assert "move" in caught.value.hint


LAUNCH = """
import sys, pathlib
from runyard.packagers.pattern import PatternPackager
for n in range(6):
    top = pathlib.Path(sys.argv[1])
    (top / sys.argv[2]).write_text(sys.argv[2] * (n + 1))
    s = PatternPackager(include_pattern="shared/** " + sys.argv[2], relative_path=str(top)).snapshot()
    s.extract(top.parent / f"out-{sys.argv[2]}-{n}")
    print(s.hash, flush=True)
"""
CLEAN = """
import time
from runyard.snapshots.gc import gc
end = time.time() + 3
while time.time() < end:
    gc(older_than=0, grace=30)
"""


def test_launches_and_a_clean_up_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "shared").mkdir(parents=True)
    for n in range(300):
        (top / f"shared/{n}.py").write_text(f"n = {n}\n" * 50)
    for n in range(4):
        (top / "old").write_text(f"old {n}")
        age(take(top).hash, 1e6)
    clean = subprocess.Popen([sys.executable, "-c", CLEAN])
    launches = [
        subprocess.Popen([sys.executable, "-c", LAUNCH, str(top), name], stdout=subprocess.PIPE, text=True)
        for name in ("one", "two", "three")
    ]
    hashes = [h for process in launches for h in process.communicate(timeout=120)[0].split()]
    assert clean.wait(timeout=60) == 0
    assert [process.returncode for process in launches] == [0, 0, 0]
    assert len(set(hashes)) == 18
    for n, tree in enumerate(hashes):
        Snapshot.load(tree).extract(tmp_path / f"again{n}")
    assert_same(tmp_path / "again0/shared", top / "shared")


def test_what_a_clean_up_took_meanwhile_is_captured_again(tree: Path, tmp_path: Path) -> None:
    settle(tree)
    snapshot = take(tree)
    age(snapshot.hash, 1e6)
    listing = listing_of(tree)
    with Index(store_folder()) as index:
        generation = index.generation()
        entries, todo, moved = _from_cache(listing, index)
        assert not todo
        assert gc(older_than=1000).trees == (snapshot.hash,)
        with pytest.raises(_Cleaned):
            _finish(listing, index, generation, entries, moved, [], [], None, 0)
    assert_same(capture(listing).extract(tmp_path / "out"), tree)


def test_a_pack_that_a_clean_up_removes_while_a_launch_takes_it_up_is_not_used(tree: Path, tmp_path: Path) -> None:
    take(tree)
    (tree / "pkg/a.py").write_text("new\n")
    listing = listing_of(tree)
    with Index(store_folder()) as index:
        generation = index.generation()
        entries, todo, moved = _from_cache(listing, index)
        assert todo
        looked = time.time_ns()
        with PackWriter(index, store_folder()) as writer:
            # The clean-up's commit arrives now: it let go of the pack just before, or this lock had not been granted.
            with index.transaction() as db:
                db.execute("DELETE FROM objects WHERE pack=?", (writer.pack_id,))
                db.execute("DELETE FROM packs WHERE id=?", (writer.pack_id,))
            reads, records = read_files(todo, writer, index, 2)
            with pytest.raises(_Cleaned):
                _finish(listing, index, generation, entries, moved, reads, records, writer, looked)
        assert not index.locate([record.sha for record in records])
    assert_same(capture(listing).extract(tmp_path / "out"), tree)


def test_gc_by_age_keeps_live_and_recent_trees(tree: Path, tmp_path: Path) -> None:
    hashes = []
    for n in range(4):
        (tree / "pkg/a.py").write_text(f"version {n}\n" * 1000)
        hashes.append(take(tree).hash)
    for tree_hash in hashes[:3]:
        age(tree_hash, 20 * 86400)
    dry = gc(live=[hashes[1]], older_than=14 * 86400, dry_run=True)
    assert set(dry.trees) == {hashes[0], hashes[2]}
    assert len(stored_trees()) == 4
    done = gc(live=[hashes[1]], older_than=14 * 86400)
    assert set(done.trees) == set(dry.trees)
    assert {t.hash for t in stored_trees()} == {hashes[1], hashes[3]}
    for kept in (hashes[1], hashes[3]):
        Snapshot.load(kept).extract(tmp_path / kept)
    with pytest.raises(PackagingError, match=f"code '{hashes[0]}': no snapshot with this hash") as caught:
        Snapshot.load(hashes[0])
    assert "runyard code ls" in caught.value.hint


def test_gc_by_size_drops_the_oldest_first_and_frees_the_disk(tmp_path: Path) -> None:
    top = tmp_path / "t"
    top.mkdir()
    hashes = []
    for n in range(4):
        (top / "data").write_bytes(os.urandom(400_000))
        hashes.append(take(top).hash)
        age(hashes[-1], 1e6 - n)
    done = gc(max_size=900_000)
    assert done.trees == (hashes[1], hashes[0])
    assert done.bytes > 700_000
    assert done.kept_bytes < 900_000
    assert Snapshot.load(hashes[3]).file_count == 1
    assert gc(max_size=900_000).bytes == 0


def test_gc_keeps_one_copy_of_what_lies_loose_too(tmp_path: Path) -> None:
    top = tmp_path / "t"
    top.mkdir()
    for n in range(20):
        (top / f"{n}").write_bytes(os.urandom(50_000))
    settle(top)
    snapshot = take(top)
    LocalStore().materialise(snapshot, tmp_path / "job", root_safe=False)
    assert store_bytes() > 2_000_000
    gc()
    assert 1_000_000 < store_bytes() < 1_200_000
    assert packs() == []
    (top / "new").write_text("new")
    second = take(top)
    assert_same(second.extract(tmp_path / "out"), top)
    assert_same(snapshot.extract(tmp_path / "out1"), tmp_path / "job")
    # The tree of the job goes, and with it the last link; the snapshots keep the objects.
    subprocess.run(["rm", "-rf", str(tmp_path / "job")], check=True)
    gc(grace=0.0, live=[snapshot.hash, second.hash])
    assert_same(second.extract(tmp_path / "out2"), top)
    gc(grace=0.0, older_than=0.0)
    assert store_bytes() < 200_000


def test_manifests_of_similar_trees_are_stored_as_differences(tmp_path: Path) -> None:
    top = tmp_path / "t"
    top.mkdir()
    for n in range(500):
        (top / f"{n}.py").write_text(str(n))
    hashes = []
    for n in range(12):
        (top / "0.py").write_text(f"changed {n}")
        if n == 5:
            (top / "499.py").unlink()
        hashes.append((take(top).hash, (top / "0.py").read_text()))
    with Index(store_folder()) as index:
        bases = index.rows("SELECT COUNT(*) FROM trees WHERE base=''")
        assert bases == [(1,)]
        assert [len(trees.load_entries(index, h)) for h, _ in hashes] == [500] * 5 + [499] * 7
    age(hashes[0][0], 1e6)  # the base itself goes; the others still need its manifest
    gc(older_than=1000)
    assert [Snapshot.load(h).read("0.py").decode() for h, _ in hashes[1:]] == [text for _, text in hashes[1:]]


def test_an_ambiguous_or_odd_hash(tree: Path) -> None:
    take(tree)
    for bad in ("", "zz", "%", "00000000000"):
        with pytest.raises(PackagingError, match=r"no snapshot with this hash|several snapshots"):
            Snapshot.load(bad)


def test_write_tar_is_deterministic_and_real_tar_reads_it(tree: Path, tmp_path: Path) -> None:
    snapshot = take(tree)
    one = snapshot.write_tar(tmp_path / "one.tar.gz")
    os.utime(tree / "run.sh")
    two = take(tree).write_tar(tmp_path / "two.tar.gz")
    assert one.read_bytes() == two.read_bytes()
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xzf", str(one), "-C", str(tmp_path / "out")], check=True)
    assert_same(tmp_path / "out", tree)
    with tarfile.open(one) as tar:
        assert {(m.uid, m.mtime) for m in tar} == {(0, 946684800)}
    named = snapshot.write_tar(tmp_path)
    assert named.name == f"code-{snapshot.hash[:12]}.tar.gz"
    with pytest.raises(PackagingError, match=r"gone/x\.tar\.gz: cannot be written"):
        snapshot.write_tar(tmp_path / "gone" / "x.tar.gz")


def test_extract_refuses_a_folder_that_holds_something(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match="tree: is not empty"):
        take(tree).extract(tree)


def test_reading_a_file_that_is_not_there(tree: Path) -> None:
    with pytest.raises(PackagingError, match=r"nope\.py: no file in Snapshot"):
        take(tree).read("nope.py")


def test_the_store_is_private(tree: Path) -> None:
    take(tree)
    for path in (store_folder(), store_folder() / "packs", store_folder() / "index.db", *packs()):
        assert path.stat().st_mode & 0o077 == 0
