"""Listing and fetching the files of jobs: on this machine, and by scripts through a tunnel."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard.backends.fetching import Entry, Fetcher, HereFetcher
from runyard.backends.slurm import fetching
from runyard.errors import TunnelError
from runyard.tunnels import LocalTunnel, shells
from runyard.tunnels.failures import Interrupted

HOSTILE = [
    b"a b",
    b"new\nline",
    b"q'\"q",
    b"\xff\xfe",
    "é".encode(),
    b"-dash",
    b"--checkpoint-action=exec=id",
    b"back\\nslash",
    b"*",
    b"a[1]",
    b" lead ",
    b"$(id)",
    b"%s",
    b"@x",
    b"x" * 200 + b"\xff",
    b".hidden",
]


@pytest.fixture(params=["here", "tunnel"])
def fetcher(request: pytest.FixtureRequest) -> Iterator[Fetcher]:
    yield HereFetcher() if request.param == "here" else fetching.TunnelFetcher(LocalTunnel())
    for shell in list(shells._shells.values()):
        shell.close()
    shells._shells.clear()


def tree(folder: Path, names: list[bytes]) -> list[str]:
    """Write files, one in a folder each, and return their paths."""
    made = []
    for i, name in enumerate(names):
        path = os.path.join(os.fsencode(folder), b"d" + name, name)
        os.makedirs(os.path.dirname(path))
        with open(path, "wb") as file:
            file.write(name * i)
        os.chmod(path, 0o755 if i % 2 else 0o644)
        os.utime(path, ns=(1, 1_700_000_000_123_456_789 + i))
        made.append(os.fsdecode(b"d" + name + b"/" + name))
    return made


def ignore(done: int) -> None:
    pass


def test_a_listing_knows_names_kinds_sizes_times_and_links(fetcher: Fetcher, tmp_path: Path) -> None:
    names = tree(tmp_path, HOSTILE)
    (tmp_path / "link\n1").symlink_to("a\nb 'c'")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    listing = fetcher.look(str(tmp_path), ["."])
    assert listing is not None
    assert listing.root == os.path.realpath(tmp_path)
    assert listing.problems == ()
    for i, name in enumerate(names):
        size = len(os.fsencode(name).rpartition(b"/")[2]) * i
        assert listing.entries[name] == Entry(name, "f", size, 1_700_000_000_123_456_789 + i)
        assert listing.entries[name.rpartition("/")[0]].kind == "d"
    link = listing.entries["link\n1"]
    assert (link.kind, link.target) == ("l", "a\nb 'c'")
    assert listing.entries["pipe"].kind not in "fdl"
    assert len(listing.entries) == 2 * len(names) + 3


def test_only_what_is_asked_for_is_read(fetcher: Fetcher, tmp_path: Path) -> None:
    for path in ("a/b/c", "d/e", "top", "-x/f"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "last").symlink_to("a")
    (tmp_path / "gone").symlink_to("nowhere")
    listing = fetcher.look(str(tmp_path), [])
    assert listing is not None
    assert {n: e.kind for n, e in listing.entries.items()} == {
        "a": "d", "d": "d", "-x": "d", "top": "f", "last": "l", "gone": "l",
    }  # fmt: skip
    listing = fetcher.look(str(tmp_path), ["-x", "last", "top", "nothing/**", "gone", "a/b/c"])
    assert listing is not None
    found = {n: e.kind for n, e in listing.entries.items()}
    assert found["last"] == "d", "a link that is named is followed"
    assert {"last/b/c", "-x/f", "top", "a/b/c"} < set(found)
    assert not {"a/b", "d/e"} & set(found)
    assert fetcher.look(str(tmp_path / "nothing"), ["."]) is None
    assert fetcher.look(str(tmp_path / "top"), ["."]) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_told(fetcher: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "open").touch()
    listing = fetcher.look(str(tmp_path), ["."])
    assert listing is not None
    assert "open" in listing.entries
    assert "closed" in listing.problems[0]
    assert "Permission denied" in listing.problems[0]


def test_files_arrive_with_mode_time_and_name(fetcher: Fetcher, tmp_path: Path) -> None:
    names = tree(tmp_path / "there", HOSTILE)
    seen: list[int] = []
    fetcher.fetch(str(tmp_path / "there"), names, tmp_path / "here", seen.append)
    for name in names:
        old, new = tmp_path / "there" / name, tmp_path / "here" / name
        assert new.read_bytes() == old.read_bytes()
        assert stat.S_IMODE(new.stat().st_mode) == stat.S_IMODE(old.stat().st_mode)
        assert abs(new.stat().st_mtime_ns - old.stat().st_mtime_ns) < 1000
    assert seen == sorted(seen)
    assert sum(1 for p in (tmp_path / "here").rglob("*") if p.is_file()) == len(names)


def test_what_is_gone_is_left_out(fetcher: Fetcher, tmp_path: Path) -> None:
    names = tree(tmp_path / "there", [b"a", b"b"])
    said = fetcher.fetch(str(tmp_path / "there"), [*names, "nothing"], tmp_path / "here", ignore)
    assert sorted(p.name for p in (tmp_path / "here").rglob("*") if p.is_file()) == ["a", "b"]
    assert "nothing" in said
    assert "No such file" in said
    fetcher.fetch(str(tmp_path / "there"), ["nothing"], tmp_path / "none", ignore)
    assert list((tmp_path / "none").iterdir()) == []


def test_a_named_link_arrives_as_the_file_it_leads_to(fetcher: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "best.pt").symlink_to("file")
    (tmp_path / "there" / "file").write_text("best")
    fetcher.fetch(str(tmp_path / "there"), ["best.pt"], tmp_path / "here", ignore)
    assert not (tmp_path / "here" / "best.pt").is_symlink()
    assert (tmp_path / "here" / "best.pt").read_text() == "best"


def test_a_file_that_grows_meanwhile_counts_as_old(fetcher: Fetcher, tmp_path: Path) -> None:
    """What arrives is a beginning of it; when it grew afterwards, its size or its time says so."""
    there = tmp_path / "there"
    there.mkdir()
    with (there / "log").open("wb") as file:
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                file.write(b"0123456789" * 1000)
                file.flush()
                time.sleep(0.0001)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for i in range(5):
                fetcher.fetch(str(there), ["log"], tmp_path / f"here{i}", ignore)
        finally:
            stop.set()
            writer.join()
    whole = (there / "log").read_bytes()
    for i in range(5):
        came = tmp_path / f"here{i}" / "log"
        assert whole.startswith(came.read_bytes())
        told = [(p.stat().st_size, p.stat().st_mtime_ns) for p in (came, there / "log")]
        assert told[0] != told[1] or came.read_bytes() == whole


def test_a_file_cut_short_by_a_running_task_does_not_arrive_with_zeros() -> None:
    said = b"tar: ./a: File shrank by 10 bytes; padding with zeros\ntar: ./d/x\ny: File shrank by 1 bytes; padding"
    assert fetching.cut_short(["a", "b", "d/x\ny", "x"], said) == ["a", "d/x\ny"]
    assert fetching.cut_short(["a"], b"tar: ./a: file changed as we read it") == []


def test_a_listing_is_not_trusted() -> None:
    good = b"/root\0f 3 1700000000.5 ./a b\0\0l 1 -1.5 ./l\0goal\0d 1 1.0 .\0\0"
    listing = fetching.parse_listing(good)
    assert listing.root == "/root"
    assert listing.entries == {
        "a b": Entry("a b", "f", 3, 1_700_000_000_500_000_000),
        "l": Entry("l", "l", 1, -500_000_000, "goal"),
    }
    for bad in (b"./../x", b"/etc/passwd", b"./a/../../x"):
        with pytest.raises(TunnelError, match="outside the folder"):
            fetching.parse_listing(b"/root\0f 3 1.0 " + bad + b"\0\0")


@pytest.fixture
def other_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def tool(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("fetcher", ["tunnel"], indirect=True)
def test_tools_that_are_not_gnus_are_named(fetcher: Fetcher, tmp_path: Path, other_tools: Path) -> None:
    tool(other_tools / "find", "echo 'find: unrecognized: -printf' >&2; exit 1")
    with pytest.raises(TunnelError, match="-printf") as e:
        fetcher.look(str(tmp_path), ["."])
    assert "GNU" in e.value.hint
    tool(other_tools / "tar", "echo 'tar: unrecognized option: quoting-style' >&2; exit 1")
    with pytest.raises(TunnelError, match="quoting-style") as e:
        fetcher.fetch(str(tmp_path), ["bin/tar"], tmp_path / "here", ignore)
    assert "GNU" in e.value.hint


@pytest.mark.parametrize("fetcher", ["tunnel"], indirect=True)
def test_a_lost_connection_is_tried_again(
    fetcher: Fetcher, other_tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tree(tmp_path / "there", [b"a", b"b"])
    shell = LocalTunnel().shell()
    shell(b":")
    assert shell.session is not None
    first = shell.session.process.pid
    lose = f'if mkdir {tmp_path}/once 2>/dev/null; then /bin/tar "$@" | head -c 700; kill -9 -{first}; fi'
    tool(other_tools / "tar", f'{lose}; exec /bin/tar "$@"')
    fetcher.fetch(str(tmp_path / "there"), names, tmp_path / "here", ignore)
    assert (tmp_path / "once").exists()
    assert (tmp_path / "here" / names[1]).read_bytes() == b"b"

    def lost(*args: object) -> str:
        raise Interrupted("lost")

    monkeypatch.setattr(fetching.TunnelFetcher, "_fetch", lost)
    with pytest.raises(TunnelError, match="could not be fetched: lost"):
        fetcher.fetch(str(tmp_path / "there"), names, tmp_path / "more", ignore)
