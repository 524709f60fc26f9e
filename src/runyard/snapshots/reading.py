"""Reading files once: hash and bytes in the same pass, into a pack. Internal to :mod:`runyard.snapshots.capture`."""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from runyard.errors import PackagingError
from runyard.snapshots.index import Index
from runyard.snapshots.listing import Found, special_file, unreadable
from runyard.snapshots.manifest import EXECUTABLE, FILE, printable
from runyard.snapshots.packs import CHUNK, HEADER, MAGIC, PackWriter

BATCH = 4 << 20
LARGE = 2 << 20
_GROUP = 64
_FEW = 48


class Read(NamedTuple):
    """What reading one file gave."""

    item: Found
    sha: bytes


class Record(NamedTuple):
    """An object that was appended to the pack."""

    sha: bytes
    offset: int
    size: int


class Known:
    """Tells which contents are in the store already, or were captured a moment ago by another thread."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._guard = threading.Lock()
        self._seen: set[bytes] = set()
        self._stored = bool(index.rows("SELECT 1 FROM objects LIMIT 1"))

    def claim(self, sha: bytes) -> bool:
        """Return True when the caller is the one who must store this content."""
        with self._guard:
            if sha in self._seen or (self._stored and self._index.locate([sha])):
                return False
            self._seen.add(sha)
            return True

    def has(self, sha: bytes) -> bool:
        """Return True when this content is stored."""
        with self._guard:
            return sha in self._seen or bool(self._stored and self._index.locate([sha]))

    def maybe_large(self, size: int) -> bool:
        """Return True when some large content of this size is stored."""
        with self._guard:
            sql = "SELECT 1 FROM objects WHERE size=? AND size > 2097152 LIMIT 1"
            return self._stored and bool(self._index.rows(sql, (size,)))


class Batch:
    """A buffer of records that goes to the pack in one write.

    Args:
        writer: The pack.
        known: Shared by all threads.
        capacity: Bytes of the buffer.
    """

    def __init__(self, writer: PackWriter, known: Known, capacity: int = BATCH) -> None:
        self._writer = writer
        self.known = known
        self._view = memoryview(bytearray(capacity))
        self._pos = 0
        self._pending: list[Record] = []
        self.records: list[Record] = []

    def room(self, size: int) -> memoryview:
        """Return where up to ``size`` bytes of the next object go, writing out what is pending if need be."""
        if self._pos + HEADER.size + size > len(self._view):
            self.flush()
        start = self._pos + HEADER.size
        return self._view[start : start + size]

    def add(self, size: int) -> bytes:
        """Take the ``size`` bytes that were put into :meth:`room` as an object; return its hash."""
        start = self._pos + HEADER.size
        sha = hashlib.sha256(self._view[start : start + size]).digest()
        if size and self.known.claim(sha):
            HEADER.pack_into(self._view, self._pos, MAGIC, size, sha)
            self._pending.append(Record(sha, self._pos, size))
            self._pos = start + size
        return sha

    def flush(self) -> None:
        """Write out what is pending."""
        if self._pos:
            base = self._writer.reserve(self._pos)
            self._writer.write(self._view[: self._pos], base)
            self.records += [Record(sha, base + offset, size) for sha, offset, size in self._pending]
            self._pending.clear()
            self._pos = 0

    def stream(self, read: Callable[[int], bytes], size: int) -> bytes:
        """Take a large object in pieces; return its hash. ``read(n)`` gives up to n bytes, and nothing at the end."""
        base = self._writer.reserve(HEADER.size + size)
        digest = hashlib.sha256()
        offset = base + HEADER.size
        while data := read(CHUNK):
            if offset + len(data) > base + HEADER.size + size:
                raise EOFError
            digest.update(data)
            self._writer.write(data, offset)
            offset += len(data)
        if offset != base + HEADER.size + size:
            raise EOFError
        sha = digest.digest()
        self._writer.write(HEADER.pack(MAGIC, size, sha), base)
        if self.known.claim(sha):
            self.records.append(Record(sha, base, size))
        return sha


def read_files(
    items: Sequence[Found], writer: PackWriter, index: Index, workers: int
) -> tuple[list[Read], list[Record]]:
    """Read files from disk, each exactly once, and append new contents to the pack.

    Returns:
        One :class:`Read` per file, in any order, and the records written.

    Raises:
        PackagingError: for the first file that cannot be read, or that changes meanwhile.
    """
    known = Known(index)
    if len(items) <= _FEW:
        need = sum(min(f.size, LARGE) + HEADER.size + 1 for f in items)
        batch = Batch(writer, known, min(BATCH, need + 4096))
        few = [read_file(item, batch) for item in items]
        batch.flush()
        return few, batch.records
    todo = iter(items)
    guard = threading.Lock()
    reads: list[Read] = []
    records: list[Record] = []
    errors: list[BaseException] = []

    def work() -> None:
        batch = Batch(writer, known)
        mine: list[Read] = []
        try:
            while not errors:
                with guard:
                    group = list(itertools.islice(todo, _GROUP))
                if not group:
                    break
                mine += [read_file(item, batch) for item in group]
            batch.flush()
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            errors.append(error)
        with guard:
            reads.extend(mine)
            records.extend(batch.records)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers - 1)]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return reads, records


def read_file(item: Found, batch: Batch) -> Read:
    """Read one file into a batch.

    Raises:
        PackagingError: when it is gone, cannot be read, or changes while being read.
    """
    try:
        # O_NONBLOCK: should a FIFO stand there now, opening it must not wait for a writer.
        fd = os.open(item.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise changed(item.source, "was removed") from None
    except OSError as error:
        if os.path.islink(item.source):
            raise changed(item.source, "was replaced by a link") from None
        raise unreadable(item.source, error) from None
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            raise special_file(item.source, before.st_mode)
        size = before.st_size
        if size > LARGE:
            sha = _read_large(fd, size, batch)
        else:
            room = batch.room(size + 1)  # one byte more, to notice a file that grows
            got = os.readv(fd, [room])
            while 0 < got < size and (more := os.readv(fd, [room[got:]])):
                got += more
            if got != size:
                raise EOFError
            sha = batch.add(size)
        after = os.fstat(fd)
    except EOFError:
        raise changed(item.source, "changed its size") from None
    except OSError as error:
        raise unreadable(item.source, error) from None
    finally:
        os.close(fd)
    if (after.st_size, after.st_mtime_ns) != (size, before.st_mtime_ns):
        raise changed(item.source, "changed")
    tag = EXECUTABLE if before.st_mode & 0o111 else FILE
    seen = Found(item.path, tag, item.source, size, after.st_mtime_ns, after.st_ctime_ns, after.st_ino)
    return Read(seen, sha)


def _read_large(fd: int, size: int, batch: Batch) -> bytes:
    if batch.known.maybe_large(size):
        # Probably the same content under another name or time: hash first, and write only if it is new.
        digest = hashlib.sha256()
        while data := os.read(fd, CHUNK):
            digest.update(data)
        if batch.known.has(digest.digest()):
            return digest.digest()
        os.lseek(fd, 0, os.SEEK_SET)
    return batch.stream(lambda n: os.read(fd, n), size)


def changed(source: str, how: str) -> PackagingError:
    """Return the error for a file that does not hold still."""
    return PackagingError(
        f"{printable(source)}: {how} while being read",
        hint="launch again when nothing writes to it, or exclude it (.gitignore or exclude_pattern)",
    )


def read_blobs(items: Sequence[Found], writer: PackWriter, index: Index) -> tuple[list[Read], list[Record]]:
    """Read git blobs through ``git cat-file --batch``, one process per repository.

    Raises:
        PackagingError: when git does not have an object.
    """
    batch = Batch(writer, Known(index))
    reads: list[Read] = []
    for repo in sorted({item.repo for item in items}):
        mine = [item for item in items if item.repo == repo]
        for item, size, read in stream_blobs(repo, mine):
            try:
                if size > LARGE:
                    sha = batch.stream(read, size)
                else:
                    room = batch.room(size)
                    got = 0
                    while data := read(size - got):
                        room[got : got + len(data)] = data
                        got += len(data)
                    if got != size:
                        raise EOFError
                    sha = batch.add(size)
            except EOFError:
                raise PackagingError(
                    f"{printable(item.path)}: git ended in the middle of object {item.blob} of {repo}",
                    hint="run `git fsck` in this repository",
                ) from None
            reads.append(Read(item._replace(size=size), sha))
    batch.flush()
    return reads, batch.records


def stream_blobs(repo: str, items: Iterable[Found]) -> Iterator[tuple[Found, int, Callable[[int], bytes]]]:
    """Yield (item, size, read) for git blobs; ``read(n)`` must be called to the end before the next item.

    Raises:
        PackagingError: when git does not have an object (a shallow or partial clone, a damaged repository).
    """
    wanted = list(items)
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    git = subprocess.Popen(
        ["git", "-C", repo, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    )
    assert git.stdin is not None
    assert git.stdout is not None
    stdin, stdout = git.stdin, git.stdout

    def feed() -> None:
        try:
            stdin.write("".join(f"{item.blob}\n" for item in wanted).encode())
            stdin.close()
        except BrokenPipeError:
            pass  # the reader has given up; it tells why

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    try:
        for item in wanted:
            words = stdout.readline().split()
            if len(words) != 3:
                raise PackagingError(
                    f"{printable(item.path)}: git in {repo} does not have its object {item.blob}",
                    hint="fetch it (`git fetch --unshallow` in a shallow clone, `git fsck` to check)",
                )
            left = size = int(words[2])

            def read(n: int) -> bytes:
                nonlocal left
                data = stdout.read(min(n, left))
                left -= len(data)
                return data

            yield item, size, read
            while left and read(CHUNK):
                pass
            stdout.read(1)
    finally:
        git.kill()
        stdout.close()
        git.wait()
        feeder.join(timeout=5)
        stdin.close() if not stdin.closed else None
