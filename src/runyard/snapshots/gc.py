"""Cleaning the local snapshot store by policy.

**What is kept.** Every tree in the given set of live hashes; every tree used within the grace period, however strict
the policy is; then as many of the others as ``older_than`` and ``max_size`` allow, the ones used last first. What kept
trees need stays; the rest goes.

**Against a launch in another process.** The whole decision is one ``BEGIN IMMEDIATE`` transaction, and it increments
the index's ``generation``. A launch that began before looks at ``generation`` in its own final transaction, and
captures again what is gone; a launch that ended before has its tree marked as used just now, inside the grace period.
A pack that a launch is writing is locked, and left alone; a launch that took up a pack while a clean-up was about to
remove it finds the pack's row gone in its final transaction, and captures again. A reader that has a pack open keeps
reading it after its name is gone; one that comes later finds the object's new place in the index.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from runyard.home import runyard_home
from runyard.snapshots import trees
from runyard.snapshots.index import LOOSE, Index, bump_generation, now
from runyard.snapshots.local import GRACE, LocalStore
from runyard.snapshots.manifest import decode_entries
from runyard.snapshots.packs import HEADER, lock, loose_path, pack_folder


class StoredTree(NamedTuple):
    """One snapshot in the local store.

    Attributes:
        hash: Its hash.
        root: The folder it was taken of.
        files: Number of entries.
        bytes: Bytes of its files (objects shared with other trees counted in full).
        created: When it was first taken, seconds since 1970.
        used: When it was last taken or loaded.
    """

    hash: str
    root: str
    files: int
    bytes: int
    created: float
    used: float


class Cleaned(NamedTuple):
    """What a clean-up did, or in a dry run would do.

    Attributes:
        trees: Hashes of the removed trees.
        objects: Number of removed objects.
        bytes: Bytes freed on disk.
        kept_bytes: Bytes that remain in packs and loose objects.
    """

    trees: tuple[str, ...]
    objects: int
    bytes: int
    kept_bytes: int


def stored_trees(home: Path | None = None) -> list[StoredTree]:
    """Return all snapshots in the local store, the one used last first.

    Args:
        home: Folder of all records; default ``RUNYARD_HOME``.
    """
    sql = "SELECT hash, root, files, bytes, created, used FROM trees WHERE files >= 0 ORDER BY used DESC"
    with Index((home or runyard_home()) / "snapshots") as index:
        return [StoredTree(row[0], os.fsdecode(row[1] or b""), *row[2:]) for row in index.rows(sql)]  # type: ignore[arg-type]


def store_bytes(home: Path | None = None) -> int:
    """Return the bytes that the local store takes on disk: packs, loose objects (each once) and the index."""
    folder = (home or runyard_home()) / "snapshots"
    packs = pack_folder(folder)
    total = sum(p.stat().st_size for p in packs.iterdir()) if packs.is_dir() else 0
    total += LocalStore(folder).usage().bytes
    return total + sum(p.stat().st_size for p in folder.glob("index.db*"))


def gc(
    *,
    live: Iterable[str] = (),
    older_than: float | None = None,
    max_size: int | None = None,
    grace: float = GRACE,
    home: Path | None = None,
    dry_run: bool = False,
) -> Cleaned:
    """Clean the local snapshot store.

    Besides, what lies both in a pack and as a loose object (after a local launch) is kept once.

    Args:
        live: Hashes of trees that unfinished jobs use, or that are pinned; never touched.
        older_than: Remove trees not used for this many seconds; None: age alone removes none.
        max_size: Bytes that captured contents may take; trees not used for the longest time go first. None: no limit.
        grace: Seconds after its last use in which a tree is kept whatever the policy.
        home: Folder of all records; default ``RUNYARD_HOME``.
        dry_run: Change nothing.

    Raises:
        StoreError: when the index cannot be used.

    Example:
        >>> gc(live=running, older_than=14 * 86400, max_size=10 * 10**9)   # doctest: +SKIP
    """
    folder = (home or runyard_home()) / "snapshots"
    with Index(folder) as index, _alone(folder):
        doomed_files: list[Path] = []
        with index.transaction() as db:
            keep, drop = _choose(index, db, set(live), older_than, max_size, grace)
            needed = _needed(db, keep)
            dead = {row[0]: row[1] for row in db.execute("SELECT sha, size FROM objects") if row[0] not in needed}
            if dry_run:
                # What no tree needs, and the second copy of what lies loose as well, is not told apart per pack here.
                kept = db.execute("SELECT COALESCE(SUM(size), 0) FROM objects").fetchone()[0] - sum(dead.values())
                return Cleaned(tuple(drop), len(dead), sum(dead.values()), kept)
            trees.hide(db, drop)
            before = _disk(folder)
            removed = _clean_packs(db, folder, needed, doomed_files)
            loose_dead = [
                (sha,) for (sha,) in db.execute("SELECT sha FROM objects WHERE pack=?", (LOOSE,)) if sha not in needed
            ]
            db.executemany("DELETE FROM objects WHERE sha=?", loose_dead)
            if removed or loose_dead:
                bump_generation(db)
            _forget_files(db)
        for path in doomed_files:
            path.unlink(missing_ok=True)
        # Loose objects that the index needs are the only copy: they stay even when no tree links to them.
        wanted = {str(row[0].hex()) for row in index.rows("SELECT sha FROM objects WHERE pack=?", (LOOSE,))}  # type: ignore[attr-defined]
        LocalStore(folder).sweep(keep=wanted, grace=grace)
        _remove_orphans(index, folder)
        after = _disk(folder)
    return Cleaned(tuple(drop), removed + len(loose_dead), max(0, before - after), after)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one clean-up work at a time: what one has just left as the only copy, another must not sweep as a second."""
    fd = os.open(folder / "gc.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP):  # a file system without locks
            os.close(fd)
            raise
    try:
        yield
    finally:
        os.close(fd)


def _choose(
    index: Index, db: sqlite3.Connection, live: set[str], older_than: float | None, max_size: int | None, grace: float
) -> tuple[list[str], list[str]]:
    """Return the trees to keep and those to remove."""
    rows = db.execute("SELECT hash, used FROM trees WHERE files >= 0 ORDER BY used DESC").fetchall()
    moment = now()
    keep: list[str] = []
    drop: list[str] = []
    counted: set[str] = set()
    total = 0
    # Those that must stay come first, so that the limit counts them before it counts the others.
    rows.sort(key=lambda row: not (row[0] in live or moment - row[1] < grace))
    for tree, used in rows:
        forced = tree in live or moment - used < grace
        if not forced and older_than is not None and moment - used >= older_than:
            drop.append(tree)
            continue
        if max_size is not None:
            entries = trees.load_entries(index, tree)
            new = {e.value: e.size for e in entries if e.tag in "fx" and e.size and e.value not in counted}
            if not forced and total + sum(new.values()) > max_size:
                drop.append(tree)
                continue
            counted |= new.keys()
            total += sum(new.values())
        keep.append(tree)
    return keep, drop


def _needed(db: sqlite3.Connection, keep: list[str]) -> set[bytes]:
    """Return the hashes of all contents of the kept trees (of a tree stored as a difference: its base's too)."""
    needed: set[bytes] = set()
    todo = set(keep)
    for tree in keep:
        todo.update(row[0] for row in db.execute("SELECT base FROM trees WHERE hash=? AND base != ''", (tree,)))
    for tree in todo:
        for (added,) in db.execute("SELECT added FROM trees WHERE hash=?", (tree,)):
            needed.update(bytes.fromhex(e.value) for e in decode_entries(added) if e.tag in "fx" and e.size)
    return needed


def _clean_packs(db: sqlite3.Connection, folder: Path, needed: set[bytes], doomed: list[Path]) -> int:
    """Remove packs nothing needs, rewrite those that are mostly dead, release those whose contents lie loose too."""
    removed = 0
    for pack_id, name, size in db.execute("SELECT id, name, size FROM packs").fetchall():
        path = pack_folder(folder) / name
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            removed += db.execute("DELETE FROM objects WHERE pack=?", (pack_id,)).rowcount
            db.execute("DELETE FROM packs WHERE id=?", (pack_id,))
            continue
        try:
            if not lock(fd):
                continue  # a launch is writing it
            rows = db.execute("SELECT sha, offset, size FROM objects WHERE pack=?", (pack_id,)).fetchall()
            alive = [row for row in rows if row[0] in needed]
            loose = {row[0] for row in alive if _lies_loose(folder, row[0], row[2])}
            packed = [row for row in alive if row[0] not in loose]
            live_bytes = sum(HEADER.size + row[2] for row in packed)
            if packed and live_bytes * 2 > size:
                continue
            if loose:
                os.sync()  # the loose files become the only copy
            db.executemany("UPDATE objects SET pack=?, offset=0 WHERE sha=?", [(LOOSE, sha) for sha in loose])
            if packed:
                _rewrite(db, folder, fd, packed)
            removed += db.execute("DELETE FROM objects WHERE pack=?", (pack_id,)).rowcount
            db.execute("DELETE FROM packs WHERE id=?", (pack_id,))
            doomed.append(path)
        finally:
            os.close(fd)
    return removed


def _lies_loose(folder: Path, sha: bytes, size: int) -> bool:
    """Return True when an object lies as a file of its own too, and that file is what it should be."""
    for executable in (False, True):
        try:
            with loose_path(folder, sha, executable=executable).open("rb") as file:
                if os.fstat(file.fileno()).st_size == size and hashlib.file_digest(file, "sha256").digest() == sha:
                    return True
        except OSError:
            continue
    return False


def _rewrite(db: sqlite3.Connection, folder: Path, source: int, rows: list[tuple[bytes, int, int]]) -> None:
    """Copy records into a new pack, and point the index there."""
    name = f"{os.urandom(8).hex()}.pack"
    fd = os.open(pack_folder(folder) / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        cursor = db.execute("INSERT INTO packs(name, size, created) VALUES(?, 0, ?)", (name, now()))
        end = 0
        for sha, offset, size in sorted(rows, key=lambda row: row[1]):
            left, at, start = HEADER.size + size, offset, end
            while left:
                data = os.pread(source, min(left, 1 << 20), at)
                if not data:
                    break
                os.pwrite(fd, data, end)
                left, at, end = left - len(data), at + len(data), end + len(data)
            db.execute("UPDATE objects SET pack=?, offset=? WHERE sha=?", (cursor.lastrowid, start, sha))
        os.fsync(fd)
        db.execute("UPDATE packs SET size=? WHERE id=?", (end, cursor.lastrowid))
    finally:
        os.close(fd)


def _forget_files(db: sqlite3.Connection) -> None:
    """Drop cached hashes whose content is gone: reading such a file anew costs no more than knowing its hash."""
    db.execute("DELETE FROM files WHERE size > 0 AND sha NOT IN (SELECT sha FROM objects)")
    db.execute("DELETE FROM blobs WHERE sha NOT IN (SELECT sha FROM objects)")


def _remove_orphans(index: Index, folder: Path) -> None:
    """Remove pack files that the index does not know: a process was killed while making one, or removing one."""
    known = {str(row[0]) for row in index.rows("SELECT name FROM packs")}
    for path in pack_folder(folder).glob("*.pack") if pack_folder(folder).is_dir() else ():
        try:
            if path.name in known or now() - path.stat().st_mtime < GRACE:
                continue
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            if lock(fd):
                path.unlink(missing_ok=True)
        finally:
            os.close(fd)


def _disk(folder: Path) -> int:
    packs = pack_folder(folder)
    total = 0
    for path in packs.iterdir() if packs.is_dir() else ():
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total + LocalStore(folder).usage().bytes
