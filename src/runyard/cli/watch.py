"""Watching an experiment without owning it: nothing that happens here ends or changes anything."""

from __future__ import annotations

import time
from collections.abc import Iterator

from runyard import engine, store
from runyard.store.db import Database
from runyard.store.records import EventRow, JobRow

LOOK_SECONDS = 0.1
ENSURE_SECONDS = 1.0
"""How often a watcher makes sure that somebody drives the experiment."""


def changes(db: Database, id: str, after: int = 0) -> Iterator[tuple[dict[str, JobRow], list[EventRow]]]:
    """Yield all jobs and what is new, at once and then at every look, until all jobs have ended.

    Args:
        db: The store.
        id: Which experiment.
        after: Number of the last event that is not new.
    """
    rows: dict[str, JobRow] = {}
    version, ensured = -1, 0.0
    while True:
        news: list[EventRow] = []
        if (now := db.version()) != version:
            version = now
            # Events first: a change between the two queries is then seen again at the next look.
            news = store.records.events(db, id, after)
            fresh = store.records.jobs_since(db, id, after) if rows else store.records.jobs(db, id)
            rows |= {row.name: row for row in fresh}
            after = news[-1].id if news else after
        yield rows, news
        if all(row.status.state.ended for row in rows.values()):
            return
        if time.monotonic() - ensured > ENSURE_SECONDS:
            ensured = time.monotonic()
            if controller := engine.controller.ensure(db.home, db, id):
                controller.forget()
        time.sleep(LOOK_SECONDS)


def last_event(db: Database, id: str) -> int:
    """Return the number of an experiment's newest event."""
    found = store.records.events(db, id)
    return found[-1].id if found else 0
