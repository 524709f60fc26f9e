"""Who drives an experiment: one holder at a time, numbered by epochs.

On the holder's own machine its process tells whether the lease is alive; from another
machine, the time of its last beat does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from runyard.store.db import Database

BEAT_SECONDS = 15.0
STALE_SECONDS = 90.0
"""A holder on another machine that has not beaten for so long is taken for dead."""


@dataclass(frozen=True)
class Owner:
    """A process that may hold leases.

    Args:
        host: Its machine.
        process: Its identity there, as text.
    """

    host: str
    process: str

    def __str__(self) -> str:
        return json.dumps([self.host, self.process])

    @classmethod
    def parse(cls, text: str) -> Owner:
        """Undo ``str()``."""
        return cls(*json.loads(text))


def acquire(db: Database, experiment_id: str, me: Owner, alive: Callable[[str], bool]) -> int | None:
    """Take the lease of an experiment, unless a living process holds it.

    Args:
        db: The store.
        experiment_id: Which experiment.
        me: Who asks.
        alive: Says whether a process of this machine still runs.

    Returns:
        The epoch to write with, or ``None`` when somebody else drives.
    """
    with db.transaction():
        rows = db.rows("SELECT lease_owner, lease_beat, lease_epoch FROM experiments WHERE id = ?", (experiment_id,))
        if not rows or _held(rows[0]["lease_owner"], rows[0]["lease_beat"], me, alive):
            return None
        epoch = int(rows[0]["lease_epoch"]) + 1
        db.run(
            "UPDATE experiments SET lease_owner = ?, lease_beat = ?, lease_epoch = ? WHERE id = ?",
            (str(me), time.time(), epoch, experiment_id),
        )
        return epoch


def held(db: Database, experiment_id: str, me: Owner, alive: Callable[[str], bool]) -> bool:
    """Say whether a living process other than ``me`` drives an experiment."""
    rows = db.rows("SELECT lease_owner, lease_beat FROM experiments WHERE id = ?", (experiment_id,))
    return bool(rows) and _held(rows[0]["lease_owner"], rows[0]["lease_beat"], me, alive)


def beat(db: Database, experiment_id: str, epoch: int) -> None:
    """Say that the holder is alive."""
    db.run(
        "UPDATE experiments SET lease_beat = ? WHERE id = ? AND lease_epoch = ?",
        (time.time(), experiment_id, epoch),
    )


def release(db: Database, experiment_id: str, epoch: int) -> None:
    """Give the lease back."""
    db.run("UPDATE experiments SET lease_owner = '' WHERE id = ? AND lease_epoch = ?", (experiment_id, epoch))


def _held(owner: str, last_beat: float, me: Owner, alive: Callable[[str], bool]) -> bool:
    if not owner:
        return False
    holder = Owner.parse(owner)
    if holder == me:
        return False
    if holder.host == me.host:
        return alive(holder.process)
    return time.time() - last_beat < STALE_SECONDS
