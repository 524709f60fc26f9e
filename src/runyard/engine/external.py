"""Dependencies on tasks of earlier experiments, written ``<experiment's id>/<task>``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from runyard.engine.plan import Dependency, Entry, with_dependencies
from runyard.errors import ConfigError
from runyard.states import DEPENDENCY_TYPES, JobState
from runyard.store import records
from runyard.store.db import Database

MARK = "/"
"""No task's own name holds it."""


def name(experiment: str, task: str) -> str:
    """Return how other experiments refer to a task."""
    return f"{experiment}{MARK}{task}"


def is_external(dependency: str) -> bool:
    """Say whether a dependency is on another experiment's task."""
    return MARK in dependency


def after(db: Database, entries: Sequence[Entry], run_after: Sequence[str]) -> list[Entry]:
    """Return entries whose first tasks also depend on all tasks of other experiments.

    Args:
        db: The store.
        entries: The tasks.
        run_after: Ids, titles (the latest of each) or unique prefixes.

    Raises:
        UnknownExperiment: when one stands for no experiment, or for several.
        ConfigError: for a dependency on a task that another experiment does not have.
    """
    names = [name(id, row.name) for id in (records.resolve(db, r) for r in run_after) for row in records.jobs(db, id)]
    out = []
    for entry in entries:
        _check(db, entry)
        if names and not entry.dependencies:
            kind = entry.executors[0].dependency_type
            kind = kind if kind in DEPENDENCY_TYPES else "afterok"
            entry = with_dependencies(entry, [Dependency(n, kind) for n in names])
        out.append(entry)
    return out


def _check(db: Database, entry: Entry) -> None:
    for dependency in entry.dependencies:
        if not is_external(dependency.name):
            continue
        id, _, task = dependency.name.partition(MARK)
        known = [row.name for row in records.jobs(db, id)]
        if task not in known:
            near = get_close_matches(task, known, n=1)
            meant = f"did you mean {name(id, near[0])!r}? " if near else ""
            raise ConfigError(
                f"task {entry.name!r} depends on {dependency.name!r}, which is not recorded here",
                hint=f"{meant}take what exp.handle(task) of a launched experiment returns",
            )


def states(db: Database, names: Iterable[str]) -> dict[str, JobState]:
    """Return the states of tasks of other experiments; one that is not recorded any more counts as lost."""
    wanted = list(names)
    by_experiment: dict[str, list[str]] = {}
    for n in wanted:
        by_experiment.setdefault(n.partition(MARK)[0], []).append(n)
    out: dict[str, JobState] = {}
    for id in by_experiment:
        out |= {name(id, row.name): row.status.state for row in records.jobs(db, id)}
    return {n: out.get(n, JobState.LOST) for n in wanted}
