"""The protocol of a remote target, with the real sh and tar, into another folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runyard.errors import PackagingError
from runyard.snapshots import remote
from runyard.snapshots.push import Answer, ProcessShell, Pusher, push

from .conftest import assert_same, small_disk, take
from .test_local import many_equal


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "it's a target"


def bare_path(tmp_path: Path, *without: str) -> str:
    """Return a PATH with everything but some tools."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for place in ("/bin", "/usr/bin"):
        for name in os.listdir(place):
            if name not in without and not (folder / name).is_symlink():
                (folder / name).symlink_to(f"{place}/{name}")
    return str(folder)


def ask(script: str) -> Answer:
    return ProcessShell()(script.encode("utf-8", "surrogateescape"))


def test_first_second_and_unchanged_launch(tree: Path, root: Path) -> None:
    snapshot = take(tree)
    first = push(snapshot, ProcessShell(), str(root), "e1/code")
    assert_same(root / "e1/code", tree)
    assert (first.sent_files, first.existed) == (4, False)
    unchanged = push(take(tree), ProcessShell(), str(root), "e2/code")
    assert_same(root / "e2/code", tree)
    assert unchanged.sent_files == 0
    assert unchanged.wire_bytes < 3000
    (tree / "run.sh").write_text("#!/bin/sh\nexit 1\n")
    changed = push(take(tree), ProcessShell(), str(root), "e3/code")
    assert_same(root / "e3/code", tree)
    assert changed.sent_files == 1
    assert (root / "e1/code/pkg/a.py").stat().st_ino == (root / "e3/code/pkg/a.py").stat().st_ino
    assert (root / "e1/code/pkg/a.py").stat().st_mode & 0o777 == 0o444
    assert root.stat().st_mode & 0o077 == 0
    assert list((root / "incoming").iterdir()) == []
    again = push(take(tree), ProcessShell(), str(root), "e3/code")
    assert again.existed


def test_the_plan_asks_only_for_what_is_new(tree: Path, root: Path) -> None:
    scripts: list[bytes] = []

    def spy(script: bytes, stdin: Iterable[bytes] | None = None) -> Answer:
        scripts.append(script)
        return ProcessShell()(script, stdin)

    push(take(tree), ProcessShell(), str(root), "e1")
    (tree / "run.sh").write_text("#!/bin/sh\nexit 2\n")
    pusher = Pusher(take(tree), spy, str(root))
    plan = pusher.plan()
    assert [e.path for e in plan.send] == ["run.sh"]
    assert plan.send_bytes == 17
    pusher.push("e2", plan)
    assert len(scripts) == 3
    assert scripts[1].count(b"\n") < 60


def test_an_absolute_destination_and_copies_for_root(tree: Path, root: Path, tmp_path: Path) -> None:
    snapshot = take(tree)
    dest = tmp_path / "elsewhere" / "code's"
    push(snapshot, ProcessShell(), str(root), str(dest), copies=True)
    assert_same(dest, tree)
    with open(dest / "pkg/a.py", "a") as file:
        file.write("damage by root")
    push(snapshot, ProcessShell(), str(root), "e2", copies=True)
    assert_same(root / "e2", tree)
    assert ask(remote.verify_script(str(root))).stdout == ""


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.binary(min_size=1, max_size=60).filter(lambda b: not {0, 47} & set(b) and b not in (b".", b"..")),
        min_size=1, max_size=8, unique=True,
    )
)  # fmt: skip
def test_hostile_names_arrive(tmp_path: Path, names: list[bytes]) -> None:
    top, root = tmp_path / "h", tmp_path / "r"
    for folder in (top, root):
        shutil.rmtree(folder, ignore_errors=True)
    (top / "sub").mkdir(parents=True)
    for n, name in enumerate(names):
        with open(os.fsencode(top) + b"/sub/" + name, "wb") as file:
            file.write(b"%d" % n)
        os.symlink(name, os.fsencode(top) + b"/link%d" % n)
    snapshot = take(top)
    push(snapshot, ProcessShell(), str(root), "one")
    assert_same(root / "one", top)
    script = remote.link_script(str(root), "tok", snapshot.hash, "two", snapshot.entries)
    assert ask(script).code == 0
    assert_same(root / "two", top)


def cut_off(pieces: Iterable[bytes], after: int) -> Iterator[bytes]:
    """Give the beginning of a stream."""
    for piece in pieces:
        if len(piece) >= after:
            yield piece[:after]
            return
        after -= len(piece)
        yield piece


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_an_interrupted_transfer_is_continued(tmp_path: Path, root: Path, fraction: float) -> None:
    top = tmp_path / "t"
    top.mkdir()
    for n in range(40):
        (top / f"{n}.bin").write_bytes(os.urandom(30_000))
    snapshot = take(top)

    def breaks(script: bytes, stdin: Iterable[bytes] | None = None) -> Answer:
        return ProcessShell()(script, cut_off(stdin, int(1_200_000 * fraction)) if stdin is not None else None)

    with pytest.raises(PackagingError, match="target: the transfer was interrupted after") as caught:
        push(snapshot, breaks, str(root), "e1/code", host="login1")
    assert "login1:" in caught.value.message
    assert "launch again" in caught.value.hint
    assert not (root / "e1/code").exists()
    assert ask(remote.verify_script(str(root))).stdout == ""
    retry = push(snapshot, ProcessShell(), str(root), "e1/code")
    assert_same(root / "e1/code", top)
    assert retry.sent_files <= 40 - int(39 * fraction)
    assert ask(remote.verify_script(str(root))).stdout == ""


def test_a_transfer_killed_with_its_shell(tmp_path: Path, root: Path) -> None:
    top = tmp_path / "t"
    top.mkdir()
    for n in range(20):
        (top / f"{n}.bin").write_bytes(os.urandom(200_000))
    snapshot = take(top)

    class Dies(ProcessShell):
        def __call__(self, script: bytes, stdin: Iterable[bytes] | None = None) -> Answer:
            if stdin is None:
                return super().__call__(script)
            process = subprocess.Popen(["sh", "-c", script.decode()], stdin=subprocess.PIPE, start_new_session=True)
            assert process.stdin is not None
            for piece in cut_off(stdin, 2_000_000):
                process.stdin.write(piece)
            process.stdin.flush()
            time.sleep(0.2)
            os.killpg(process.pid, 9)
            process.stdin.close()
            return Answer(process.wait(), "", "")

    with pytest.raises(PackagingError):
        push(snapshot, Dies(), str(root), "e1")
    retry = push(snapshot, ProcessShell(), str(root), "e1")
    assert retry.sent_files < 15
    assert_same(root / "e1", top)


def test_objects_of_a_wrong_size_are_sent_again(tree: Path, root: Path) -> None:
    snapshot = take(tree)
    push(snapshot, ProcessShell(), str(root), "e1")
    entry = next(e for e in snapshot if e.path == "pkg/a.py")
    path = root / "objects" / entry.key
    path.unlink()
    path.write_bytes(b"half")
    # The target believes that it knows the tree; the sizes tell otherwise.
    healed = push(snapshot, ProcessShell(), str(root), "e2")
    assert healed.sent_files == 1
    assert_same(root / "e2", tree)
    # And with an object gone altogether.
    path.unlink()
    assert push(snapshot, ProcessShell(), str(root), "e3").sent_files == 1
    assert_same(root / "e3", tree)


def test_verify_and_discard(tree: Path, root: Path) -> None:
    snapshot = take(tree)
    push(snapshot, ProcessShell(), str(root), "e1")
    entry = next(e for e in snapshot if e.path == "run.sh")
    path = root / "objects" / entry.key
    path.unlink()
    path.write_text("#!/bin/SH\n")
    found = ask(remote.verify_script(str(root)))
    assert remote.parse_missing(found.stdout) == (set(), {entry.key})
    assert ask(remote.discard_script(str(root), [entry.key])).code == 0
    push(snapshot, ProcessShell(), str(root), "e2")
    assert_same(root / "e2", tree)


def test_a_target_without_awk_xargs_and_sha256sum(
    tree: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = take(tree)
    without = ("awk", "gawk", "mawk", "xargs", "sha256sum", "find", "python3", "rsync")
    monkeypatch.setenv("PATH", bare_path(tmp_path, *without))
    push(snapshot, ProcessShell(["/bin/sh"]), str(root), "e1")
    (tree / "run.sh").write_text("#!/bin/sh\nexit 3\n")
    assert push(take(tree), ProcessShell(["/bin/sh"]), str(root), "e2").sent_files == 1
    entry = next(e for e in snapshot if e.path == "pkg/a.py")
    (root / "objects" / entry.key).unlink()
    assert push(take(tree), ProcessShell(["/bin/sh"]), str(root), "e3").sent_files == 1
    monkeypatch.undo()
    assert_same(root / "e3", tree)


def test_a_target_without_tar(tree: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = take(tree)
    monkeypatch.setenv("PATH", bare_path(tmp_path, "tar"))
    with pytest.raises(PackagingError, match="the target has no tar") as caught:
        push(snapshot, ProcessShell(["/bin/sh"]), str(root), "e1")
    assert "install tar" in caught.value.hint


def test_no_space_left_on_the_target(tmp_path: Path) -> None:
    top = tmp_path / "t"
    top.mkdir()
    for n in range(30):
        (top / f"{n}").write_bytes(os.urandom(100_000))
    snapshot = take(top)
    with small_disk(tmp_path / "disk", "1m") as disk:
        with pytest.raises(PackagingError, match=r"h:.*disk/s: no space left on the target") as caught:
            push(snapshot, ProcessShell(), f"{disk}/s", "e1", host="h")
        assert "runyard code gc" in caught.value.hint
        assert not (disk / "s/e1").exists()
        assert ask(remote.verify_script(f"{disk}/s")).stdout == ""


def test_a_folder_that_may_not_be_written(tree: Path) -> None:
    with pytest.raises(PackagingError, match="/proc/store: cannot be written on the target") as caught:
        push(take(tree), ProcessShell(), "/proc/store", "e1")
    assert "job_dir" in caught.value.hint


def test_seventy_thousand_equal_files(tmp_path: Path, root: Path) -> None:
    snapshot = many_equal(tmp_path / "t", 70_000)
    push(snapshot, ProcessShell(), str(root), "e1")
    assert sum(len(files) for _, _, files in os.walk(root / "e1")) == 70_000
    assert {p.stat().st_size for p in (root / "e1/d69").iterdir()} == {6}


def test_file_by_file_and_as_copies(tree: Path, root: Path) -> None:
    snapshot = take(tree)
    push(snapshot, ProcessShell(), str(root), "e1")
    script = remote.link_script(str(root), "tok", snapshot.hash, "e2", snapshot.entries, copies=True)
    assert ask(script).stdout == "made\n"
    assert_same(root / "e2", tree)
    assert {p.stat().st_nlink for p in (root / "e2").rglob("*.py")} == {1}
    assert os.access(root / "e2/run.sh", os.X_OK)
    assert (root / "e2/run.sh").stat().st_mode & 0o200
    assert ask(script).stdout == "existed\n"


def test_two_launches_at_the_same_time(tree: Path, root: Path) -> None:
    snapshots = []
    for n in range(4):
        (tree / "pkg/a.py").write_text(f"version = {n}\n")
        snapshots.append(take(tree))
    errors: list[BaseException] = []

    def launch(n: int) -> None:
        try:
            for k in range(3):
                push(snapshots[n], ProcessShell(), str(root), f"e{n}-{k}")
            push(snapshots[0], ProcessShell(), str(root), "shared")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=launch, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for n in range(4):
        assert (root / f"e{n}-2/pkg/a.py").read_text() == f"version = {n}\n"
    assert sorted(os.listdir(root / "shared")) == sorted(os.listdir(tree))
    assert not [p for p in os.listdir(root) if p.startswith("shared.")]
    assert ask(remote.verify_script(str(root))).stdout == ""


def test_gc_on_the_target(tree: Path, root: Path) -> None:
    old = take(tree)
    push(old, ProcessShell(), str(root), "e1")
    (tree / "run.sh").write_text("#!/bin/sh\nexit 9\n")
    push(take(tree), ProcessShell(), str(root), "e2")
    usage = dict(line.split(" ", 1) for line in ask(remote.usage_script(str(root))).stdout.splitlines())
    assert usage["objects"].split()[0] == "5"
    assert usage["unused"] == "0 0"
    dry = ask(remote.gc_script(str(root), trees=["e1"], grace_minutes=0, dry_run=True))
    assert dry.stdout == "freed 0\n"
    assert (root / "e1").exists()
    assert ask(remote.gc_script(str(root), trees=["e1"], grace_minutes=60)).stdout == "freed 0\n"
    assert ask(remote.gc_script(str(root), grace_minutes=0)).stdout == "freed 1\n"
    assert_same(root / "e2", tree)
    push(old, ProcessShell(), str(root), "e3")
    assert (root / "e3/run.sh").read_text() == "#!/bin/sh\n"


def test_gc_during_launches_loses_nothing(tree: Path, root: Path) -> None:
    stop = threading.Event()
    snapshot = take(tree)

    def clean() -> None:
        while not stop.is_set():
            ask(remote.gc_script(str(root), grace_minutes=0))

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        for n in range(12):
            # Against a clean-up without grace a launch may have to give up; it never ends with a wrong tree.
            try:
                push(snapshot, ProcessShell(), str(root), f"e{n}")
            except PackagingError:
                assert not (root / f"e{n}").exists()
                continue
            assert_same(root / f"e{n}", tree)
            shutil.rmtree(root / f"e{n}")
    finally:
        stop.set()
        cleaner.join()
    push(snapshot, ProcessShell(), str(root), "last")
    assert_same(root / "last", tree)


def test_only_a_few_link_archives_are_kept(tree: Path, root: Path) -> None:
    for n in range(12):
        (tree / "run.sh").write_text(f"exit {n}\n")
        push(take(tree), ProcessShell(), str(root), f"e{n}")
    assert len(os.listdir(root / "trees")) == remote.KEEP_ARCHIVES


def test_scripts_quote_the_root() -> None:
    assert remote.quote("~/a b") == "\"$HOME\"/'a b'"
    assert remote.quote("~") == '"$HOME"'
    assert remote.quote("/x'y") == "'/x'\"'\"'y'"
