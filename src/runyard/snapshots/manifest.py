"""A manifest: what a code tree holds, its hash, and how two of them differ. Pure; touches no disk."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from runyard.errors import PackagingError

FILE = "f"
EXECUTABLE = "x"
LINK = "l"
FOLDER = "d"
_TAGS = frozenset((FILE, EXECUTABLE, LINK, FOLDER))
_VERSION = b"runyard-tree 1\0"


class Entry(NamedTuple):
    """One file, symlink or empty folder of a code tree.

    Names that are not UTF-8 are kept as :func:`os.fsdecode` gives them (surrogate escapes), so that no byte is lost.

    Attributes:
        path: Relative path with ``/`` between its parts.
        tag: ``f`` file, ``x`` executable file, ``l`` symlink, ``d`` folder (named only where it is empty).
        size: Bytes; 0 for links and folders.
        value: sha256 in hex of a file, the target of a symlink, else empty.
    """

    path: str
    tag: str
    size: int
    value: str

    @property
    def is_file(self) -> bool:
        """True for a regular file, executable or not."""
        return self.tag in "fx"

    @property
    def executable(self) -> bool:
        """True for a file with the executable bit."""
        return self.tag == EXECUTABLE

    @property
    def sha256(self) -> str:
        """The content's hash in hex; empty for a link or folder."""
        return self.value if self.tag in "fx" else ""

    @property
    def target(self) -> str:
        """What a symlink points to; empty otherwise."""
        return self.value if self.tag == LINK else ""

    @property
    def key(self) -> str:
        """Path of the object below ``objects/``: ``ab/cdef…``, with ``x`` at the end of an executable's."""
        return f"{self.value[:2]}/{self.value[2:]}{'x' if self.tag == EXECUTABLE else ''}"


@dataclass(frozen=True)
class SnapshotDiff:
    """How one tree differs from another: relative paths, sorted.

    Example:
        >>> old = [Entry("a", "f", 1, "11"), Entry("b", "f", 1, "22")]
        >>> new = [Entry("a", "x", 1, "11"), Entry("c", "f", 1, "22")]
        >>> print(diff_entries(old, new))
        A c
        D b
        M a
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        rows = [("A", p) for p in self.added] + [("D", p) for p in self.removed] + [("M", p) for p in self.changed]
        return "\n".join(f"{mark} {printable(path)}" for mark, path in rows)


def printable(path: str) -> str:
    """Return a path fit for a terminal line: no control characters, no lone surrogates."""
    if path.isprintable():
        return path
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").translate(_CONTROL)


_CONTROL = {n: f"\\x{n:02x}" for n in (*range(32), 127)}


def diff_entries(old: Iterable[Entry], new: Iterable[Entry]) -> SnapshotDiff:
    """Compare two trees by path, kind and content."""
    before = {e.path: e for e in old}
    after = {e.path: e for e in new}
    return SnapshotDiff(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(sorted(p for p in before.keys() & after.keys() if before[p] != after[p])),
    )


def normalise(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Sort entries by path, and check that together they make a tree.

    A folder is kept only where it is empty: files imply their folders.

    Raises:
        PackagingError: for a path that is absolute, leaves the tree, is given twice, or is both file and folder.
    """
    ordered = sorted(entries)
    folders: set[str] = set()
    last_path, last_head = "/", ""  # a path that no entry may have
    redundant = False
    for entry in ordered:
        path = entry.path
        if path == last_path:
            if entry.tag != FOLDER:
                raise PackagingError(f"{printable(path)}: two files claim this path", hint="exclude one of them")
            redundant = True
        last_path = path
        head, _, name = path.rpartition("/")
        if head != last_head or not head:
            _check_path(path)
            last_head = head
            while head and head not in folders:
                folders.add(head)
                head = head.rpartition("/")[0]
        elif name in ("", ".", "..") or "\0" in name:
            _check_path(path)
    for entry in ordered:
        if entry.path in folders:
            if entry.tag != FOLDER:
                raise PackagingError(
                    f"{printable(entry.path)}: is a file in one place and a folder in another",
                    hint="exclude one of them",
                )
            redundant = True
    if redundant:
        return tuple({e.path: e for e in ordered if e.path not in folders}.values())
    return tuple(ordered)


def _check_path(path: str) -> None:
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise PackagingError(
            f"{printable(path)!r}: no path inside a code tree", hint="paths are relative, without '..' or empty parts"
        )


def tree_hash(entries: Sequence[Entry]) -> str:
    """Return the sha256, in hex, of a normalised tree: paths, kinds, contents and link targets; no times, no owners.

    Example:
        >>> tree_hash([])[:8]
        '343dd0e1'
    """
    body = "".join([f"{tag}\0{value}\0{path}\0" for path, tag, _, value in entries])
    return hashlib.sha256(_VERSION + body.encode("utf-8", "surrogateescape")).hexdigest()


def to_rows(entries: Iterable[Entry]) -> list[str]:
    """Return entries as text, one row each, made to be stored and compared fast.

    Rows are joined by two zero characters. Neither stands inside a row: every field holds something, and no zero.
    """
    return [f"{path}\0{value or '-'}\0{size}\0{tag}" for path, tag, size, value in entries]


def encode_rows(rows: Iterable[str]) -> bytes:
    """Return the rows of :func:`to_rows` as compact bytes for storage."""
    return zlib.compress("\0\0".join(rows).encode("utf-8", "surrogateescape"), 1)


def decode_rows(data: bytes) -> list[str]:
    """Read what :func:`encode_rows` wrote.

    Raises:
        PackagingError: when the bytes are damaged.
    """
    try:
        text = zlib.decompress(data).decode("utf-8", "surrogateescape")
    except zlib.error as error:
        raise _damaged(error) from None
    return text.split("\0\0") if text else []


def encode_entries(entries: Iterable[Entry]) -> bytes:
    """Return entries as compact bytes for storage; :func:`decode_entries` reads them."""
    return encode_rows(to_rows(entries))


def decode_entries(data: bytes) -> list[Entry]:
    """Read what :func:`encode_entries` wrote.

    Raises:
        PackagingError: when the bytes are damaged.
    """
    entries = []
    try:
        for row in decode_rows(data):
            path, value, size, tag = row.split("\0")
            entries.append(Entry(path, tag, int(size), "" if tag == FOLDER else value))
    except ValueError as error:
        raise _damaged(error) from None
    return entries


def _damaged(error: Exception) -> PackagingError:
    return PackagingError(f"a stored manifest is damaged ({error})", hint="launch again from the working tree")
