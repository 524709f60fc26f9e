"""Making the database anew from the folders of the experiments.

A usable database is kept: what is missing in it is added, what cannot be read is made anew. A damaged one is
moved aside, never deleted. One that a newer Runyard wrote is left alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from runyard.engine import controller as controllers
from runyard.engine import recover
from runyard.errors import StoreError
from runyard.store import health, layout, records, restore
from runyard.store.db import NAME, Database
from runyard.store.restore import FoundExperiment

STOP_SECONDS = 5.0


@dataclass
class Rebuilt:
    """What was done.

    Args:
        was: What the database was before: ``missing``, ``usable``, ``damaged``.
        aside: Where a damaged database lies now.
        recovered: Experiments that were recorded from their folders.
        kept: Number of experiments that were recorded already.
        live: Ids of recovered experiments that go on.
        problems: What could not be recovered, and why.
    """

    was: str
    aside: Path | None = None
    recovered: list[str] = field(default_factory=list)
    kept: int = 0
    live: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def rebuild(home: Path) -> Rebuilt:
    """Record what lies in the folders and is not recorded; see the module.

    Raises:
        StoreError: when the database is newer, locked, or cannot be written; nothing is changed then.
    """
    found = health.check(home)
    if found.state == health.NEWER:
        raise StoreError(
            f"the store {home / NAME} has schema {found.version}, of a newer Runyard; it is not damaged",
            hint=f"upgrade Runyard. Only if you never will: move {NAME} away yourself, and run this again",
        )
    done = Rebuilt(found.state)
    if found.state == health.USABLE:
        with Database(home) as db:
            _complete(db, done)
            _go_on(db, done)
        return done
    if not (home / layout.EXPERIMENTS).is_dir() and found.state == health.MISSING:
        return done
    driven = stop_controllers(home)
    experiments = list(_recovered(home, _folders(home), driven, done))
    _replace(home, experiments, done)
    with Database(home) as db:
        _go_on(db, done)
    return done


def controllers_of(home: Path) -> dict[str, int]:
    """Return the running controllers of a home on this machine: experiment → process (where ``/proc`` tells)."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = os.fsdecode(entry.read_bytes()).split("\0")
            if len(words) > 5 and words[2] == controllers.BOOT and Path(words[4]).resolve() == home.resolve():
                found[words[5]] = int(entry.parent.name)
    return found


def stop_controllers(home: Path) -> set[str]:
    """End the controllers of a home whose database is gone; their jobs go on. Returns their experiments."""
    running = controllers_of(home)
    for pid in running.values():
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + STOP_SECONDS
    while time.monotonic() < until and controllers_of(home).keys() & running.keys():
        time.sleep(0.05)
    return set(running)


def _complete(db: Database, done: Rebuilt) -> None:
    """Add what a usable database lacks, and make anew what cannot be read in it."""
    recorded = {str(row["id"]): str(row["folder"]) for row in db.rows("SELECT id, folder FROM experiments")}
    unreadable = {id for id in recorded if not _readable(db, id)}
    done.kept = len(recorded) - len(unreadable)
    folders = [f for f in _folders(db.home) if f.name not in recorded or f.name in unreadable]
    for id in sorted(unreadable - {f.name for f in folders}):
        done.problems.append(f"the record of {id} cannot be read, and its folder is gone")
    for id, folder in recorded.items():
        if not (db.home / folder).is_dir() and not (db.home / layout.draft_of(folder)).is_dir():
            done.problems.append(f"{id} is recorded, but its folder is gone: runyard experiment rm {id}")
    restore.insert(db, _recovered(db.home, folders, unreadable, done))


def _readable(db: Database, id: str) -> bool:
    try:
        records.experiment(db, id)
        records.jobs(db, id)
        records.attempts(db, id)
        records.events(db, id)
    except (StoreError, ValueError):
        return False
    return True


def _folders(home: Path) -> list[Path]:
    """Return the folders of all experiments; drafts of launches that were never recorded are none."""
    return sorted(p for p in (home / layout.EXPERIMENTS).glob("*/*") if p.is_dir() and not p.name.startswith("."))


def _recovered(home: Path, folders: Iterable[Path], driven: set[str], done: Rebuilt) -> Iterable[FoundExperiment]:
    for folder in folders:
        try:
            found, problems = recover.experiment(home, folder, driven=folder.name in driven)
        except StoreError as e:
            done.problems.append(e.message)
            continue
        done.problems += problems
        done.recovered.append(found.id)
        if found.live:
            done.live.append(found.id)
        yield found


def _replace(home: Path, experiments: list[FoundExperiment], done: Rebuilt) -> None:
    """Write a new database beside the old one, move that aside, and put the new one in its place."""
    workshop = home / f".rebuild-{os.getpid()}"
    try:
        with Database(workshop) as db:
            restore.insert(db, experiments)
        if (home / NAME).exists():
            done.aside = home / f"{NAME}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
            for suffix in ("-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    os.rename(home / f"{NAME}{suffix}", f"{done.aside}{suffix}")
        os.rename(workshop / NAME, home / NAME)
    except OSError as e:
        raise StoreError(f"cannot replace {home / NAME}: {e}", hint="free disk space, or make it writable") from e
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _go_on(db: Database, done: Rebuilt) -> None:
    for id in done.live:
        if controller := controllers.ensure(db.home, db, id):
            controller.forget()
