"""What schedulers still hold of experiments of this home that are gone: neither recorded nor in the folders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from runyard import executors
from runyard.backends.leaves import Leaves, Leftover
from runyard.backends.registry import backend_class_of
from runyard.errors import RunyardError
from runyard.store import layout
from runyard.store.db import Database


def find(db: Database) -> list[tuple[Leaves, Leftover]]:
    """Return what is left. Schedulers that do not answer now are left out.

    A folder that is there keeps what belongs to it, recorded or not: ``runyard doctor --rebuild`` may bring it back.
    """

    def folder_of(experiment: str, task: str) -> str:
        return f"{db.home}/{_folder(experiment)}/{task}"

    found = []
    for backend in _backends():
        with suppress(RunyardError):
            found += [(backend, left) for left in backend.leftovers(folder_of)]
    # Looked up now, afterwards: what is launched meanwhile is recorded before it is submitted.
    return [(backend, left) for backend, left in found if not _known(db, left.experiment)]


def remove(found: list[tuple[Leaves, Leftover]]) -> None:
    """Remove what is left, but not what still runs."""
    for backend, left in found:
        if not left.live:
            with suppress(RunyardError):
                backend.remove_leftover(left.name)


def _backends() -> Iterator[Leaves]:
    for kind in executors.builtin_kinds():
        with suppress(RunyardError):
            backend: object = backend_class_of(executors.executor_class(kind))
            if isinstance(backend, Leaves):
                yield backend


def _folder(experiment: str) -> str:
    return layout.folder_of(experiment.rpartition("_")[0], experiment)


def _known(db: Database, experiment: str) -> bool:
    recorded = db.rows("SELECT 1 FROM experiments WHERE id = ?", (experiment,))
    return bool(recorded) or (db.home / _folder(experiment)).exists()
