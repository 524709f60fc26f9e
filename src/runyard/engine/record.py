"""Down: from a plan to the record of an intent, all at once.

Files are written under a temporary name, then one transaction records the experiment; from that
moment on it runs to its end, whatever happens to the process that launched it. Before it, nothing exists.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from runyard import executors
from runyard.backends.base import Discards, Request
from runyard.backends.registry import backend_class
from runyard.engine.plan import Launch, PlannedJob, runner_files
from runyard.errors import ConfigError, RunyardError, StoreError
from runyard.home import ensure_private_dir
from runyard.secrets import redact, redact_word
from runyard.shell import quote
from runyard.store import layout, records, yaml
from runyard.store.db import Database
from runyard.task import safe_name

SECRETS = "secrets"


def reserve(home: Path, title: str, stamp: int, id: str = "") -> tuple[str, str]:
    """Return a new experiment's id and folder; the folder's draft is made.

    Ids look like ``title_1730761155``; where that second is taken, the next free one is used.

    Args:
        home: Root of the records.
        title: The title.
        stamp: Wanted second.
        id: Exactly this id instead.

    Raises:
        StoreError: when that id is taken, or the folder cannot be made.
    """
    if id:
        folder = layout.folder_of(title, id)
        if safe_name(id) != id:
            raise ConfigError(f"{id!r} cannot be an experiment's id", hint=f"for example {safe_name(id)!r} can")
        if not layout.reserve(home, folder):
            raise StoreError(f"the experiment {id} exists already", hint="Experiment.from_id opens it")
        return id, folder
    for second in range(stamp, stamp + 10_000):
        id = new_id(title, second)
        folder = layout.folder_of(title, id)
        if layout.reserve(home, folder):
            return id, folder
    raise StoreError(f"no free id for {title!r} in {home}", hint="use another title, or remove old experiments")


def new_id(title: str, second: int) -> str:
    """Return the id of an experiment launched in a second since the epoch."""
    return f"{safe_name(title, 'experiment')}_{second}"


def facts_of_launch(launch: Launch, secrets: Collection[str] = (), **more: Any) -> dict[str, Any]:
    """Return who launched what from where, for the record, without the values of ``secrets``."""
    argv = [os.path.basename(sys.executable), *sys.argv] if sys.argv and sys.argv[0] else [sys.executable]
    return {
        "cwd": launch.cwd,
        "python": launch.python,
        "path_prefix": launch.path_prefix,
        "python_path": list(launch.python_path),
        "argv": [redact_word(a, secrets) for a in launch.argv],
        "host": socket.gethostname(),
        "user": os.environ.get("USER") or os.environ.get("LOGNAME") or str(os.getuid()),
        "script": os.path.abspath(sys.argv[0]) if sys.argv and os.path.isfile(sys.argv[0]) else "",
        "program": argv[0],
        **more,
    }


def record(
    db: Database,
    launch: Launch,
    jobs: Sequence[PlannedJob],
    facts: Mapping[str, Any],
    extra: Mapping[str, bytes] | None = None,
) -> None:
    """Write the folder of an experiment and record it. Its jobs are ``CREATED`` when this returns."""
    home, created = Path(launch.home), time.time()
    files = [*_experiment_files(launch, jobs, facts, created), *(extra or {}).items()]
    for planned in jobs:
        files += [(f"{planned.job.id.name}/{name}", data) for name, data in planned.files.items()]
    layout.write(home, launch.folder, files)
    secrets = {p.job.id.name: _write_secrets(home, launch.id, p) for p in jobs if p.secrets}
    try:
        records.create(
            db,
            id=launch.id,
            title=launch.title,
            created=created,
            folder=launch.folder,
            facts=facts,
            jobs=[(p.job.id.name, p.job.to_json(), p.request.to_json(), secrets.get(p.job.id.name, "")) for p in jobs],
        )
    except BaseException as e:
        if not was_recorded(db, launch.id, e):
            layout.discard(home, launch.folder)
            forget_secrets(home, launch.id)
        raise
    layout.publish(home, launch.folder)


def was_recorded(db: Database, id: str, error: BaseException) -> bool:
    """Say whether what stopped a launch came too late: an interrupt during the commit is heard when that is done."""
    return not isinstance(error, Exception) and records.exists(db, id)


def write_draft(launch: Launch, jobs: Sequence[PlannedJob], facts: Mapping[str, Any]) -> Path:
    """Write the folder of an experiment without recording it, for a dry-run that keeps its files."""
    home = Path(launch.home)
    files = [*_experiment_files(launch, jobs, facts, time.time())]
    for planned in jobs:
        files += [(f"{planned.job.id.name}/{name}", data) for name, data in planned.files.items()]
    layout.write(home, launch.folder, files)
    layout.publish(home, launch.folder)
    return home / launch.folder


def _experiment_files(
    launch: Launch, jobs: Sequence[PlannedJob], facts: Mapping[str, Any], created: float
) -> Iterable[tuple[str, bytes]]:
    about = {
        "id": launch.id,
        "title": launch.title,
        "created": created,
        **facts,
        "tasks": [
            {
                "name": p.job.id.name,
                "kind": p.job.kind,
                "retries": p.job.retries,
                "dependencies": [{"task": d.name, "type": d.kind} for d in p.job.dependencies],
                "members": [c.name for c in p.job.components] if p.job.group else None,
            }
            for p in jobs
        ],
    }
    yield "experiment.yaml", yaml.dump(about).encode("utf-8", "surrogateescape")
    yield layout.EVENTS, b""
    yield from runner_files().items()
    script = Path(str(facts.get("script") or ""))
    if script.suffix == ".py" and script.is_file() and script.stat().st_size < 1 << 20:
        secrets = {value for p in jobs for value in p.secrets.values()}
        text = script.read_text("utf-8", "surrogateescape")
        yield script.name, redact(text, secrets).encode("utf-8", "surrogateescape")


def _write_secrets(home: Path, id: str, planned: PlannedJob) -> str:
    """Write a job's secrets as lines of ``sh`` into a 0600 file of a 0700 folder, and return its path."""
    folder = ensure_private_dir(home / SECRETS / id)
    path = folder / planned.job.id.name
    text = "".join(f"export {name}={quote(value)}\n" for name, value in sorted(planned.secrets.items()))
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as f:
            f.write(text)
    except OSError as e:
        raise layout.unwritable(path, e) from e
    return str(path)


def forget_secrets(home: Path, id: str, name: str = "") -> None:
    """Remove the secrets of one job, or of a whole experiment."""
    folder = home / SECRETS / id
    if not name:
        layout.delete_tree(folder)
        return
    with suppress(OSError):
        (folder / name).unlink()
    with suppress(OSError):  # on its own: whoever removed the last file may have been killed before the folder
        folder.rmdir()


def forget_launch(home: Path, id: str) -> None:
    """Remove what a launch left behind that died before its record."""
    forget_secrets(home, id)
    layout.discard(home, layout.folder_of(id.rpartition("_")[0], id))


def remove(db: Database, home: Path, id: str) -> list[str]:
    """Remove an experiment: its record first, then its files.

    Returns:
        Why some of its schedulers could not be asked: they may still hold something of it.

    Raises:
        StoreError: while some of its jobs are still in flight.
    """
    row = records.experiment(db, id)
    if row.live:
        raise StoreError(f"{id} has {row.live} unfinished task(s)", hint=f"runyard experiment cancel {id} first")
    unasked = _discard(db, home, id)
    records.remove(db, id)
    forget_secrets(home, id)
    layout.remove(home, row.folder)
    return unasked


def _discard(db: Database, home: Path, id: str) -> list[str]:
    """Remove what the jobs of an experiment have left at their schedulers, as far as those can be reached."""
    by_kind: dict[str, list[records.JobRow]] = {}
    for row in records.jobs(db, id):
        by_kind.setdefault(str(row.spec["kind"]), []).append(row)
    unasked = []
    for rows in by_kind.values():
        try:
            executor = executors.from_dict(rows[0].spec["components"][0]["executor"])
            backend = backend_class(executor).connect(executor, str(home))
            if isinstance(backend, Discards):
                backend.discard([Request.from_json(row.request, {}) for row in rows])
        except RunyardError as e:  # gone, switched off, or its plug-in is not installed now
            unasked.append(e.message)
    return unasked
