"""Stored code: what there is, who uses it, and its cleaning by policy.

What an unfinished job needs is never touched. A concurrent launch loses nothing either:
:mod:`runyard.snapshots.local` says how objects are kept for it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runyard import executors
from runyard.backends.base import CODE_FOLDER, Job
from runyard.backends.codestore import CodeStore, KeepsCode
from runyard.backends.registry import backend_class
from runyard.errors import RunyardError
from runyard.executors.base import Executor
from runyard.snapshots.gc import Cleaned, gc, store_bytes, stored_trees
from runyard.snapshots.local import remove_tree
from runyard.snapshots.sizes import parse_size
from runyard.store import records
from runyard.store.db import Database

LIMIT_VARIABLE = "RUNYARD_CODE_LIMIT"
DEFAULT_LIMIT = "10GB"


@dataclass(frozen=True)
class StoredCode:
    """One snapshot in the local store and who uses it.

    Args:
        hash: Its hash.
        root: The folder it was taken of.
        files: Number of entries.
        bytes: Bytes of its files (shared contents counted in full).
        used: When it was last used, seconds since the epoch.
        experiments: Ids of the experiments that ran with it, the newest first.
        live: An unfinished job needs it.
    """

    hash: str
    root: str
    files: int
    bytes: int
    used: float
    experiments: tuple[str, ...]
    live: bool


@dataclass(frozen=True)
class CleanUp:
    """What a clean-up did, or in a dry run would do.

    Args:
        snapshots: Hashes of the removed snapshots.
        trees: Materialised trees that were removed from ended experiments.
        bytes: Bytes freed in the store.
        kept_bytes: Bytes that remain there.
    """

    snapshots: tuple[str, ...]
    trees: tuple[str, ...]
    bytes: int
    kept_bytes: int


def live_hashes(db: Database) -> set[str]:
    """Return the hashes of all code that unfinished jobs need."""
    return {
        str(component.code["hash"])
        for row in records.experiments(db, live_only=True)
        for job in records.jobs(db, row.id)
        if not job.status.state.ended
        for component in Job.from_json(job.spec).components
        if component.code and "hash" in component.code
    }


def stored(db: Database) -> list[StoredCode]:
    """Return what is stored, the one used last first."""
    live = live_hashes(db)
    users: dict[str, list[str]] = {}
    for row in records.experiments(db):
        for code in row.facts.get("code", ()):
            users.setdefault(code["hash"], []).append(row.id)
    return [
        StoredCode(t.hash, t.root, t.files, t.bytes, t.used, tuple(users.get(t.hash, ())), t.hash in live)
        for t in stored_trees(db.home)
    ]


def clean(
    db: Database, *, older_than: float | None = None, max_size: int | None = None, dry_run: bool = False
) -> CleanUp:
    """Remove stored code by policy, and the trees that ended experiments made of it.

    Args:
        db: The store.
        older_than: Remove what was not used for so many seconds.
        max_size: Bytes that stored contents may take; what was not used for longest goes first.
        dry_run: Change nothing.
    """
    done: Cleaned = gc(live=live_hashes(db), older_than=older_than, max_size=max_size, home=db.home, dry_run=dry_run)
    trees = _materialised(db, set(done.trees), older_than)
    if not dry_run:
        for tree in trees:
            remove_tree(tree)
    return CleanUp(done.trees, tuple(trees), done.bytes, done.kept_bytes)


def _materialised(db: Database, removed: set[str], older_than: float | None) -> list[str]:
    """Return the code trees of ended experiments whose code is removed, or which are old themselves."""
    before = time.time() - older_than if older_than is not None else 0.0
    out: list[str] = []
    for row in records.experiments(db):
        if row.live:
            continue
        folder = Path(db.home, row.folder, CODE_FOLDER)
        gone = {h[:12] for h in removed}
        with suppress(OSError):
            for entry in os.scandir(folder):
                if entry.is_dir(follow_symlinks=False) and (row.created < before or entry.name[:12] in gone):
                    out.append(entry.path)
    return out


def code_store(executor: Executor, home: Path) -> CodeStore | None:
    """Return the store of code on the machine that an executor leads to, or None where that is this machine's own."""
    backend = backend_class(executor).connect(executor, str(home))
    return backend.code_store() if isinstance(backend, KeepsCode) else None


def trees_at(db: Database, store: CodeStore, older_than: float) -> list[str]:
    """Return the code trees that ended experiments of this home have left in a store elsewhere.

    Args:
        db: The store of records.
        store: Where.
        older_than: Only of experiments that were launched more seconds ago.

    Returns:
        Paths below the folder of ``store``.
    """
    before = time.time() - older_than
    places: dict[str, str] = {}
    out: dict[str, None] = {}
    for row in records.experiments(db):
        if row.live or row.created > before or not row.facts.get("code"):
            continue
        for job in records.jobs(db, row.id):
            for component in Job.from_json(job.spec).components:
                if component.code and "hash" in component.code:
                    key = json.dumps(component.executor, sort_keys=True, default=str)
                    if key not in places:
                        places[key] = _place(component.executor, db.home)
                    if places[key] == store.place:
                        out[f"{row.folder}/{CODE_FOLDER}/{component.code['tree']}"] = None
    return list(out)


def _place(executor: Mapping[str, Any], home: Path) -> str:
    with suppress(RunyardError):  # of a plug-in that is not installed now
        store = code_store(executors.from_dict(executor), home)
        return store.place if store else ""
    return ""


def clean_if_over_limit(db: Database, limit: str | None = None) -> CleanUp | None:
    """Clean up when stored code takes more than its limit (``RUNYARD_CODE_LIMIT``, default 10 GB).

    Called when an experiment that shipped code has ended; never raises what is no programming error.
    """
    with suppress(RunyardError, OSError):
        most = parse_size(limit or os.environ.get(LIMIT_VARIABLE) or DEFAULT_LIMIT, name=LIMIT_VARIABLE)
        if most is not None and store_bytes(db.home) > most:
            return clean(db, max_size=most)
    return None
