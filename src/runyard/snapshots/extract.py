"""Writing a snapshot out: as an archive, or as ordinary files."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from runyard.errors import PackagingError
from runyard.snapshots.index import Index
from runyard.snapshots.manifest import FOLDER, LINK, Entry
from runyard.snapshots.packs import ObjectReader
from runyard.snapshots.snapshot import Snapshot
from runyard.snapshots.tarstream import content_members, gzipped


def write_tar(snapshot: Snapshot, path: Path) -> Path:
    """See :meth:`Snapshot.write_tar`."""
    if path.is_dir():
        path = path / (snapshot.archive_name or f"code-{snapshot.hash[:12]}.tar.gz")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with Index(snapshot.folder) as index, ObjectReader(index, snapshot.folder) as reader, part.open("xb") as out:
            for piece in gzipped(content_members(snapshot.entries, content_of(reader))):
                out.write(piece)
        part.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        part.unlink(missing_ok=True)
    return path


class content_of:
    """Callable that gives an entry's content in pieces."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    def __call__(self, entry: Entry) -> Iterable[bytes]:
        return self._reader.chunks(bytes.fromhex(entry.value), entry.size, entry.path)


def extract(snapshot: Snapshot, path: Path) -> Path:
    """See :meth:`Snapshot.extract`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise PackagingError(f"{path}: is not empty", hint="give a new folder, so that nothing is overwritten")
        with Index(snapshot.folder) as index, ObjectReader(index, snapshot.folder) as reader:
            make_folders(snapshot.entries, str(path))
            for entry in snapshot.entries:
                target = os.path.join(path, entry.path)
                if entry.tag == LINK:
                    os.symlink(entry.value, target)
                elif entry.tag != FOLDER:
                    write_file(entry, target, reader, 0o755 if entry.executable else 0o644)
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def make_folders(entries: Iterable[Entry], top: str) -> None:
    """Make all folders of a tree below ``top``."""
    made = {""}
    for entry in entries:
        folder = entry.path if entry.tag == FOLDER else entry.path.rpartition("/")[0]
        if folder not in made:
            made.add(folder)
            os.makedirs(f"{top}/{folder}", exist_ok=True)


def write_file(entry: Entry, target: str, reader: ObjectReader, mode: int) -> None:
    """Write one captured file; ``mode`` is subject to the umask."""
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        if entry.size:
            for piece in reader.chunks(bytes.fromhex(entry.value), entry.size, entry.path):
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def cannot_write(path: Path | str, error: OSError) -> PackagingError:
    """Return the error for a target that refuses to be written."""
    return PackagingError(
        f"{path}: cannot be written ({error.strerror or error}; {error.filename or path})",
        hint="free space or give write permission there, or choose another folder; `runyard code gc` frees space",
    )
