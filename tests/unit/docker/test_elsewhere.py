"""What is sent to an engine on another machine, and what it lists: as bytes, without an engine."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from runyard.backends.docker.delivery import nearest
from runyard.backends.docker.files import demultiplexed
from runyard.backends.docker.volumes import parse_listing
from runyard.errors import PackagingError, TunnelError
from runyard.snapshots.manifest import Entry
from runyard.snapshots.tarstream import END, file_member, folder_member, owned_by, tree_members


def unpacked(*pieces: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces)), mode="r:", errors="surrogateescape") as tar:
        return {m.name: m for m in tar}


@pytest.mark.parametrize("numbers", [(0, 0), (1000, 100), (2097151, 2097152), (1_600_012_345, 1_600_000_513)])
def test_owners(numbers: tuple[int, int]) -> None:
    """Also the large numbers that directories of companies give out."""
    found = unpacked(
        folder_member(b"d", 0o700, owned_by(*numbers)), file_member(b"d/f", b"x", 0o600, owned_by(*numbers))
    )
    assert {(m.uid, m.gid, m.mode) for m in found.values()} == {(*numbers, 0o700), (*numbers, 0o600)}


def test_trees() -> None:
    """Each folder comes before what is in it, with the owner of all."""
    odd = os.fsdecode(b"a/b/\xff\n")
    entries = [
        Entry(odd, "x", 2, "00"),
        Entry("a/empty", "d", 0, ""),
        Entry("a/l", "l", 0, "../x"),
        Entry("z", "f", 0, ""),
    ]
    found = unpacked(*tree_members(entries, lambda e: [b"hi"], b"t", owned_by(7, 8)), END)
    assert list(found) == ["t", "t/a", "t/a/b", f"t/{odd}", "t/a/empty", "t/a/l", "t/z"]
    assert {(m.uid, m.gid) for m in found.values()} == {(7, 8)}
    assert (found[f"t/{odd}"].mode, found["t/a/l"].linkname, found["t/z"].mode) == (0o755, "../x", 0o644)


def test_the_nearest_tree() -> None:
    def entry(path: str, value: str = "00", tag: str = "f") -> Entry:
        return Entry(path, tag, 1, value)

    wanted = [entry("a"), entry("b"), entry("c/d"), entry("e/f")]

    def load(hash: str) -> list[Entry]:
        if hash == "unknown":
            raise PackagingError("not here")
        return {"far": [entry("x")], "near": [entry("a"), entry("b", "01"), entry("c/d"), entry("gone/deep/x")]}[hash]

    base, send, gone = nearest(wanted, ["unknown", "far", "near"], load)
    assert base == "near"
    assert send == [entry("b"), entry("e/f")]
    assert gone == ["gone", "gone/deep", "gone/deep/x"]
    assert nearest(wanted, ["unknown", "far"], load) == ("", wanted, [])
    # A file that becomes executable, or a link, is another one.
    assert nearest([entry("a", tag="x")] * 1, ["near"], load) == ("", [entry("a", tag="x")], [])


def test_listings() -> None:
    out = b"/e\n\0//81a4 5 9 ./n\n//41ed 4096 1 ./n/..x\n//a1ff 3 2 ./\xff\n//1180 0 3 ./pipe\n\0./\xff\0a/b\n\0"
    found = parse_listing(out, b"find: './x': Permission denied\nstat: cannot stat 'y': No such file or directory\n")
    assert found.root == "/e"
    assert {name: e.kind for name, e in found.entries.items()} == {"n": "f", "n/..x": "d", "\udcff": "l", "pipe": "?"}
    assert found.entries["\udcff"].target == "a/b"
    assert found.problems == ("find: './x': Permission denied",)


@pytest.mark.parametrize("path", [b"./../x", b"/etc/passwd", b"./a/../../x"])
def test_listings_that_lead_outside(path: bytes) -> None:
    with pytest.raises(TunnelError, match="outside"):
        parse_listing(b"/e\n\0//81a4 5 9 " + path + b"\n\0")


def test_streams_that_end_early() -> None:
    whole = b"\1\0\0\0\0\0\0\3abc\2\0\0\0\0\0\0\1!\1\0\0\0\0\0\0\2de"
    assert demultiplexed(whole) == (b"abcde", b"!")
    assert demultiplexed(whole[:-1]) == (b"abcd", b"!")
    assert demultiplexed(whole[:15]) == (b"abc", b"")
