"""Turning a listing into a snapshot: hash what is new, keep its bytes, record the tree."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from runyard.errors import PackagingError
from runyard.home import runyard_home
from runyard.snapshots import trees
from runyard.snapshots.index import LOOSE, Index, is_settled
from runyard.snapshots.listing import Found, Listing
from runyard.snapshots.manifest import Entry, normalise, tree_hash
from runyard.snapshots.packs import PackWriter
from runyard.snapshots.reading import Read, Record, read_blobs, read_files
from runyard.snapshots.snapshot import Snapshot

WORKERS = min(4, max(2, os.cpu_count() or 2))
_TRIES = 5


class _Cleaned(Exception):
    """A clean-up removed objects while this snapshot was being taken."""


_scratch: ContextVar[Path | None] = ContextVar("scratch", default=None)


@contextmanager
def scratch() -> Iterator[None]:
    """Within this block snapshots are for looking at: what they keep goes into a temporary folder, and ends with it."""
    with tempfile.TemporaryDirectory(prefix="runyard-") as folder:
        token = _scratch.set(Path(folder))
        try:
            yield
        finally:
            _scratch.reset(token)


def store_folder(home: Path | None = None) -> Path:
    """Return the local snapshot store: ``snapshots`` below ``RUNYARD_HOME`` (or below ``home``)."""
    return (home or runyard_home()) / "snapshots"


def capture(
    listing: Listing, *, home: Path | None = None, working_dir: str = "", archive_name: str = "", workers: int = WORKERS
) -> Snapshot:
    """Take a snapshot of what a packager listed.

    Files whose hash is cached are not read. The others are read once: that pass hashes them and appends contents
    never seen before to a pack, so that the snapshot stays what it was whatever happens on disk afterwards.

    Args:
        listing: What to ship.
        home: Folder of all records; default ``RUNYARD_HOME``.
        working_dir: Where the tree is to lie on the target; only carried along.
        archive_name: Name for archives; only carried along.
        workers: Threads that read.

    Raises:
        PackagingError: when a file cannot be read or changes while being read, or the disk is full.
        StoreError: when the index of the store cannot be used.
    """
    folder = _scratch.get() or store_folder(home)
    with Index(folder) as index:
        for _ in range(_TRIES):
            try:
                entries, tree = _attempt(listing, index, folder, workers)
                break
            except _Cleaned:
                continue
        else:
            raise PackagingError(
                f"{folder}: clean-ups by other processes keep removing objects", hint="launch again when they are done"
            )
    return Snapshot(
        entries=entries,
        hash=tree,
        info=listing.info,
        warnings=tuple(listing.warnings),
        skipped=tuple(sorted(listing.skipped)),
        working_dir=working_dir,
        archive_name=archive_name,
        folder=store_folder(home),
    )


def _attempt(listing: Listing, index: Index, folder: Path, workers: int) -> tuple[tuple[Entry, ...], str]:
    generation = index.generation()
    entries, todo, moved = _from_cache(listing, index)
    if not todo:
        return _finish(listing, index, generation, entries, moved, [], [], None, 0)
    looked = time.time_ns()
    with PackWriter(index, folder) as writer:
        disk = [f for f in todo if not f.blob]
        blobs = [f for f in todo if f.blob]
        reads, records = read_files(disk, writer, index, workers) if disk else ([], [])
        if blobs:
            more_reads, more_records = read_blobs(blobs, writer, index)
            reads, records = reads + more_reads, records + more_records
        entries += [Entry(item.path, item.tag, item.size, sha.hex()) for item, sha in reads]
        return _finish(listing, index, generation, entries, moved, reads, records, writer, looked)


def _from_cache(listing: Listing, index: Index) -> tuple[list[Entry], list[Found], list[tuple[int, bytes]]]:
    """Return the entries that need no reading, what must be read, and (pack, path) of cached files that have moved."""
    cached = index.files_below(listing.roots)
    alive = index.alive_packs() - {LOOSE}
    blobs = index.blobs(f.blob for f in listing.found if f.blob)
    entries: list[Entry] = []
    todo: list[Found] = []
    doubtful: list[tuple[Found, bytes]] = []
    encode = os.fsencode
    for item in listing.found:
        path, tag, source, size, mtime, ctime, inode, target, blob, _ = item
        if tag not in "fx":
            entries.append(Entry(path, tag, 0, target))
        elif blob:
            known = blobs.get(blob)
            if known is None:
                todo.append(item)
            else:
                entries.append(Entry(path, tag, known[1], known[0].hex()))
        else:
            row = cached.get(encode(source))
            if row is None or row[1:5] != (size, mtime, ctime, inode):
                todo.append(item)
            elif row[6] in alive or not size:
                entries.append(Entry(path, tag, size, row[5].hex()))
            else:
                doubtful.append((item, row[5]))
    located = index.locate(sha for _, sha in doubtful)
    moved: list[tuple[int, bytes]] = []
    for item, sha in doubtful:
        where = located.get(sha)
        if where is not None:
            if where.pack != cached[encode(item.source)][6]:
                moved.append((where.pack, encode(item.source)))
            entries.append(Entry(item.path, item.tag, item.size, sha.hex()))
        else:
            todo.append(item)
    return entries, todo, moved


def _finish(
    listing: Listing,
    index: Index,
    generation: int,
    entries: list[Entry],
    moved: list[tuple[int, bytes]],
    reads: list[Read],
    records: list[Record],
    writer: PackWriter | None,
    looked: int,
) -> tuple[tuple[Entry, ...], str]:
    """Record objects, hashes and the tree in one transaction; after it a clean-up keeps them."""
    ordered = normalise(entries)
    tree = tree_hash(ordered)
    root = listing.roots[0] if listing.roots else ""
    packed = {record.sha for record in records}
    with index.transaction() as db:
        if index.generation() != generation:
            needed = {bytes.fromhex(e.value) for e in ordered if e.size and e.tag in "fx"} - packed
            if len(index.locate(needed)) != len(needed):
                raise _Cleaned
        db.executemany("UPDATE files SET pack=? WHERE path=?", moved)
        if writer is not None:
            elsewhere = index.locate({sha for _, sha in reads} - packed)
            pack = writer.pack_id
            db.executemany(
                "INSERT OR REPLACE INTO objects(sha, pack, offset, size) VALUES(?,?,?,?)",
                [(sha, pack, offset, size) for sha, offset, size in records],
            )
            if db.execute("UPDATE packs SET size=? WHERE id=?", (writer.end, pack)).rowcount != 1:
                raise _Cleaned  # the pack was locked here before the clean-up that removed it had committed
            rows = []
            for f, sha in reads:
                if not f.blob and is_settled(f.mtime_ns, f.ctime_ns, looked):
                    where = pack if sha in packed else elsewhere[sha].pack if sha in elsewhere else LOOSE
                    rows.append((os.fsencode(f.source), f.size, f.mtime_ns, f.ctime_ns, f.inode, sha, where))
            db.executemany(
                "INSERT OR REPLACE INTO files(path, size, mtime, ctime, inode, sha, pack) VALUES(?,?,?,?,?,?,?)", rows
            )
            db.executemany(
                "INSERT OR REPLACE INTO blobs(oid, sha, size) VALUES(?,?,?)",
                [(f.blob, sha, f.size) for f, sha in reads if f.blob and f.size],
            )
        trees.remember(db, tree, ordered, root)
    return ordered, tree
