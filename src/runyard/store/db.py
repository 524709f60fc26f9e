"""The connection to ``runyard.db``: opening, migrating, transactions, and errors in words."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runyard.errors import StoreError
from runyard.home import ensure_private_dir, runyard_home
from runyard.journal import set_journal
from runyard.store.migrations import STEPS

NAME = "runyard.db"
BUSY_SECONDS = 30.0


class Database:
    """One connection to the store of a home folder.

    Args:
        home: The folder; default: :func:`~runyard.home.runyard_home`.
        create: Make the store when there is none.

    Raises:
        StoreError: when it cannot be opened, is damaged, or was written by a newer Runyard.
    """

    def __init__(self, home: Path | None = None, *, create: bool = True) -> None:
        self.home = home or runyard_home()
        self.path = self.home / NAME
        with self._errors():
            if create:
                ensure_private_dir(self.home)
                if not self.path.exists():
                    os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            elif not self.path.exists():
                raise StoreError(
                    f"there is no store at {self.path}",
                    hint="run something first, or set RUNYARD_HOME to the folder that holds your runs",
                )
            self._con = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=64)
            self._con.row_factory = sqlite3.Row
            self._migrate()

    def _migrate(self) -> None:
        con = self._con
        version = con.execute("PRAGMA user_version").fetchone()[0]
        if version > len(STEPS):
            raise StoreError(
                f"the store {self.path} has schema {version}; this Runyard knows {len(STEPS)}",
                hint="upgrade Runyard here, or set RUNYARD_HOME to another folder",
            )
        if version < len(STEPS):
            set_journal(con, self.home, "DELETE", BUSY_SECONDS)
            con.execute("BEGIN IMMEDIATE")
            try:
                version = con.execute("PRAGMA user_version").fetchone()[0]
                for number, step in enumerate(STEPS[version:], version + 1):
                    for statement in _statements(step):
                        con.execute(statement)
                    con.execute(f"PRAGMA user_version = {number}")
                con.execute("COMMIT")
            except BaseException:
                con.execute("ROLLBACK")
                raise
        con.execute("PRAGMA synchronous = NORMAL")
        con.execute("PRAGMA foreign_keys = ON")

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """Run a block as one write transaction.

        Args:
            durable: Wait until it is on the disk itself, for intents that a power cut must not undo.
        """
        with self._errors():
            if durable:
                self._con.execute("PRAGMA synchronous = FULL")
            self._con.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._con.execute("COMMIT")
            except BaseException:
                if self._con.in_transaction:
                    self._con.execute("ROLLBACK")
                raise
            finally:
                if durable:
                    self._con.execute("PRAGMA synchronous = NORMAL")

    def run(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        """Execute one statement."""
        with self._errors():
            return self._con.execute(sql, values)

    def run_many(self, sql: str, rows: Any) -> None:
        """Execute one statement for many rows."""
        with self._errors():
            self._con.executemany(sql, rows)

    def rows(self, sql: str, values: Any = ()) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        with self._errors():
            return self._con.execute(sql, values).fetchall()

    def version(self) -> int:
        """Return a number that changes when another connection has written."""
        with self._errors():
            return int(self._con.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Close the connection."""
        self._con.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.OperationalError as e:
            raise StoreError(f"the store {self.path}: {e}", hint=_remedy(str(e), self.home)) from e
        except sqlite3.DatabaseError as e:
            raise StoreError(
                f"the store {self.path} is damaged: {e}",
                hint="rebuild it from the records beside it: runyard doctor --rebuild",
            ) from e
        except OSError as e:
            raise StoreError(f"the store {self.path}: {e}", hint=_remedy(str(e), self.home)) from e


def _statements(script: str) -> list[str]:
    lines = (line.partition("--")[0] for line in script.splitlines())
    return [s for s in "\n".join(lines).split(";") if s.strip()]


def _remedy(text: str, home: Path) -> str:
    text = text.lower()
    if "file exists" in text or "not a directory" in text:
        return "a file stands where a folder should: set RUNYARD_HOME to a folder"
    if "full" in text or "no space" in text or "quota" in text or ("i/o error" in text and _is_full(home)):
        return "free disk space (runyard experiment rm OLD…), or set RUNYARD_HOME to another disk"
    if "locked" in text or "busy" in text:
        return "another process holds it for long; try again when it has finished"
    if "readonly" in text or "read-only" in text or "permission" in text or "unable to open" in text:
        return "make the folder writable for you, or set RUNYARD_HOME to one that is"
    if "malformed" in text or "disk image" in text or "no such table" in text or "no such column" in text:
        return "rebuild it from the records beside it: runyard doctor --rebuild"
    return "check the disk; runyard doctor tells more"


def _is_full(folder: Path) -> bool:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < 1 << 20
