"""The controller process itself: what :mod:`runyard.engine.controller` starts."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from runyard import engine
from runyard.engine import record
from runyard.engine.controller import is_alive, me
from runyard.engine.driver import Driver, leave_note
from runyard.errors import LeaseLost
from runyard.store import lease, records
from runyard.store.db import Database


def main(home: str, experiment_id: str) -> int:
    """Wait for the word, take the lease, drive. Returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.set_blocking(1, False)  # a launcher that does not read must not hold us up
    sys.stdin.buffer.read()
    db = Database(Path(home))
    if not records.exists(db, experiment_id):
        record.forget_launch(db.home, experiment_id)  # its launcher was killed
        return 0
    epoch = lease.acquire(db, experiment_id, me(), is_alive)
    if epoch is None:
        return 0
    row = records.experiment(db, experiment_id)
    folder = db.home / row.folder
    try:
        Driver(db, experiment_id, epoch, _notify).run()
    except LeaseLost as e:
        leave_note(folder, e)
        return 1
    except Exception:
        leave_note(folder, traceback.format_exc())
        raise
    lease.release(db, experiment_id, epoch)
    os.close(1)  # nobody need wait for the cleaning
    if row.facts.get("code") and (done := engine.clean.clean_if_over_limit(db)):
        leave_note(folder, f"cleaned stored code: {len(done.snapshots)} snapshots, {done.bytes} bytes")
    db.close()
    return 0


def _notify() -> None:
    with suppress(OSError):
        os.write(1, b".")
