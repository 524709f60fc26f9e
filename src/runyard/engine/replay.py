"""The entries of a recorded experiment, to launch it again with the same code. Imports nothing of the user's."""

from __future__ import annotations

import json
from pathlib import Path

from runyard import executors
from runyard.backends.base import Dependency, Job
from runyard.engine.code import Pinned, key_of, recorded_infos
from runyard.engine.plan import JOB_FILE, Entry, with_dependencies
from runyard.engine.taskrecord import recorded_task
from runyard.errors import ConfigError, StoreError
from runyard.states import JobState
from runyard.store import records
from runyard.store.db import Database


def entries(db: Database, experiment_id: str) -> list[Entry]:
    """Return all tasks of a recorded experiment with executors, groups and dependencies.

    Raises:
        StoreError: when a task's files are gone or damaged.
    """
    out = []
    for row in records.jobs(db, experiment_id):
        job = Job.from_json(row.spec)
        folder = Path(job.local_dir)
        try:
            saved = json.loads((folder / JOB_FILE).read_text())["tasks"]
            tasks = tuple(recorded_task(t, folder / t["member"] if job.group else folder) for t in saved)
        except (OSError, ValueError, KeyError) as e:
            raise StoreError(
                f"the files of task {row.name!r} in {folder} cannot be read: {e}",
                hint="launch it again from the original script",
            ) from e
        wheres = tuple(executors.from_dict(c.executor) for c in job.components)
        pins = tuple(str((c.code or {}).get("hash", "")) for c in job.components)
        out.append(Entry(row.name, tasks, wheres, job.group, job.dependencies, pins=pins))
    return out


def unsuccessful(db: Database, experiment_id: str) -> list[Entry]:
    """Return the tasks that did not succeed; what they needed of those that did is satisfied."""
    done = {r.name for r in records.jobs(db, experiment_id) if r.status.state is JobState.SUCCEEDED}
    out = []
    for entry in entries(db, experiment_id):
        if entry.name not in done:
            rest: list[Dependency] = [d for d in entry.dependencies if d.name not in done]
            out.append(with_dependencies(entry, rest))
    return out


def code_of(db: Database, experiment_id: str) -> Pinned:
    """Return the code that an experiment ran with.

    Raises:
        ConfigError: when it ran without any snapshot.
    """
    found: dict[str, str] = {}
    for row in records.jobs(db, experiment_id):
        for component in Job.from_json(row.spec).components:
            if component.code and "hash" in component.code:
                found[key_of(executors.from_dict(component.executor))] = component.code["hash"]
    if not found:
        raise ConfigError(
            f"{experiment_id} shipped no code that could be used again", hint="give its executor a packager"
        )
    if len(set(found.values())) == 1:
        found["*"] = next(iter(found.values()))
    return Pinned(found, recorded_infos(records.experiment(db, experiment_id).facts))
