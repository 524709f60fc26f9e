"""The index of the local snapshot store: one SQLite file that several processes share.

Tables:

- ``files``: the hash of a file on disk, by path, size, times and inode. A row is believed only when the file had been
  left alone for a moment before it was read; else a second write within the same clock tick could go unseen (git calls
  such files "racy").
- ``blobs``: the sha256 of a git blob, by its object id.
- ``objects``: where the bytes of a hash lie: pack, offset and size. Pack 0 is the loose ``objects/`` folder.
- ``packs``: the pack files.
- ``trees``: the manifests of snapshots; one that resembles an older one is stored as the difference.

**Two processes.** Objects enter the index in one ``BEGIN IMMEDIATE`` transaction after their bytes are in a pack that
the writer holds locked. ``gc`` works inside one such transaction too, and increments ``generation`` whenever it
removes anything. A launch reads ``generation`` together with the cache, and compares it in its final transaction: when
it has changed, every object is looked up again, and what is gone is captured again. From that commit on the tree
counts as used, so that no later ``gc`` removes its objects. So a launch never ends with a tree that misses an object.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from runyard.errors import StoreError
from runyard.home import ensure_private_dir
from runyard.journal import set_journal

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files(path BLOB PRIMARY KEY, size INT, mtime INT, ctime INT, inode INT,
  sha BLOB, pack INT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs(oid TEXT PRIMARY KEY, sha BLOB, size INT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects(sha BLOB PRIMARY KEY, pack INT, offset INT, size INT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS packs(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, size INT, created REAL);
CREATE TABLE IF NOT EXISTS trees(hash TEXT PRIMARY KEY, base TEXT, added BLOB, removed BLOB, files INT, bytes INT,
  root BLOB, created REAL, used REAL);
CREATE INDEX IF NOT EXISTS objects_large ON objects(size) WHERE size > 2097152;
CREATE INDEX IF NOT EXISTS trees_root ON trees(root, used);
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value INT);
INSERT OR IGNORE INTO meta VALUES('generation', 0);
"""
LOOSE = 0
_BUSY_SECONDS = 120.0

COARSE_NS = 2_000_000_000
FINE_NS = 50_000_000


CachedFile = tuple[bytes, int, int, int, int, bytes, int]
"""One row of ``files``: path, size, mtime, ctime, inode, hash, pack. A plain tuple: there are tens of thousands."""


class Located(NamedTuple):
    """Where the bytes of an object lie."""

    pack: int
    offset: int
    size: int


class Index:
    """Connection to the index file in ``folder``; use it as a context manager.

    Args:
        folder: The snapshot store (``RUNYARD_HOME/snapshots``); made when missing.

    Raises:
        StoreError: when the file cannot be opened or is no database.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "index.db"
        with self._translate():
            ensure_private_dir(folder)
            self.db = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._set_up(folder)
            except BaseException:
                self.db.close()
                raise

    def _set_up(self, folder: Path) -> None:
        if self.db.execute("PRAGMA user_version").fetchone()[0] == 0:
            set_journal(self.db, folder, "TRUNCATE", _BUSY_SECONDS)
            self.db.executescript(_SCHEMA)
            self.db.execute("PRAGMA user_version=1")
            os.chmod(self.path, 0o600)
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.execute("PRAGMA cache_size=-16000")

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *exc: object) -> None:
        self.db.close()

    @contextlib.contextmanager
    def _translate(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{self.path.parent}: the snapshot store cannot be used ({error.strerror})",
                hint="give write permission there, or set RUNYARD_HOME to a folder of yours",
            ) from error
        except sqlite3.Error as error:
            damaged = "malformed" in str(error) or "not a database" in str(error)
            hint = (
                f"move {self.path.parent} away; the next launch captures the code anew"
                if damaged
                else "check free space, permissions and other running launches, then try again"
            )
            raise StoreError(f"{self.path}: the snapshot index cannot be used ({error})", hint=hint) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock; commit at the end, roll back on any exception."""
        with self._translate():
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
            except BaseException:
                if self.db.in_transaction:  # a full disk has rolled back already
                    self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")

    def rows(self, sql: str, args: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Run a query and return all its rows."""
        with self._translate():
            return self.db.execute(sql, args).fetchall()

    def generation(self) -> int:
        """Return the number of clean-ups that removed something."""
        with self._translate():
            return int(self.db.execute("SELECT value FROM meta WHERE key='generation'").fetchone()[0])

    def files_below(self, roots: Iterable[str]) -> dict[bytes, CachedFile]:
        """Return the cached hashes of all files below some folders, by absolute path as bytes."""
        found: dict[bytes, CachedFile] = {}
        with self._translate():
            for root in roots:
                low = os.fsencode(root).rstrip(b"/") + b"/"
                high = low[:-1] + b"0"  # the character after "/"
                cursor = self.db.execute(
                    "SELECT path, size, mtime, ctime, inode, sha, pack FROM files WHERE path >= ? AND path < ?",
                    (low, high),
                )
                found.update([(row[0], row) for row in cursor.fetchall()])
        return found

    def alive_packs(self) -> set[int]:
        """Return the ids of packs that exist."""
        with self._translate():
            return {row[0] for row in self.db.execute("SELECT id FROM packs")} | {LOOSE}

    def locate(self, shas: Iterable[bytes]) -> dict[bytes, Located]:
        """Return where the bytes of these hashes lie; unknown ones are left out."""
        one = "SELECT pack, offset, size FROM objects WHERE sha=?"
        found: dict[bytes, Located] = {}
        with self._translate():
            for sha in shas:
                row = self.db.execute(one, (sha,)).fetchone()
                if row is not None:
                    found[sha] = Located(*row)
        return found

    def blobs(self, oids: Iterable[str]) -> dict[str, tuple[bytes, int]]:
        """Return (sha256, size) of git blobs seen before whose bytes are in the store."""
        sql = "SELECT b.sha, b.size FROM blobs b JOIN objects o ON o.sha=b.sha WHERE b.oid=?"
        found: dict[str, tuple[bytes, int]] = {}
        with self._translate():
            for oid in oids:
                row = self.db.execute(sql, (oid,)).fetchone()
                if row is not None:
                    found[oid] = (row[0], row[1])
        return found

    def forget(self, shas: Iterable[bytes]) -> None:
        """Drop objects whose bytes turned out to be damaged, so that the next launch captures them again."""
        rows = [(sha,) for sha in shas]
        with self.transaction() as db:
            db.executemany("DELETE FROM objects WHERE sha=?", rows)
            db.executemany("DELETE FROM files WHERE sha=?", rows)
            bump_generation(db)


def bump_generation(db: sqlite3.Connection) -> None:
    """Tell launches in progress that objects were removed. Call it inside a transaction."""
    db.execute("UPDATE meta SET value=value+1 WHERE key='generation'")


def is_settled(mtime_ns: int, ctime_ns: int, looked_ns: int) -> bool:
    """Tell whether a later change of a file must show in its times, so that its hash may be cached.

    Args:
        mtime_ns: Time of the last change of the content.
        ctime_ns: Time of the last change of the inode.
        looked_ns: This machine's clock before the file was read.
    """
    newest = max(mtime_ns, ctime_ns)
    # Whole seconds mean a file system that counts no finer.
    slack = COARSE_NS if newest % 1_000_000_000 == 0 else FINE_NS
    return newest + slack < looked_ns


def now() -> float:
    """Return the wall clock in seconds; one place, so that tests can set it."""
    return time.time()
