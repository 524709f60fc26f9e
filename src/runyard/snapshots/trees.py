"""Manifests of snapshots in the index: written once, found again by tree hash."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence

from runyard.errors import PackagingError
from runyard.snapshots.index import Index, now
from runyard.snapshots.manifest import Entry, decode_entries, decode_rows, encode_rows, to_rows

_HIDDEN = -1


def remember(db: sqlite3.Connection, tree: str, entries: Sequence[Entry], root: str) -> None:
    """Record that a tree is used now; store its manifest if it is new. Call it inside a transaction.

    A tree that resembles the last one of the same folder is stored as the difference to it: fifty launches that
    differ in one file must not cost fifty manifests.
    """
    size = sum(e.size for e in entries)
    row = db.execute("SELECT 1 FROM trees WHERE hash=?", (tree,)).fetchone()
    where = os.fsencode(root)
    if row is not None:
        db.execute(
            "UPDATE trees SET used=?, root=?, files=?, bytes=? WHERE hash=?", (now(), where, len(entries), size, tree)
        )
        return
    base, added, removed = _against_last(db, entries, where)
    db.execute(
        "INSERT INTO trees(hash, base, added, removed, files, bytes, root, created, used) VALUES(?,?,?,?,?,?,?,?,?)",
        (tree, base, added, removed, len(entries), size, where, now(), now()),
    )


def _against_last(db: sqlite3.Connection, entries: Sequence[Entry], root: bytes) -> tuple[str, bytes, bytes]:
    rows = to_rows(entries)
    sql = "SELECT hash, base FROM trees WHERE root=? ORDER BY used DESC LIMIT 1"
    last = db.execute(sql, (root,)).fetchone()
    if last is not None:
        base = last[1] or last[0]
        body = db.execute("SELECT added FROM trees WHERE hash=?", (base,)).fetchone()
        old = set(decode_rows(body[0])) if body else set()
        new = set(rows)
        added, gone = new - old, old - new
        if old and (len(added) + len(gone)) * 4 < len(rows):
            paths = {row.partition("\0")[0] for row in added}
            removed = [row for row in gone if row.partition("\0")[0] not in paths]
            return base, encode_rows(sorted(added)), encode_rows(sorted(removed))
    return "", encode_rows(rows), b""


def load_entries(index: Index, tree: str) -> tuple[Entry, ...]:
    """Return the entries of a recorded tree.

    Args:
        index: Index of the store.
        tree: Full hash, or a beginning of it that is unique.

    Raises:
        PackagingError: when no tree, or more than one, has this hash.
    """
    full = find(index, tree)
    base, added, removed = index.rows("SELECT base, added, removed FROM trees WHERE hash=?", (full,))[0]
    entries = {e.path: e for e in decode_entries(bytes(added))}  # type: ignore[call-overload]
    if base:
        body = index.rows("SELECT added FROM trees WHERE hash=?", (base,))
        if not body:
            raise PackagingError(
                f"code {full[:12]}: the manifest it builds on is gone", hint="launch from the working tree"
            )
        gone = {e.path for e in decode_entries(bytes(removed))}  # type: ignore[call-overload]
        old = {e.path: e for e in decode_entries(bytes(body[0][0])) if e.path not in gone}  # type: ignore[call-overload]
        entries = old | entries
    return tuple(sorted(entries.values()))


def find(index: Index, tree: str) -> str:
    """Return the full hash of the recorded tree that begins with ``tree``.

    Raises:
        PackagingError: when there is none, or more than one.
    """
    if tree and all(c in "0123456789abcdef" for c in tree):
        sql = "SELECT hash FROM trees WHERE hash >= ? AND hash < ? AND files >= 0 LIMIT 2"
        rows = index.rows(sql, (tree, tree + "g"))
        if len(rows) == 1:
            return str(rows[0][0])
        if rows:
            raise PackagingError(f"code {tree!r}: several snapshots begin so", hint="give more of the hash")
    raise PackagingError(
        f"code {tree!r}: no snapshot with this hash is stored in {index.path.parent}",
        hint="see `runyard code ls`; it may have been cleaned: launch from the working tree instead",
    )


def touch(index: Index, tree: str) -> None:
    """Record that a stored tree is used now, so that a clean-up keeps it."""
    with index.transaction() as db:
        db.execute("UPDATE trees SET used=? WHERE hash=? AND files >= 0", (now(), tree))


def recent(index: Index, root: str, limit: int = 8) -> list[str]:
    """Return the hashes of the trees last taken of a folder, newest first."""
    sql = "SELECT hash FROM trees WHERE root=? AND files >= 0 ORDER BY used DESC LIMIT ?"
    return [str(row[0]) for row in index.rows(sql, (os.fsencode(root), limit))]


def hide(db: sqlite3.Connection, trees: Sequence[str]) -> None:
    """Remove trees from the record; a manifest that others build on stays, unseen. Call it inside a transaction."""
    db.executemany("UPDATE trees SET files=?, root=NULL WHERE hash=?", [(_HIDDEN, tree) for tree in trees])
    # First those that build on another: they may be what kept it.
    db.execute("DELETE FROM trees WHERE files < 0 AND base != ''")
    db.execute("DELETE FROM trees WHERE files < 0 AND hash NOT IN (SELECT base FROM trees WHERE base != '')")
