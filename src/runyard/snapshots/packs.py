"""Packs: append-only files that hold captured bytes, one record after the other.

A record is a header (magic, size, sha256) and the bytes. A record counts only once the index names it, which happens
after it was written whole; what a killed process left at the end of a pack is cut off by the next writer. A writer
holds an exclusive ``flock`` on its pack, so that two launches write into two packs, and a clean-up leaves a pack alone
that is being written.

Nothing waits for the disk here: a launch would pay for whatever else is being written. Should a power cut take bytes
that the index names already, then reading them shows it (header, size and hash are checked each time), the object is
forgotten, and the next launch captures it anew.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from runyard.errors import PackagingError
from runyard.home import ensure_private_dir
from runyard.snapshots.index import LOOSE, Index, Located, now
from runyard.snapshots.sizes import format_size

MAGIC = b"RYO1"
HEADER = struct.Struct("<4sQ32s")
PACK_LIMIT = 2 * 10**9
CHUNK = 1 << 20


def pack_folder(folder: Path) -> Path:
    """Return the folder of the packs of a store."""
    return folder / "packs"


def loose_path(folder: Path, sha: bytes, *, executable: bool = False) -> Path:
    """Return where an object lies as a file of its own in a store."""
    name = sha.hex()
    return folder / "objects" / name[:2] / f"{name[2:]}{'x' if executable else ''}"


def lock(fd: int) -> bool:
    """Take the exclusive lock on an open file if nobody holds it; return whether that worked.

    False as well on a file system without locks: a pack is then never shared, and each launch writes its own.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.ENOLCK, errno.ENOTSUP):
            return False
        raise
    return True


def no_space(path: Path, error: OSError) -> PackagingError:
    """Return the error for a store that cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return PackagingError(
        f"{path}: {'no space left' if full else 'cannot be written'} ({error.strerror})",
        hint="free space there with `runyard code gc`, or set RUNYARD_HOME to a larger disk"
        if full
        else "check the permissions of this folder, or set RUNYARD_HOME to another",
    )


class PackWriter:
    """An open, locked pack, to which several threads append. Use it as a context manager.

    Args:
        index: Index of the store.
        folder: Folder of the store.
    """

    def __init__(self, index: Index, folder: Path) -> None:
        self.folder = ensure_private_dir(pack_folder(folder))
        self._guard = threading.Lock()
        try:
            self.pack_id, self.path, self.fd, self._end = self._reuse(index) or self._create(index)
        except OSError as error:
            raise no_space(self.folder, error) from error
        self.start = self._end

    def _reuse(self, index: Index) -> tuple[int, Path, int, int] | None:
        """Continue the newest pack that nobody writes and that has room; cut off what a crash left at its end."""
        sql = "SELECT id, name FROM packs WHERE size < ? ORDER BY id DESC LIMIT 4"
        for pack_id, name in index.rows(sql, (PACK_LIMIT,)):
            path = self.folder / str(name)
            try:
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                continue
            size = index.rows("SELECT size FROM packs WHERE id=?", (pack_id,)) if lock(fd) else []
            # The size is asked under the lock: another writer may just have ended, or a clean-up removed the pack.
            if size and os.fstat(fd).st_size >= int(str(size[0][0])) and os.fstat(fd).st_nlink:
                end = int(str(size[0][0]))
                os.ftruncate(fd, end)
                return int(str(pack_id)), path, fd, end
            os.close(fd)
        return None

    def _create(self, index: Index) -> tuple[int, Path, int, int]:
        name = f"{os.urandom(8).hex()}.pack"
        path = self.folder / name
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        lock(fd)
        with index.transaction() as db:
            pack_id = db.execute("INSERT INTO packs(name, size, created) VALUES(?, 0, ?)", (name, now())).lastrowid
        assert pack_id is not None
        return pack_id, path, fd, 0

    def reserve(self, length: int) -> int:
        """Return the offset of ``length`` bytes that belong to the caller."""
        with self._guard:
            offset = self._end
            self._end += length
        return offset

    def write(self, data: memoryview | bytes, offset: int) -> None:
        """Write bytes at a reserved offset.

        Raises:
            PackagingError: when the disk is full or cannot be written.
        """
        view = memoryview(data)
        try:
            while view:
                done = os.pwrite(self.fd, view, offset)
                view, offset = view[done:], offset + done
        except OSError as error:
            raise no_space(self.path, error) from error

    @property
    def end(self) -> int:
        """Where the next record would begin."""
        return self._end

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            # Nothing of this run was recorded: give the space back at once.
            try:
                os.ftruncate(self.fd, self.start)
            except OSError:
                pass
        os.close(self.fd)


class ObjectReader:
    """Reads objects out of packs and the loose folder, and checks each against its size and hash.

    Args:
        index: Index of the store.
        folder: Folder of the store.
    """

    def __init__(self, index: Index, folder: Path) -> None:
        self._index = index
        self._folder = folder
        self._packs: dict[int, int] = {}

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(self, *exc: object) -> None:
        for fd in self._packs.values():
            os.close(fd)
        self._packs.clear()

    def locate(self, shas: Iterator[bytes] | list[bytes]) -> dict[bytes, Located]:
        """Return where objects lie; unknown ones are left out."""
        return self._index.locate(shas)

    def chunks(self, sha: bytes, size: int, path: str) -> Iterator[bytes]:
        """Yield an object's bytes; the last chunk comes only after the hash was found right.

        Args:
            sha: The object.
            size: Its expected size in bytes.
            path: Path of the file in the tree, for messages.

        Raises:
            PackagingError: when the object is missing or damaged. It is then forgotten, so that the next launch
                captures it anew.
        """
        fd, offset, own = self._open(sha, size, path)
        digest = hashlib.sha256()
        try:
            left = size
            held = b""
            while left:
                data = os.pread(fd, min(left, CHUNK), offset)
                if not data:
                    break
                digest.update(data)
                left -= len(data)
                offset += len(data)
                if held:
                    yield held
                held = data
            if left or digest.digest() != sha:
                raise self._damaged(sha, path)
            if held:
                yield held
        finally:
            if own:
                os.close(fd)

    def read(self, sha: bytes, size: int, path: str) -> bytes:
        """Return the whole content of an object; for small ones."""
        return b"".join(self.chunks(sha, size, path))

    def _open(self, sha: bytes, size: int, path: str) -> tuple[int, int, bool]:
        for _ in range(3):
            where = self._index.locate([sha]).get(sha)
            if where is None or where.size != size:
                break
            if where.pack == LOOSE:
                for executable in (False, True):
                    try:
                        return os.open(loose_path(self._folder, sha, executable=executable), os.O_RDONLY), 0, True
                    except FileNotFoundError:
                        continue
                break
            fd = self._packs.get(where.pack)
            if fd is None:
                rows = self._index.rows("SELECT name FROM packs WHERE id=?", (where.pack,))
                try:
                    fd = os.open(pack_folder(self._folder) / str(rows[0][0]), os.O_RDONLY | os.O_CLOEXEC)
                except (IndexError, FileNotFoundError):
                    continue  # a clean-up moved the object a moment ago: look again
                self._packs[where.pack] = fd
            header = os.pread(fd, HEADER.size, where.offset)
            if header != HEADER.pack(MAGIC, size, sha):
                break
            return fd, where.offset + HEADER.size, False
        raise self._damaged(sha, path)

    def _damaged(self, sha: bytes, path: str) -> PackagingError:
        self._index.forget([sha])
        return PackagingError(
            f"{path}: its captured bytes in {self._folder} are missing or damaged (object {sha.hex()[:12]})",
            hint="launch again: the file is captured anew from disk",
        )


def describe(folder: Path) -> str:
    """Return one line about the packs of a store, for logs."""
    sizes = [p.stat().st_size for p in pack_folder(folder).glob("*.pack")]
    return f"{len(sizes)} packs, {format_size(sum(sizes))}"
