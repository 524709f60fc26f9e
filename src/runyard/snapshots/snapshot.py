"""A snapshot: one code tree as it was, with its hash; list it, compare it, extract it, archive it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runyard.errors import PackagingError
from runyard.home import runyard_home
from runyard.snapshots.listing import CodeInfo, Skipped
from runyard.snapshots.manifest import FOLDER, LINK, Entry, SnapshotDiff, diff_entries, printable
from runyard.snapshots.sizes import format_size


@dataclass(frozen=True)
class Snapshot:
    """What ships: paths, modes and contents at one moment. The bytes lie in the local store and never change.

    Attributes:
        entries: Files, symlinks and empty folders, sorted by path.
        hash: sha256 of the tree: paths, executable bits, contents, link targets.
        info: Commit, counts of modified and untracked files, and the diff.
        warnings: What the user should know: links that leave the tree, large trees, LFS pointers …
        skipped: Files that stay behind on purpose (credentials), with the reason.
        working_dir: Where the packager wants the tree on the target; empty means that the executor decides.
        archive_name: Name for archives made of it; empty means a default.
        folder: The local store that holds the bytes.

    Example:
        >>> snapshot = GitArchivePackager().snapshot("~/project")   # doctest: +SKIP
        >>> [entry.path for entry in snapshot][:2]                  # doctest: +SKIP
        ['README.md', 'train.py']
    """

    entries: tuple[Entry, ...]
    hash: str
    info: CodeInfo = field(default_factory=CodeInfo)
    warnings: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    working_dir: str = ""
    archive_name: str = ""
    folder: Path = field(default_factory=lambda: runyard_home() / "snapshots")

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"Snapshot({self.hash[:12]}, {self.file_count} files, {format_size(self.total_size)})"

    @property
    def total_size(self) -> int:
        """Bytes of all files."""
        return sum(e.size for e in self.entries)

    @property
    def file_count(self) -> int:
        """Number of files, links and empty folders not counted."""
        return sum(1 for e in self.entries if e.tag in "fx")

    def diff(self, other: Snapshot) -> SnapshotDiff:
        """Return what changed from this snapshot to ``other``."""
        return diff_entries(self.entries, other.entries)

    def objects(self) -> dict[str, Entry]:
        """Return one entry per distinct object (content and executable bit) by its key; empty files have none."""
        return {e.key: e for e in self.entries if e.size and e.tag in "fx"}

    def read(self, path: str) -> bytes:
        """Return the content of one file.

        Raises:
            PackagingError: when there is no such file, or its captured bytes are damaged.
        """
        for entry in self.entries:
            if entry.path == path and entry.is_file:
                return b"".join(self._open_one(entry))
        raise PackagingError(f"{path}: no file in {self!r}", hint="list the snapshot to see its files")

    def _open_one(self, entry: Entry) -> Iterator[bytes]:
        from runyard.snapshots.index import Index
        from runyard.snapshots.packs import ObjectReader

        with Index(self.folder) as index, ObjectReader(index, self.folder) as reader:
            yield from reader.chunks(bytes.fromhex(entry.value), entry.size, entry.path) if entry.size else ()

    def write_tar(self, path: str | os.PathLike[str]) -> Path:
        """Write the tree as a ``tar.gz``. Equal trees give equal bytes: no times, no owners, sorted names.

        Args:
            path: File to write, or an existing folder, in which ``archive_name`` (or ``code-<hash>.tar.gz``) is made.

        Returns:
            The path written. It appears only when complete.

        Raises:
            PackagingError: when captured bytes are missing or damaged, or the file cannot be written.
        """
        from runyard.snapshots.extract import write_tar

        return write_tar(self, Path(path).expanduser())

    def extract(self, path: str | os.PathLike[str]) -> Path:
        """Write the tree as ordinary files into a folder that is missing or empty.

        Returns:
            The folder.

        Raises:
            PackagingError: when the folder holds something, or captured bytes are missing or damaged.
        """
        from runyard.snapshots.extract import extract

        return extract(self, Path(path).expanduser())

    def placed(self, working_dir: str) -> Snapshot:
        """Return the same snapshot with another ``working_dir``."""
        return replace(self, working_dir=working_dir)

    def to_dict(self, *, entries: bool = False) -> dict[str, Any]:
        """Return a JSON-able record: hash, sizes, info, warnings, what stayed behind; with ``entries`` the listing too.

        Names that are not UTF-8 appear with ``\\xNN`` escapes: the record is for people, :meth:`load` is for programs.
        """
        data: dict[str, Any] = {
            "hash": self.hash,
            "files": self.file_count,
            "bytes": self.total_size,
            "info": self.info.to_dict(),
            "warnings": list(self.warnings),
            "skipped": [{"path": printable(s.path), "reason": s.reason} for s in self.skipped],
            "working_dir": self.working_dir,
            "archive_name": self.archive_name,
        }
        if entries:
            data["entries"] = [
                {"path": printable(e.path), "kind": _KINDS[e.tag], "size": e.size, "value": printable(e.value)}
                for e in self.entries
            ]
        return data

    @classmethod
    def load(cls, tree: str, *, home: Path | None = None) -> Snapshot:
        """Return a snapshot taken earlier, by its hash or a unique beginning of it.

        Args:
            tree: The hash.
            home: Folder of all records; default ``RUNYARD_HOME``.

        Raises:
            PackagingError: when it is not stored any more.

        Example:
            >>> Snapshot.load("3f2a9c")   # doctest: +SKIP
        """
        from runyard.snapshots import trees
        from runyard.snapshots.index import Index

        folder = (home or runyard_home()) / "snapshots"
        with Index(folder) as index:
            full = trees.find(index, tree)
            entries = trees.load_entries(index, full)
            trees.touch(index, full)
        return cls(entries=entries, hash=full, folder=folder)


_KINDS = {"f": "file", "x": "executable", LINK: "link", FOLDER: "folder"}


def launch_line(snapshot: Snapshot, *, send_files: int | None = None, send_bytes: int | None = None) -> str:
    """Return the one line that a launch prints about its code.

    Args:
        snapshot: What ships.
        send_files: Number of contents that the target lacks; None when not known (yet).
        send_bytes: Their bytes.

    Example:
        >>> from runyard.snapshots.listing import CodeInfo
        >>> info = CodeInfo(commit="8e36c85f00", modified=2, untracked=1)
        >>> launch_line(Snapshot((Entry("a.py", "f", 1200, "00"),), "f" * 64, info), send_files=1, send_bytes=1200)
        'code: commit 8e36c85f + 2 modified, 1 untracked; 1 file, 1.2 kB; to send: 1 file, 1.2 kB'
    """
    info = snapshot.info
    parts = [_origin(info), f"{_count(snapshot.file_count)}, {format_size(snapshot.total_size)}"]
    if send_files is not None:
        parts.append(
            f"to send: {_count(send_files)}, {format_size(send_bytes or 0)}" if send_files else "nothing to send"
        )
    if snapshot.skipped:
        names = [printable(s.path) for s in snapshot.skipped]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        parts.append(f"left behind as credentials: {', '.join(names[:3])}{more}")
    return "code: " + "; ".join(parts)


def _origin(info: CodeInfo) -> str:
    if not info.commit:
        return "no commit" if not info.root else f"{printable(info.root)} (no commit)"
    if info.committed_only:
        return f"commit {info.commit[:8]} only"
    return f"commit {info.commit[:8]} + {info.modified} modified, {info.untracked} untracked"


def _count(n: int) -> str:
    return f"{n} file" if n == 1 else f"{n} files"
