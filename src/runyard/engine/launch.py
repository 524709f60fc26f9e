"""Launching an experiment: plan, record, and leave it to its controller."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from runyard import executors
from runyard.backends.base import Backend, Request
from runyard.backends.registry import backend_class
from runyard.engine import code, external, record
from runyard.engine import controller as controllers
from runyard.engine.code import CodeTaker, Pinned
from runyard.engine.controller import Controller
from runyard.engine.plan import Entry, Launch, PlannedJob, plan, python_path
from runyard.errors import ConfigError, LaunchInsideJob
from runyard.states import NEEDS_LOGIN
from runyard.store import layout, records
from runyard.store.db import Database

DEEPEST = 5
"""So deep may tasks launch experiments whose tasks launch experiments."""
LOADING = "RUNYARD_LOADING"
"""Set in a job while the launching script is loaded for the functions it defines."""


_dry: ContextVar[bool] = ContextVar("dry", default=False)


@contextlib.contextmanager
def dry_runs() -> Iterator[None]:
    """Within this block, what would be launched is only shown: a user's function cannot launch by accident."""
    token = _dry.set(True)
    try:
        yield
    finally:
        _dry.reset(token)


def is_dry() -> bool:
    """Say whether launches are only shown."""
    return _dry.get()


def refuse_inside_job() -> None:
    """Stop a launching script that is being loaded inside its own job, and a task that launches itself for ever."""
    if os.environ.get(LOADING):
        raise LaunchInsideJob("this script is being loaded inside a job that it launched")
    depth = os.environ.get("RUNYARD_DEPTH", "0")
    if depth.isdigit() and int(depth) >= DEEPEST:
        raise ConfigError(
            f"this launch stands in a task of a task … {depth} levels deep: does the task launch itself?",
            hint="keep the launch out of the task; unset RUNYARD_DEPTH if the nesting is meant",
        )


def circumstances(home: Path, title: str, id: str, like: Mapping[str, Any] | None = None) -> Launch:
    """Return the circumstances of a launch.

    Args:
        home: Root of the records.
        title: The experiment's title.
        id: Its id.
        like: What was recorded of an earlier launch, to repeat it; default: this process's own.
    """
    here: dict[str, Any] = {
        "cwd": os.getcwd(),
        "python": sys.executable,
        "path_prefix": str(Path(sys.executable).parent) if sys.prefix != sys.base_prefix else "",
        "python_path": python_path(),
        "argv": sys.argv[1:],
    }
    facts: dict[str, Any] = {name: like[name] if like and name in like else value for name, value in here.items()}
    facts["python_path"], facts["argv"] = tuple(facts["python_path"]), tuple(facts["argv"])
    return Launch(id=id, title=title, home=str(home), folder=layout.folder_of(title, id), **facts)


def launch(
    home: Path,
    title: str,
    stamp: int,
    entries_for: Callable[[str], Sequence[Entry]],
    facts: Mapping[str, Any],
    like: Mapping[str, Any] | None = None,
    pinned: Pinned | None = None,
    say: Callable[[str], None] = lambda _: None,
    id: str = "",
    run_after: Sequence[str] = (),
) -> tuple[Database, str, list[PlannedJob], Controller]:
    """Record an experiment whose controller then drives it.

    Args:
        home: Root of the records.
        title: The experiment's title.
        stamp: Wanted second for its id.
        entries_for: Gives the entries once the id is known (plugins need it).
        facts: Plain JSON to record with it.
        like: What was recorded of the launch that this one repeats.
        pinned: Code to use instead of what is on disk; see :class:`~runyard.engine.code.Pinned`.
        say: Called with each line about the code that ships.
        id: Exactly this id, instead of one made from title and second.
        run_after: Experiments whose tasks must come first: ids, titles or unique prefixes.

    Returns:
        The store, the id, the jobs, and the controller, which has been told to go on.

    Raises:
        ConfigError: when something could not run; nothing is recorded then.
        StoreError: when the record cannot be written.
    """
    refuse_inside_job()
    db = Database(home)
    id, folder = record.reserve(home, title, stamp, id)
    controller: Controller | None = None
    try:
        controller = controllers.start(home, id)  # it starts up while we plan
        where = circumstances(home, title, id, like)
        taker = CodeTaker(where.cwd, _pinned(pinned, like))
        jobs = plan(external.after(db, entries_for(id), run_after), where, taker)
        shipped = taker.snapshots()
        for line in code.lines(shipped):
            say(line)
        for line in prepare(home, jobs):
            say(line)
        facts = {**facts, "code": code.facts(shipped)} if shipped else facts
        secrets = {value for planned in jobs for value in planned.secrets.values()}
        record.record(db, where, jobs, record.facts_of_launch(where, secrets, **facts), code.records(shipped))
    except BaseException as e:
        if controller and record.was_recorded(db, id, e):
            controller.forget()
            raise
        if controller:
            controller.abandon()
        layout.discard(home, folder)
        raise
    layout.sweep(home, str(Path(folder).parent), {id})
    controller.release()
    return db, id, jobs, controller


def prepare(home: Path, jobs: Sequence[PlannedJob]) -> list[str]:
    """Let each backend look at the requests of a launch before it is recorded.

    Returns:
        Lines to show.

    Raises:
        RunyardError: when a request can never run, or a cluster cannot be reached.
    """
    backends: dict[tuple[str, str], Backend] = {}
    requests: dict[tuple[str, str], list[Request]] = {}
    for planned in jobs:
        backend_type = backend_class(planned.executor)
        key = (planned.job.kind, backend_type.cluster(planned.executor))
        if key not in backends:
            backends[key] = backend_type.connect(planned.executor, str(home))
        requests.setdefault(key, []).append(planned.request)
    return [line for key, backend in backends.items() for line in backend.prepare(requests[key])]


def log_in(db: Database, id: str) -> None:
    """Log in, in this process and its terminal, where jobs of an experiment wait for that; their controller goes on.

    Raises:
        RunyardError: when the login is refused again.
    """
    done: set[tuple[str, str]] = set()
    for row in records.jobs(db, id):
        if row.status.state.ended or not row.status.reason.startswith(NEEDS_LOGIN):
            continue
        executor = executors.from_dict(row.spec["components"][0]["executor"])
        backend_type = backend_class(executor)
        key = (executor.kind, backend_type.cluster(executor))
        if key not in done:
            done.add(key)
            backend_type.connect(executor, str(db.home)).prepare([])


def preview(
    home: Path,
    title: str,
    stamp: int,
    entries_for: Callable[[str], Sequence[Entry]],
    like: Mapping[str, Any] | None = None,
    pinned: Pinned | None = None,
    id: str = "",
) -> tuple[Launch, list[PlannedJob], list[str]]:
    """Plan as a launch would; submit and write nothing. Returns also the lines about the code that would ship."""
    refuse_inside_job()
    where = circumstances(home, title, id or record.new_id(title, stamp), like)
    taker = CodeTaker(where.cwd, _pinned(pinned, like))
    from runyard.snapshots.capture import scratch  # only dry-runs need it here

    with scratch():
        jobs = plan(entries_for(where.id), where, taker)
    return where, jobs, code.lines(taker.snapshots())


def _pinned(given: Pinned | None, like: Mapping[str, Any] | None) -> Pinned:
    """Put together the code a user pinned and what is known of the code of the launch that is repeated."""
    given = given or Pinned()
    return Pinned(given.hashes, {**code.recorded_infos(like), **given.infos})
