"""Experiments and jobs in the database: rows in, frozen dataclasses out.

Every write of a driver carries the epoch of its lease, and fails with
:class:`~runyard.errors.LeaseLost` when another process has taken the experiment over.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from runyard.errors import LeaseLost, StoreError, UnknownExperiment
from runyard.states import JobState, Status
from runyard.store.db import Database


@dataclass(frozen=True)
class ExperimentRow:
    """One recorded experiment."""

    id: str
    title: str
    created: float
    folder: str
    facts: Mapping[str, Any]
    live: int
    lease_owner: str


@dataclass(frozen=True)
class JobRow:
    """One recorded job. ``spec``, ``request`` and ``handle`` are the engine's own JSON."""

    experiment: str
    name: str
    position: int
    spec: Mapping[str, Any]
    request: Mapping[str, Any]
    secrets: str
    status: Status
    handle: Sequence[str] | None
    stop: str


@dataclass(frozen=True)
class AttemptRow:
    """One attempt of a job that has ended."""

    name: str
    attempt: int
    state: JobState
    reason: str
    exit_code: int | None
    started: float | None
    ended: float | None


@dataclass(frozen=True)
class EventRow:
    """One change of a job's state."""

    id: int
    name: str
    at: float
    attempt: int
    state: JobState
    reason: str


@dataclass(frozen=True)
class Change:
    """A change of one job, written as a whole.

    Args:
        name: Which job.
        status: What is known now.
        handle: The new handle; ``None`` keeps the old one, ``()`` forgets it.
        ended_attempt: The status of an attempt that ended and is followed by another.
        stop: A new reason to end the job; ``None`` keeps the old one.
        event: Worth a line in the history (a new state or attempt).
    """

    name: str
    status: Status
    handle: Sequence[str] | None = None
    ended_attempt: Status | None = None
    stop: str | None = None
    event: bool = True


_STATUS_DEFAULTS = {f.name: f.default for f in fields(Status) if f.name != "state"}


def status_json(status: Status) -> str:
    """Return all of a status but its state, which has a column of its own."""
    values = {k: getattr(status, k) for k in _STATUS_DEFAULTS}
    return json.dumps({k: v for k, v in values.items() if v != _STATUS_DEFAULTS[k]})


def create(
    db: Database,
    *,
    id: str,
    title: str,
    created: float,
    folder: str,
    facts: Mapping[str, Any],
    jobs: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any], str]],
) -> None:
    """Record an experiment and all its jobs in one transaction, on the disk when it returns.

    Args:
        db: The store.
        id: Unique id.
        title: What the user calls it.
        created: Seconds since the epoch.
        folder: Its folder below the home.
        facts: Plain JSON about the launch.
        jobs: (name, spec, request, secrets file) of each.

    Raises:
        StoreError: when the id is taken, or the store cannot be written.
    """
    rows = [
        (id, name, i, json.dumps(spec), json.dumps(request), secrets, JobState.CREATED, "{}")
        for i, (name, spec, request, secrets) in enumerate(jobs)
    ]
    try:
        with db.transaction(durable=True):
            db.run(
                "INSERT INTO experiments (id, title, created, folder, facts, live) VALUES (?, ?, ?, ?, ?, ?)",
                (id, title, created, folder, json.dumps(facts), len(rows)),
            )
            db.run_many(
                "INSERT INTO jobs (experiment, name, position, spec, request, secrets, state, status)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
    except sqlite3.IntegrityError as e:
        raise StoreError(f"the experiment {id} is recorded already", hint="launch again for a new id") from e


def exists(db: Database, id: str) -> bool:
    """Say whether an experiment is recorded."""
    return bool(db.rows("SELECT 1 FROM experiments WHERE id = ?", (id,)))


def experiment(db: Database, id: str) -> ExperimentRow:
    """Return one experiment.

    Raises:
        UnknownExperiment: when there is none with that id.
    """
    rows = db.rows("SELECT * FROM experiments WHERE id = ?", (id,))
    if not rows:
        raise UnknownExperiment(f"no experiment {id!r} in {db.path}", hint="runyard experiment list shows all")
    return _experiment(rows[0])


def experiments(
    db: Database, *, title: str | None = None, limit: int | None = None, live_only: bool = False
) -> list[ExperimentRow]:
    """Return experiments, the newest first."""
    where, values = [], []
    if title:
        where.append("title = ?")
        values.append(title)
    if live_only:
        where.append("live > 0")
    clause = f"WHERE {' AND '.join(where)}" if where else ""
    sql = f"SELECT * FROM experiments {clause} ORDER BY created DESC, id DESC LIMIT ?"
    return [_experiment(r) for r in db.rows(sql, (*values, -1 if limit is None else limit))]


def count(db: Database, title: str | None = None) -> int:
    """Return the number of recorded experiments."""
    if title:
        return int(db.rows("SELECT count(*) FROM experiments WHERE title = ?", (title,))[0][0])
    return int(db.rows("SELECT count(*) FROM experiments")[0][0])


def state_counts(db: Database, ids: Sequence[str]) -> dict[str, dict[JobState, int]]:
    """Return for each experiment how many of its jobs are in which state."""
    out: dict[str, dict[JobState, int]] = {i: {} for i in ids}
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        marks = ",".join("?" * len(part))
        sql = f"SELECT experiment, state, count(*) FROM jobs WHERE experiment IN ({marks}) GROUP BY 1, 2"
        for id_, state, n in db.rows(sql, part):
            known = JobState.__members__.get(state, JobState.LOST)  # a damaged record must not hide the others
            out[id_][known] = out[id_].get(known, 0) + n
    return out


def resolve(db: Database, ref: str) -> str:
    """Return the id that an id, a title (its latest run) or a unique prefix of an id stands for.

    Raises:
        UnknownExperiment: when nothing matches, or a prefix matches several titles.
    """
    if exists(db, ref):
        return ref
    newest = db.rows("SELECT id FROM experiments WHERE title = ? ORDER BY created DESC, id DESC LIMIT 1", (ref,))
    if newest:
        return str(newest[0][0])
    pattern = ref.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%" if ref else ""
    found = db.rows(
        "SELECT id, title FROM experiments WHERE id LIKE ? ESCAPE '\\' ORDER BY created DESC, id DESC LIMIT 6",
        (pattern,),
    )
    if len(found) == 1 or (found and len({r["title"] for r in found}) == 1 and len(found) < 6 and _is_title(db, ref)):
        return str(found[0]["id"])
    if found:
        names = ", ".join(str(r["id"]) for r in found[:5]) + (" …" if len(found) > 5 else "")
        raise UnknownExperiment(f"{ref!r} fits several experiments: {names}", hint="give more of the id")
    from difflib import get_close_matches

    titles = [r[0] for r in db.rows("SELECT DISTINCT title FROM experiments")]
    near = get_close_matches(ref, titles, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    raise UnknownExperiment(
        f"no experiment has the id or title {ref!r} in {db.path}",
        hint=f"{meant}runyard experiment list shows all",
    )


def _is_title(db: Database, ref: str) -> bool:
    return bool(db.rows("SELECT 1 FROM experiments WHERE title = ? LIMIT 1", (ref,)))


def jobs(db: Database, experiment_id: str) -> list[JobRow]:
    """Return all jobs of an experiment in the order they were added."""
    return [_job(r) for r in db.rows("SELECT * FROM jobs WHERE experiment = ? ORDER BY position", (experiment_id,))]


def jobs_since(db: Database, experiment_id: str, after: int) -> list[JobRow]:
    """Return the jobs whose state changed beyond event number ``after``."""
    sql = (
        "SELECT * FROM jobs WHERE experiment = ?1 AND name IN"
        " (SELECT name FROM events WHERE experiment = ?1 AND id > ?2)"
    )
    return [_job(r) for r in db.rows(sql, (experiment_id, after))]


def attempts(db: Database, experiment_id: str) -> list[AttemptRow]:
    """Return the ended attempts of all jobs of an experiment."""
    sql = "SELECT * FROM attempts WHERE experiment = ? ORDER BY name, attempt"
    return [
        AttemptRow(
            r["name"],
            r["attempt"],
            JobState(r["state"]),
            r["reason"],
            r["exit_code"],
            r["started"],
            r["ended"],
        )
        for r in db.rows(sql, (experiment_id,))
    ]


def events(db: Database, experiment_id: str, after: int = 0) -> list[EventRow]:
    """Return the changes of state of an experiment's jobs, beyond event number ``after``."""
    sql = "SELECT id, name, at, attempt, state, reason FROM events WHERE experiment = ? AND id > ? ORDER BY id"
    return [
        EventRow(r["id"], r["name"], r["at"], r["attempt"], JobState(r["state"]), r["reason"])
        for r in db.rows(sql, (experiment_id, after))
    ]


def stops(db: Database, experiment_id: str) -> dict[str, str]:
    """Return the jobs that are to be ended, and why."""
    sql = "SELECT name, stop FROM jobs WHERE experiment = ? AND stop != ''"
    return {r["name"]: r["stop"] for r in db.rows(sql, (experiment_id,))}


def request_stop(db: Database, experiment_id: str, names: Sequence[str], why: str = "cancelled") -> None:
    """Record that jobs are to be ended; whoever drives the experiment does it."""
    ended = [s for s in JobState if s.ended]
    marks = ",".join("?" * len(ended))
    with db.transaction():
        db.run_many(
            f"UPDATE jobs SET stop = ? WHERE experiment = ? AND name = ? AND stop = '' AND state NOT IN ({marks})",
            [(why, experiment_id, name, *ended) for name in names],
        )


def apply(db: Database, experiment_id: str, epoch: int, changes: Sequence[Change], now: float | None = None) -> None:
    """Write changes of jobs, their history and the count of live jobs, as the holder of a lease.

    Raises:
        LeaseLost: when the lease has a newer epoch; nothing was written then.
    """
    at = time.time() if now is None else now
    with db.transaction():
        row = db.rows("SELECT lease_epoch FROM experiments WHERE id = ?", (experiment_id,))
        if not row or row[0][0] != epoch:
            raise LeaseLost(
                f"{experiment_id} is driven by another process now" if row else f"{experiment_id} was removed",
                hint="runyard experiment status shows it",
            )
        for change in changes:
            _write(db, experiment_id, change, at)
        ended = sum(c.status.state.ended for c in changes)
        if ended:
            db.run(
                "UPDATE experiments SET live = (SELECT count(*) FROM jobs WHERE experiment = ?1 AND state NOT IN"
                " ('SUCCEEDED', 'FAILED', 'CANCELLED', 'SKIPPED', 'LOST')) WHERE id = ?1"
                if ended > 1
                else "UPDATE experiments SET live = live - 1 WHERE id = ?1",
                (experiment_id,),
            )


def _write(db: Database, experiment_id: str, change: Change, at: float) -> None:
    status = change.status
    values: list[Any] = [status.state, status_json(status)]
    sets = "state = ?, status = ?"
    if change.handle is not None:
        sets += ", handle = ?"
        values.append(json.dumps(list(change.handle)) if change.handle else "")
    if change.stop is not None:
        sets += ", stop = ?"
        values.append(change.stop)
    db.run(f"UPDATE jobs SET {sets} WHERE experiment = ? AND name = ?", (*values, experiment_id, change.name))
    done = [s for s in (change.ended_attempt, status if status.state.ended else None) if s is not None]
    for s in done:
        if s.state is not JobState.SKIPPED:
            db.run(
                "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (experiment_id, change.name, s.attempt, s.state, s.reason, s.exit_code, s.started, s.ended),
            )
    for seen in (change.ended_attempt, status if change.event else None):
        if seen is not None:
            db.run(
                "INSERT INTO events (experiment, name, at, attempt, state, reason) VALUES (?, ?, ?, ?, ?, ?)",
                (experiment_id, change.name, at, seen.attempt, seen.state, seen.reason),
            )


def remove(db: Database, experiment_id: str) -> None:
    """Forget an experiment and all that belongs to it."""
    with db.transaction():
        db.run("DELETE FROM experiments WHERE id = ?", (experiment_id,))


def _experiment(row: sqlite3.Row) -> ExperimentRow:
    try:
        facts = json.loads(row["facts"])
    except ValueError as e:
        raise _corrupt(row["id"], "facts") from e
    return ExperimentRow(row["id"], row["title"], row["created"], row["folder"], facts, row["live"], row["lease_owner"])


def _job(row: sqlite3.Row) -> JobRow:
    try:
        return JobRow(
            experiment=row["experiment"],
            name=row["name"],
            position=row["position"],
            spec=json.loads(row["spec"]),
            request=json.loads(row["request"]),
            secrets=row["secrets"],
            status=Status(state=JobState(row["state"]), **json.loads(row["status"])),
            handle=json.loads(row["handle"]) if row["handle"] else None,
            stop=row["stop"],
        )
    except (ValueError, TypeError) as e:
        raise _corrupt(row["experiment"], f"job {row['name']}") from e


def _corrupt(id: str, what: str) -> StoreError:
    return StoreError(
        f"the record of {id} cannot be read ({what})",
        hint="rebuild it from its folder: runyard doctor --rebuild",
    )
