"""What scenarios work with: executors of one backend, folders, and bounded waits."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runyard.backends.base import Backend, Features, Handle, Job
from runyard.backends.process import ProcessId
from runyard.backends.registry import backend_class
from runyard.engine import controller, launch, logs, record, report
from runyard.engine.plan import PlannedJob, plan
from runyard.executors.base import Executor
from runyard.experiment import Experiment
from runyard.states import JobState
from runyard.store import lease, records
from runyard.store.db import Database
from runyard.task import Script

Scenario = Callable[["Harness"], None]

KILLING = str(Path(__file__).parents[1] / "killing")
LOOK_SECONDS = 0.02
IDLE = "for i in $(seq 300); do sleep 1 & wait $!; done"
"""Lines of bash that do nothing for long. A signal may reach the child first: then another one takes its place."""


@dataclass
class Harness:
    """One backend, ready for scenarios.

    Args:
        make: Gives an executor of this backend; called with fields to set.
        folder: An empty folder for this scenario. Jobs must see ``folder/shared`` under the same path.
        seconds: The longest that any single wait may take.
        time_limit: A short wall-time limit, as the executor's ``time`` field takes it.
        env: Further environment for launching processes.
        roots: Further folders in which the backend keeps files of its jobs; outside of ``secrets`` in them no secret
            may lie there.
        by_hand: Submits a job's request as a person would; default: types its command.
        unknown: Turns a handle into one that the scheduler does not know.
        outage: Makes the scheduler unreachable inside a ``with`` block, where that can be done.
    """

    make: Callable[..., Executor]
    folder: Path
    seconds: float = 60.0
    time_limit: Any = "1s"
    env: Mapping[str, str] = field(default_factory=dict)
    roots: Sequence[Path] = ()
    by_hand: Callable[[Sequence[str], str], None] | None = None
    unknown: Callable[[Handle], Handle] | None = None
    outage: Callable[[], AbstractContextManager[None]] | None = None

    def __post_init__(self) -> None:
        self.home, self.work, self.shared = (self.folder / n for n in ("home", "work", "shared"))
        for folder in (self.work, self.shared):
            folder.mkdir(parents=True, exist_ok=True)

    # -- making --------------------------------------------------------------------------------

    def executor(self, **fields: Any) -> Executor:
        """Return an executor of the backend under test."""
        return self.make(**fields)

    @property
    def features(self) -> Features:
        """Return what the backend says it can do by itself."""
        return backend_class(self.executor()).features

    def experiment(self, title: str = "conformance", **fields: Any) -> Experiment:
        """Return a new, quiet experiment whose default executor is of the backend under test."""
        return Experiment(
            title,
            self.executor(**fields),
            base_dir=self.home,
            clean_mode=True,
            enable_goodbye_message=False,
            skip_status_at_exit=True,
        )

    def again(self, id: str) -> Experiment:
        """Return a recorded experiment as another process would."""
        return Experiment.from_id(id, base_dir=self.home)

    def writes(self, text: str, name: str, then: str = "") -> Script:
        """Return a task that adds a line to the shared file ``name``."""
        return Script(inline=f'echo "{text}" >> {self.shared / name}\n{then}')

    # -- looking -------------------------------------------------------------------------------

    def rows(self, id: str) -> dict[str, records.JobRow]:
        """Return the recorded jobs by name, without seeing to it that anybody drives them."""
        with Database(self.home) as db:
            return {r.name: r for r in records.jobs(db, id)}

    def states(self, id: str) -> dict[str, JobState]:
        """Return the recorded states by name."""
        return {name: row.status.state for name, row in self.rows(id).items()}

    def results(self, id: str) -> dict[str, report.JobResult]:
        """Return what became of each job so far."""
        with Database(self.home) as db:
            return {r.name: r for r in report.results(db, id)}

    def lines(self, name: str) -> list[str]:
        """Return the lines that tasks have written to a shared file."""
        try:
            return (self.shared / name).read_text().splitlines()
        except FileNotFoundError:
            return []

    def log(self, id: str, name: str) -> dict[str, bytes]:
        """Return the log of a job, by stream, as its backend gives it."""
        with Database(self.home) as db:
            row = next(r for r in records.jobs(db, id) if r.name == name)
            reader = logs.reader(db, row)
        out: dict[str, bytes] = {}
        for stream, offset, data in reader.backend.logs(reader.handle, {}) if reader else ():
            assert offset == len(out.get(stream, b"")), f"{stream}: a piece begins at {offset}"
            out[stream] = out.get(stream, b"") + data
        return out

    def text(self, id: str, name: str) -> str:
        """Return the whole log of a job as text."""
        return b"".join(self.log(id, name).values()).decode("utf-8", "replace")

    # -- waiting -------------------------------------------------------------------------------

    def until(self, holds: Callable[[], Any], what: str) -> None:
        """Wait until ``holds`` returns something true.

        Raises:
            AssertionError: naming ``what``, when it did not happen in time.
        """
        deadline = time.monotonic() + self.seconds
        while not holds():
            assert time.monotonic() < deadline, f"{what}: not within {self.seconds:g} s"
            time.sleep(LOOK_SECONDS)

    def until_ended(self, id: str) -> dict[str, JobState]:
        """Wait until every job has ended, without any help from this process."""

        def ended() -> bool:
            states = self.states(id)
            return bool(states) and all(s.ended for s in states.values())

        self.until(ended, f"the end of {id}, which somebody else should drive")
        return self.states(id)

    def until_lines(self, name: str, count: int = 1) -> None:
        """Wait until a shared file has at least so many lines."""
        self.until(lambda: len(self.lines(name)) >= count, f"{count} line(s) in {name}")

    def go(self, name: str) -> None:
        """Give the word that tasks with :meth:`waits_for` wait for."""
        (self.shared / name).touch()

    def waits_for(self, name: str) -> str:
        """Return lines of shell that wait for :meth:`go`, five minutes and no longer."""
        path = self.shared / name
        return f"i=0; while [ ! -e {path} ] && [ $i -lt 3000 ]; do sleep 0.1; i=$((i+1)); done\n"

    # -- processes -----------------------------------------------------------------------------

    def driver(self, id: str) -> int:
        """Wait for a process that drives an experiment, and return its number."""
        found = 0

        def driven() -> bool:
            nonlocal found
            found = self.holder(id)
            return bool(found)

        self.until(driven, f"a controller that drives {id}")
        return found

    def holder(self, id: str) -> int:
        """Return the number of the process that drives an experiment now, or 0."""
        with Database(self.home) as db:
            owner = records.experiment(db, id).lease_owner
        process = ProcessId.parse(lease.Owner.parse(owner).process) if owner else None
        return process.pid if process and process.alive() else 0

    def kill(self, pid: int) -> None:
        """Kill a process as a crash would, and wait until it is gone."""
        identity = ProcessId.of(pid)
        os.kill(pid, signal.SIGKILL)
        self.until(lambda: identity is None or not identity.alive(), f"the end of process {pid}")

    def launching(self, program: str, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a launching script of its own; it finds the executor with :func:`its_executor`'s lines.

        Args:
            program: Python text; ``EXECUTOR`` in it stands for an expression that makes the executor.
            *args: Its arguments.
            **env: Further environment.
        """
        path = self.work / "launching.py"
        made = f"__import__('runyard.executors').executors.from_dict({self.executor().to_dict()!r})"
        path.write_text(program.replace("EXECUTOR", made))
        return subprocess.run(
            [sys.executable, str(path), *args],
            env=self.environment(**env),
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2 * self.seconds,
            check=False,
        )

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of launching processes."""
        return os.environ | {"RUNYARD_HOME": str(self.home)} | dict(self.env) | more

    def death(self, step: str, once: Path) -> dict[str, str]:
        """Return the environment in which a process kills itself at a step (see ``runyard.testing.killing``)."""
        path = f"{KILLING}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep)
        return {"PYTHONPATH": path, "RUNYARD_DIE_AT": step, "RUNYARD_DIE_ONCE": str(once)}

    @contextmanager
    def controller_that_dies(self, step: str) -> Iterator[Path]:
        """Let the first controller started in the block kill itself at a step."""
        once = self.folder / "died"
        new = self.death(step, once)
        before = {name: os.environ.get(name) for name in new}
        os.environ.update(new)
        try:
            yield once
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    # -- below the experiment ------------------------------------------------------------------

    def recorded(self, exp: Experiment) -> tuple[list[PlannedJob], Backend, Database]:
        """Plan and record an experiment, and let nobody drive it yet."""
        db = Database(self.home)
        id, _ = record.reserve(self.home, exp.title, int(time.time()))
        where = launch.circumstances(self.home, exp.title, id)
        jobs = plan(exp._entries(False)(id), where)
        record.record(db, where, jobs, record.facts_of_launch(where))
        exp.id, exp._recorded = id, True
        return jobs, self.connect(), db

    def connect(self) -> Backend:
        """Return a backend as another process would make it."""
        executor = self.executor()
        return backend_class(executor).connect(executor, str(self.home))

    def drive(self, id: str) -> None:
        """Have an experiment driven that nobody drives."""
        with Database(self.home) as db:
            started = controller.ensure(self.home, db, id)
        assert started is not None, f"somebody drives {id}"
        started.forget()

    def submit_by_hand(self, row: records.JobRow) -> None:
        """Submit a recorded job's request as a person does who found it on disk."""
        command, folder = [str(w) for w in row.request["command"]], str(row.request["folder"])
        if self.by_hand:
            self.by_hand(command, folder)
        else:
            subprocess.run(command, cwd=folder, check=False, timeout=self.seconds, env=self.environment())

    def unknown_handle(self, handle: Handle) -> Handle:
        """Return a handle like the given one that the scheduler does not know."""
        if self.unknown:
            return self.unknown(handle)
        return handle._replace(id=re.sub("[0-9]", "9", handle.id), folder=f"{handle.folder}-that-never-was")

    def end_everything(self) -> None:
        """End all experiments of this harness that still live."""
        if not self.home.exists():
            return
        try:
            with Database(self.home) as db:
                for row in records.experiments(db, live_only=True):
                    names = [r.name for r in records.jobs(db, row.id)]
                    report.cancel(db, row.id, names, wait_seconds=self.seconds)
                self._until_undriven(db)
        except Exception as e:  # noqa: BLE001 (what the scenario itself had to say matters more)
            sys.stderr.write(f"conformance: {self.home} was not left clean: {e}\n")

    def _until_undriven(self, db: Database) -> None:
        def undriven() -> bool:
            return not any(lease.held(db, e.id, controller.me(), controller.is_alive) for e in records.experiments(db))

        self.until(undriven, "the end of all controllers")


def raised(kind: type[BaseException], function: Callable[[], Any]) -> Any:
    """Return the exception of a kind that ``function`` must raise."""
    try:
        value = function()
    except kind as e:
        return e
    raise AssertionError(f"{kind.__name__} was not raised; the call returned {value!r}")


def job_of(row: records.JobRow) -> Job:
    """Return the planned job of a record."""
    return Job.from_json(row.spec)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Return every path below a folder with its size and time of change."""
    return {str(p): (p.lstat().st_size, p.lstat().st_mtime_ns) for p in folder.rglob("*")}


def dumped(value: Any) -> str:
    """Return plain JSON as text, for comparing."""
    return json.dumps(value, sort_keys=True)
