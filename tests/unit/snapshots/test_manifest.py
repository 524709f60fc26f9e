"""Manifests, sizes, credentials, tar headers: pure parts."""

from __future__ import annotations

import io
import os
import tarfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.errors import ConfigError, PackagingError
from runyard.snapshots.credentials import credential_verdict
from runyard.snapshots.index import is_settled
from runyard.snapshots.listing import CodeInfo, Found, leaving_links
from runyard.snapshots.manifest import (
    Entry,
    decode_entries,
    diff_entries,
    encode_entries,
    normalise,
    printable,
    tree_hash,
)
from runyard.snapshots.sizes import format_size, parse_size
from runyard.snapshots.tarstream import END, content_members, gzipped, header, link_members, padding

raw_name = st.binary(min_size=1, max_size=120).filter(
    lambda b: b"/" not in b and b"\0" not in b and b not in (b".", b"..")
)
path = st.lists(raw_name.map(os.fsdecode), min_size=1, max_size=4).map("/".join)
sha = st.binary(min_size=32, max_size=32).map(bytes.hex)
entry = st.one_of(
    st.builds(Entry, path, st.sampled_from("fx"), st.integers(0, 1 << 40), sha),
    st.builds(Entry, path, st.just("l"), st.just(0), path),
    st.builds(Entry, path, st.just("d"), st.just(0), st.just("")),
)
entries = st.lists(entry, max_size=12, unique_by=lambda e: e.path)


@given(entries)
def test_entries_survive_storage(some: list[Entry]) -> None:
    assert decode_entries(encode_entries(some)) == some


@given(entries)
def test_a_tree_hash_depends_on_what_is_in_it_and_not_on_the_order(some: list[Entry]) -> None:
    try:
        ordered = normalise(some)
    except PackagingError:
        return
    assert normalise(reversed(some)) == ordered
    before = tree_hash(ordered)
    for n, one in enumerate(ordered):
        other = [*ordered[:n], one._replace(path=one.path + "2"), *ordered[n + 1 :]]
        assert tree_hash(other) != before
        assert tree_hash([*ordered[:n], *ordered[n + 1 :]]) != before


@pytest.mark.parametrize("bad", ["", "/abs", "a//b", "../up", "a/../b", "./a", "a/.", "nul\0l", "a/"])
def test_paths_that_leave_the_tree_are_refused(bad: str) -> None:
    with pytest.raises(PackagingError, match="no path inside a code tree"):
        normalise([Entry(bad, "f", 1, "00")])
    with pytest.raises(PackagingError):
        normalise([Entry("x/a", "f", 1, "00"), Entry(f"x/{bad}", "f", 1, "00"), Entry("x/../b", "f", 1, "00")])


def test_two_files_of_one_path_and_a_file_that_is_a_folder() -> None:
    with pytest.raises(PackagingError, match="a: two files claim this path"):
        normalise([Entry("a", "f", 1, "00"), Entry("a", "f", 1, "11")])
    with pytest.raises(PackagingError, match="a: is a file in one place and a folder in another"):
        normalise([Entry("a", "f", 1, "00"), Entry("a/b", "f", 1, "11")])


def test_folders_that_hold_something_need_no_entry() -> None:
    full = [Entry("a", "d", 0, ""), Entry("a/b", "f", 1, "11"), Entry("c", "d", 0, ""), Entry("c", "d", 0, "")]
    assert normalise(full) == (Entry("a/b", "f", 1, "11"), Entry("c", "d", 0, ""))


def test_diff() -> None:
    old = [Entry("a", "f", 1, "11"), Entry("b", "f", 1, "22")]
    new = [Entry("a", "x", 1, "11"), Entry("c\n", "f", 1, "22")]
    found = diff_entries(old, new)
    assert (found.added, found.removed, found.changed) == (("c\n",), ("b",), ("a",))
    assert str(found) == "A c\\x0a\nD b\nM a"
    assert not diff_entries(old, old)


def test_damaged_manifest() -> None:
    for data in (b"nonsense", zlib.compress(b"a\0f\0")):
        with pytest.raises(PackagingError, match="a stored manifest is damaged"):
            decode_entries(data)


@given(raw_name)
def test_printable_never_breaks_a_line_or_an_encoding(name: bytes) -> None:
    shown = printable(os.fsdecode(name))
    shown.encode("utf-8")
    assert "\n" not in shown
    assert "\x1b" not in shown


@given(st.lists(st.tuples(path, st.binary(max_size=700), st.booleans()), max_size=6, unique_by=lambda t: t[0]))
def test_tar_is_what_pythons_tarfile_reads(files: list[tuple[str, bytes, bool]]) -> None:
    tree = [Entry(p, "x" if x else "f", len(data), "00" * 32) for p, data, x in files]
    contents = {p: data for p, data, _ in files}
    stream = b"".join(gzipped(content_members(tree, lambda e: [contents[e.path]])))
    with tarfile.open(fileobj=io.BytesIO(stream), mode="r:gz", encoding="utf-8", errors="surrogateescape") as tar:
        members = {m.name: m for m in tar.getmembers()}
        for p, data, x in files:
            member = members[p.rstrip("/")]
            assert member.mode == (0o755 if x else 0o644)
            read = tar.extractfile(member)
            assert read is not None
            assert read.read() == data


@given(path, path)
def test_long_names_and_targets_in_headers(name: str, target: str) -> None:
    data = header(os.fsencode(name), b"2", 0o777, link=os.fsencode(target)) + END
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as tar:
        (member,) = tar.getmembers()
    assert (member.name, member.linkname) == (name, target)


def test_huge_sizes_and_padding() -> None:
    head = header(b"big", b"0", 0o444, 9 << 30)
    assert tarfile.TarInfo.frombuf(head, "utf-8", "strict").size == 9 << 30
    assert [len(padding(n)) for n in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]


def test_link_archives_are_deterministic_and_never_link_empty_files() -> None:
    tree = [Entry("a/b", "f", 3, "ab" * 32), Entry("a/void", "f", 0, "cd" * 32), Entry("e", "d", 0, "")]
    data = b"".join(link_members(tree))
    assert data == b"".join(link_members(tree))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        kinds = {m.name: (m.type, m.linkname) for m in tar.getmembers()}
    assert kinds["t/a/b"] == (tarfile.LNKTYPE, "objects/ab/" + "ab" * 31)
    assert kinds["t/a/void"] == (tarfile.REGTYPE, "")
    assert kinds["t/e"][0] == tarfile.DIRTYPE


def test_sizes() -> None:
    assert [parse_size(v) for v in (None, 5, "5", "1k", "1.5 MB", "2GiB")] == [None, 5, 5, 1000, 1_500_000, 2 << 30]
    assert [format_size(n) for n in (999, 1000, 999_999, 1_500_000_000)] == ["999 B", "1.0 kB", "1.0 MB", "1.5 GB"]
    for bad in ("", "many", "-1", "5 parsecs", -1, True):
        with pytest.raises(ConfigError, match="is no size"):
            parse_size(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        (".env", "secret"), ("a/.ENV", "secret"), (".env.local", "secret"), (".env.example", ""), (".envoy", ""),
        ("id_rsa", "secret"), ("id_rsa.pub", ""), (".ssh/config", "secret"), ("x/.aws/credentials", "secret"),
        ("credentials", ""), ("env.toml", "secret"), ("key.pem", "maybe"), ("a.key", "maybe"), ("a.p12", "secret"),
        ("keys.py", ""), ("tokenizer.json", ""),
    ],
)  # fmt: skip
def test_credential_names(name: str, verdict: str) -> None:
    assert credential_verdict(name) == verdict


@pytest.mark.parametrize(
    ("where", "target", "leaves"),
    [
        ("l", "a", False), ("l", "/a", True), ("l", "..", True), ("d/l", "../a", False), ("d/l", "../../a", True),
        ("d/l", "x/../../a", False), ("d/l", "./../..", True),
    ],
)  # fmt: skip
def test_links_that_leave(where: str, target: str, leaves: bool) -> None:
    assert leaving_links([Found(where, "l", "", target=target)]) == ([where] if leaves else [])


def test_racy_files_are_not_believed() -> None:
    looked = 1_000_000_000_123_456_789
    assert not is_settled(looked, looked, looked)
    assert not is_settled(looked - 49_000_000, 0, looked)
    assert is_settled(looked - 60_000_000, looked - 60_000_000, looked)
    whole_second = 1_000_000_000_000_000_000 - 1_000_000_000
    assert not is_settled(whole_second, whole_second, looked - 123_456_789)
    assert is_settled(whole_second - 2_000_000_000, 0, looked)


def test_info_round_trip() -> None:
    info = CodeInfo(root="/x", commit="abc", modified=2, diff="d")
    assert CodeInfo.from_dict(info.to_dict() | {"later": 1}) == info
