"""What is recorded of an experiment and of its tasks, as plain JSON. Imports nothing of the user's."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runyard.backends import logfiles
from runyard.backends.base import Component, Job
from runyard.config.calltree import PyCall, summary
from runyard.engine.plan import JOB_FILE
from runyard.engine.taskrecord import recorded_task
from runyard.store.db import Database
from runyard.store.records import AttemptRow, EventRow, ExperimentRow, JobRow
from runyard.task import place_files

MASK = "***"


def about_experiment(db: Database, row: ExperimentRow, jobs: Sequence[JobRow]) -> dict[str, Any]:
    """Return how an experiment was launched."""
    folder = db.home / row.folder
    script = str(row.facts.get("script") or "")
    copy = folder / Path(script).name
    return {
        "id": row.id,
        "title": row.title,
        "created": row.created,
        "live": row.live,
        "folder": str(folder),
        "script_copy": str(copy) if script and copy.is_file() else None,
        **{name: value for name, value in row.facts.items() if value not in ("", None)},
        "controller_log": str(folder / "controller.log") if (folder / "controller.log").is_file() else None,
        "task_names": [job.name for job in jobs],
    }


def about_task(row: JobRow, attempts: Sequence[AttemptRow], events: Sequence[EventRow]) -> dict[str, Any]:
    """Return what a task runs, where, and what happened to it."""
    job = Job.from_json(row.spec)
    status = row.status
    folder = Path(job.local_dir)
    return {
        "name": row.name,
        "state": str(status.state),
        "reason": status.reason,
        "exit_code": status.exit_code,
        "attempt": status.attempt,
        "started": status.started,
        "ended": status.ended,
        "where": status.where,
        "native": status.native,
        "stop": row.stop or None,
        "handle": list(row.handle) if row.handle else None,
        "kind": job.kind,
        "retries": job.retries,
        "time_limit": job.time_limit,
        "dependencies": [{"task": d.name, "type": d.kind} for d in job.dependencies],
        "members": [_member(c, _runs(job, i)) for i, c in enumerate(job.components)],
        "submitted": list(row.request["command"]),
        "folder": str(folder),
        "files": _files(folder),
        "logs": [str(folder / stream) for stream in logfiles.streams(str(folder))],
        "attempts": [
            {
                "attempt": a.attempt,
                "state": str(a.state),
                "reason": a.reason,
                "exit_code": a.exit_code,
                "started": a.started,
                "ended": a.ended,
            }
            for a in attempts
        ],
        "events": [{"at": e.at, "attempt": e.attempt, "state": str(e.state), "reason": e.reason} for e in events],
    }


def _member(component: Component, runs: str) -> dict[str, Any]:
    return {
        "name": component.name,
        "runs": runs,
        "cwd": component.workdir,
        "env": dict(component.env) | dict.fromkeys(component.secrets, MASK),
        "executor": dict(component.executor),
        "setup": component.setup,
    }


def _runs(job: Job, index: int) -> str:
    """Return what a member runs, as its task was given; without its record, as the job runs it."""
    component, home = job.components[index], Path(job.local_dir)
    folder = home / component.name if job.group else home
    try:
        record = json.loads((home / JOB_FILE).read_text("utf-8", "surrogateescape"))["tasks"][index]
        task = recorded_task(record, folder)
    except (OSError, ValueError, LookupError):
        return shlex.join(component.program.argv())
    if isinstance(task, PyCall):
        return summary(task.document)
    inline = next(folder.glob("script*"), None) if task.inline else None
    words = task.to_command(filename=str(inline) if inline else None)
    return shlex.join(place_files(word, task.files, str(folder)) for word in words)


def _files(folder: Path) -> list[str]:
    """Return the files of a task but those of its attempts."""
    if not folder.is_dir():
        return []
    found = (p for p in folder.rglob("*") if "attempts" not in p.relative_to(folder).parts[:1])
    return sorted(str(p) for p in found if p.is_file() and "vendor" not in p.relative_to(folder).parts)
