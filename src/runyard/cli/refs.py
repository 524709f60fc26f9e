"""Arguments that name experiments and tasks, and how they are found and completed."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from runyard import engine, store
from runyard.errors import RunyardError, StoreError
from runyard.home import runyard_home
from runyard.store.db import NAME, Database
from runyard.store.records import ExperimentRow

LOOK_SECONDS = 1.0
"""How long a command waits for news of an experiment that nobody had been driving."""
_COMPLETIONS = 50

F = TypeVar("F", bound=Callable[..., Any])


def open_store() -> Database:
    """Open the records, which must exist.

    Raises:
        StoreError: when there are none, or they cannot be read.
    """
    home = runyard_home()
    if not (home / NAME).exists() and (home / store.layout.EXPERIMENTS).is_dir():
        raise StoreError(
            f"the store {home / NAME} is gone; the folders of experiments are still there",
            hint="make it anew from them: runyard doctor --rebuild",
        )
    return Database(home, create=False)


def find(db: Database, ref: str) -> ExperimentRow:
    """Return the experiment that an id, a title or a unique prefix stands for.

    Raises:
        UnknownExperiment: when there is none, or several.
    """
    return store.records.experiment(db, store.records.resolve(db, ref))


def revive(db: Database, row: ExperimentRow) -> None:
    """See to it that somebody drives an experiment; when nobody did, wait for the first news of it.

    Where its jobs wait for a login, this terminal is the place for it.
    """
    if row.live and os.isatty(0) and os.isatty(2):
        engine.launch.log_in(db, row.id)
    if row.live and (controller := engine.controller.ensure(db.home, db, row.id)):
        select.select([controller.changes], [], [], LOOK_SECONDS)
        controller.forget()


def ref_argument(function: F) -> F:
    """Add the argument REF to a command."""
    return click.argument("ref", metavar="REF", shell_complete=complete_ref)(function)


def complete_ref(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer titles, then ids, of recorded experiments, the newest first."""
    with suppress(RunyardError), open_store() as db:
        rows = store.records.experiments(db, limit=1000)
        titles = dict.fromkeys(r.title for r in rows)
        names = [n for n in [*titles, *(r.id for r in rows)] if n.startswith(incomplete)]
        return [CompletionItem(n, help="latest run" if n in titles else "") for n in names[:_COMPLETIONS]]
    return []


def complete_task(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the tasks of the experiment that stands before."""
    # Right after an option that waits for its value, click has not assigned the arguments yet.
    ref = ctx.params.get("ref") or next(iter(ctx.args), None)
    with suppress(RunyardError), open_store() as db:
        rows = store.records.jobs(db, find(db, str(ref)).id) if ref else []
        return [CompletionItem(r.name) for r in rows if r.name.startswith(incomplete)]
    return []
