"""How a new SQLite file keeps its journal, which depends on the file system that it lies on."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

_NETWORK = ("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "fuse", "ceph", "9p", "afs", "wekafs", "gfs", "panfs")
"""How the names of network file systems begin, and of what may be one."""


def set_journal(connection: sqlite3.Connection, folder: Path, on_networks: str, seconds: float) -> None:
    """Choose the journal of a new database: WAL, unless its folder lies on a network file system.

    Args:
        connection: To the database.
        folder: Its folder.
        on_networks: The mode there (``"DELETE"``, ``"TRUNCATE"``): WAL needs shared memory, which they don't have.
        seconds: How long to wait for others. SQLite's own waiting does not hold for this statement: of several
            processes that make the same database at once, one would be refused.

    Raises:
        sqlite3.OperationalError: when it stays locked.

    Source: "PRAGMA journal_mode" and "The Busy Handler" in SQLite's documentation.
    """
    mode = on_networks if on_network(folder) else "WAL"
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {mode}")
            return
        except sqlite3.OperationalError as e:
            if "locked" not in str(e) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def on_network(path: Path) -> bool:
    """Say whether a folder lies on a network file system, as the kernel's mount table tells (Linux).

    Source: proc_pid_mountinfo(5).
    """
    try:
        table = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return False
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in table.splitlines():
        left, _, right = line.partition(" - ")
        mount = left.split()[4].encode("latin-1", "surrogateescape").decode("unicode_escape")
        if (real == mount or real.startswith(mount.rstrip("/") + "/")) and len(mount) >= len(best):
            best, kind = mount, right.split()[0]
    return kind.startswith(_NETWORK)
