"""The database's schema, as ordered steps. A step, once released, never changes."""

from __future__ import annotations

STEPS: tuple[str, ...] = (
    """
    CREATE TABLE experiments (
        id TEXT PRIMARY KEY,
        title TEXT NOT NULL,
        created REAL NOT NULL,
        folder TEXT NOT NULL,            -- below the home folder
        facts TEXT NOT NULL,             -- JSON: cwd, host, user, command line, rerun_of ...
        live INTEGER NOT NULL,           -- jobs that have not ended
        lease_epoch INTEGER NOT NULL DEFAULT 0,
        lease_owner TEXT NOT NULL DEFAULT '',
        lease_beat REAL NOT NULL DEFAULT 0
    );
    CREATE INDEX experiments_by_title ON experiments (title, created);
    CREATE INDEX experiments_by_time ON experiments (created);
    CREATE INDEX experiments_live ON experiments (id) WHERE live > 0;

    CREATE TABLE jobs (
        experiment TEXT NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        position INTEGER NOT NULL,
        spec TEXT NOT NULL,              -- JSON: the resolved job
        request TEXT NOT NULL,           -- JSON: the request, without the text of its files
        secrets TEXT NOT NULL DEFAULT '',
        state TEXT NOT NULL,
        status TEXT NOT NULL,            -- JSON: the rest of states.Status
        handle TEXT NOT NULL DEFAULT '', -- JSON: the handle of the current attempt
        stop TEXT NOT NULL DEFAULT '',   -- why it is to be ended: cancelled, time limit
        PRIMARY KEY (experiment, name)
    ) WITHOUT ROWID;

    CREATE TABLE attempts (
        experiment TEXT NOT NULL,
        name TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        exit_code INTEGER,
        started REAL,
        ended REAL,
        PRIMARY KEY (experiment, name, attempt),
        FOREIGN KEY (experiment, name) REFERENCES jobs (experiment, name) ON DELETE CASCADE
    ) WITHOUT ROWID;

    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        experiment TEXT NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        at REAL NOT NULL,
        attempt INTEGER NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL
    );
    CREATE INDEX events_by_experiment ON events (experiment, id);
    """,
)
