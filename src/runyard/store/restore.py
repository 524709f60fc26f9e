"""Putting experiments back into the database, from what was found elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runyard.states import JobState, Status
from runyard.store.db import Database
from runyard.store.records import AttemptRow, status_json


@dataclass(frozen=True)
class FoundJob:
    """A job as its files tell.

    Args:
        name: Its name in the experiment.
        spec: The resolved job, as recorded.
        request: Its request, as recorded.
        secrets: Path of its secrets file, or empty.
        status: Where it stands.
        attempts: Its ended attempts.
    """

    name: str
    spec: Mapping[str, Any]
    request: Mapping[str, Any]
    secrets: str
    status: Status
    attempts: Sequence[AttemptRow] = ()


@dataclass(frozen=True)
class FoundExperiment:
    """An experiment as its folder tells; ``events`` are (time, task, attempt, state, reason)."""

    id: str
    title: str
    created: float
    folder: str
    facts: Mapping[str, Any]
    jobs: Sequence[FoundJob]
    events: Sequence[tuple[float, str, int, JobState, str]] = ()

    @property
    def live(self) -> list[str]:
        """Names of the jobs that have not ended."""
        return [j.name for j in self.jobs if not j.status.state.ended]


def insert(db: Database, found: Iterable[FoundExperiment]) -> None:
    """Record experiments in one transaction; what was recorded under their ids is replaced.

    Their leases begin with a new epoch, so a process that still drives one of them changes nothing more.
    """
    with db.transaction(durable=True):
        for experiment in found:
            _insert(db, experiment)


def _insert(db: Database, found: FoundExperiment) -> None:
    db.run("DELETE FROM experiments WHERE id = ?", (found.id,))
    db.run(
        "INSERT INTO experiments (id, title, created, folder, facts, live, lease_epoch) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            found.id,
            found.title,
            found.created,
            found.folder,
            json.dumps(found.facts),
            len(found.live),
            int(time.time()),
        ),
    )
    db.run_many(
        "INSERT INTO jobs (experiment, name, position, spec, request, secrets, state, status)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (*(found.id, j.name, i, json.dumps(j.spec), json.dumps(j.request), j.secrets), *_state(j.status))
            for i, j in enumerate(found.jobs)
        ],
    )
    db.run_many(
        "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (found.id, j.name, a.attempt, a.state, a.reason, a.exit_code, a.started, a.ended)
            for j in found.jobs
            for a in j.attempts
        ],
    )
    db.run_many(
        "INSERT INTO events (experiment, name, at, attempt, state, reason) VALUES (?, ?, ?, ?, ?, ?)",
        [(found.id, name, at, attempt, state, reason) for at, name, attempt, state, reason in found.events],
    )


def _state(status: Status) -> tuple[str, str]:
    return status.state, status_json(status)
