"""Whether the database can be used, looked at without changing it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from runyard.errors import StoreError
from runyard.store.db import NAME
from runyard.store.migrations import STEPS

MISSING, USABLE, NEWER, DAMAGED = "missing", "usable", "newer", "damaged"

_DAMAGE = ("malformed", "disk image", "not a database", "no such table", "no such column", "encrypted", "corrupt")


@dataclass(frozen=True)
class Health:
    """What was found.

    Args:
        state: ``missing``, ``usable``, ``newer`` (written by a newer Runyard) or ``damaged``.
        version: Number of its schema.
        detail: What is wrong, in SQLite's words.
    """

    state: str
    version: int = 0
    detail: str = ""


def check(home: Path) -> Health:
    """Look at the database of a home folder.

    Raises:
        StoreError: when it cannot be looked at now: locked, no permission.
    """
    path = home / NAME
    if not path.exists():
        return Health(MISSING)
    try:
        with path.open("rb"):
            pass
        return _look(path)
    except OSError as e:
        raise StoreError(f"the store {path} cannot be read: {e.strerror}", hint="make it readable for you") from e
    except sqlite3.DatabaseError as e:
        if isinstance(e, sqlite3.OperationalError) and not any(word in str(e).lower() for word in _DAMAGE):
            raise StoreError(f"the store {path}: {e}", hint="try again when other processes have finished") from e
        return Health(DAMAGED, detail=str(e))


def _look(path: Path) -> Health:
    con = sqlite3.connect(path, timeout=10.0)
    try:
        con.execute("PRAGMA query_only = ON")
        version = int(con.execute("PRAGMA user_version").fetchone()[0])
        if version > len(STEPS):
            return Health(NEWER, version)
        told = con.execute("PRAGMA quick_check(1)").fetchone()[0]
        if told != "ok":
            return Health(DAMAGED, version, str(told))
        if version:
            for table in ("experiments", "jobs", "attempts", "events"):
                con.execute(f"SELECT 1 FROM {table} LIMIT 1")
        elif con.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return Health(DAMAGED, version, "it holds tables that are not Runyard's")
        return Health(USABLE, version)
    finally:
        con.close()
