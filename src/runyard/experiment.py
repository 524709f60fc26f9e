"""Experiments: a titled graph of tasks, launched together and managed afterwards."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from runyard import engine, store, terminal
from runyard.errors import ConfigError, UnknownExperiment
from runyard.executors.base import Executor
from runyard.executors.local import LocalExecutor
from runyard.home import runyard_home
from runyard.plugin import Plugin
from runyard.taskgraph import TaskGraph

if TYPE_CHECKING:
    from runyard.backends.base import Handle
    from runyard.engine.code import Pinned
    from runyard.engine.controller import Controller
    from runyard.engine.plan import Entry, Launch, PlannedJob
    from runyard.engine.report import JobResult
    from runyard.states import JobState
    from runyard.store.db import Database
    from runyard.store.records import JobRow

__all__ = ["Experiment", "ExperimentJob"]


@dataclass(frozen=True)
class ExperimentJob:
    """A recorded job of an experiment.

    Args:
        id: The task's id in the experiment.
        status: Where it stands.
        reason: Why.
        handle: How the scheduler knows it, once submitted.
        dependencies: Ids of tasks it depends on.
        local_dir: Folder with its files on this machine.
        launched: It was handed to its scheduler.
    """

    id: str
    status: JobState
    reason: str
    handle: Handle | None
    dependencies: tuple[str, ...]
    local_dir: str
    launched: bool


class Experiment:
    """A titled graph of tasks.

    Args:
        title: What it is about; ids are made from it (``title_1730761155``).
        executor: Default executor of its tasks; default: :class:`~runyard.executors.local.LocalExecutor`.
        id: Exactly this id instead of one made from the title; it must be free (:meth:`from_id` opens others).
        log_level: Accepted for compatibility.
        base_dir: Root of the records instead of ``RUNYARD_HOME``.
        clean_mode: Print nothing but what is asked for.
        enable_goodbye_message: Print the commands to look further after a run.
        threadpool_workers: Accepted for compatibility; Runyard needs no threads.
        skip_status_at_exit: Don't print the status table after a run.
        serialize_metadata_for_scripts: Accepted for compatibility; tasks are always recorded.
        code_from: Id (title, prefix) of an experiment whose code is used instead of what is on disk now.

    Example:
        >>> import runyard as run
        >>> with run.Experiment("hello") as exp:  # doctest: +SKIP
        ...     first = exp.add(run.Script(inline="echo first"))
        ...     exp.add(run.Script(inline="echo second"), dependencies=[first])
        ...     exp.run()
    """

    def __init__(
        self,
        title: str,
        executor: Executor | None = None,
        id: str | None = None,
        log_level: str = "INFO",
        base_dir: str | Path | None = None,
        clean_mode: bool = False,
        enable_goodbye_message: bool = True,
        threadpool_workers: int = 16,
        skip_status_at_exit: bool = False,
        serialize_metadata_for_scripts: bool = True,
        code_from: str | None = None,
    ) -> None:
        del log_level, threadpool_workers, serialize_metadata_for_scripts
        if not title or not title.strip():
            raise ConfigError("an experiment needs a title", hint='Experiment("my-first-run")')
        self.title = title
        self.executor = executor or LocalExecutor()
        self.home = _home(base_dir)
        self.clean_mode = clean_mode
        self.enable_goodbye_message = enable_goodbye_message
        self.skip_status_at_exit = skip_status_at_exit
        self._stamp = int(time.time())
        self._wanted_id = id or ""
        self.id = id or engine.record.new_id(title, self._stamp)
        self._graph = TaskGraph()
        self._facts: dict[str, Any] = {}
        self._like: dict[str, Any] | None = None
        self._code_from = code_from
        self._recorded = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __repr__(self) -> str:
        return f"Experiment({self.id!r}, {'recorded' if self._recorded else f'{len(self._graph.names)} tasks'})"

    def _repr_html_(self) -> str:
        states = self._states()
        rows = [(n, d, engine.report.shown_state(states.get(n))) for n, d in self._edges()]
        return engine.notebook.table(self.id, rows)

    # -- building ------------------------------------------------------------------------------

    def add(
        self,
        task: Any,
        executor: Executor | Sequence[Executor] | None = None,
        name: str = "",
        plugins: Sequence[Plugin] | None = None,
        tail_logs: bool = False,
        dependencies: Sequence[str] | None = None,
    ) -> str:
        """Add a task, or a list of tasks that run side by side as one group.

        Args:
            task: A ``Script``, a ``Partial``, a plain function without arguments, or a list of these.
            executor: Where it runs; for a group one for all or one each. Copied.
            name: Its id; default: made from the task, with a number when taken.
            plugins: Applied to copies of task and executor at launch.
            tail_logs: Stream its log while it runs attached.
            dependencies: Ids of tasks it depends on, also of tasks added later, and what :meth:`handle` returns for
                tasks of other experiments. What exactly it asks of them is its executor's ``dependency_type``.

        Returns:
            The task's id.

        Raises:
            ConfigError: when the name is taken, or the task cannot be run.
        """
        self._must_be_new("add tasks to")
        return self._graph.add(task, executor, self.executor, name, tuple(plugins or ()), tail_logs, dependencies or ())

    def _edges(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(j.id, j.dependencies) for j in self.jobs] if self._recorded else self._graph.edges()

    def _pinned(self) -> Pinned | None:
        if self._code_from is None:
            return None
        with store.db.Database(self.home) as db:
            return engine.replay.code_of(db, store.records.resolve(db, self._code_from))

    def _states(self) -> dict[str, JobState]:
        return {j.id: j.status for j in self.jobs} if self._recorded else {}

    def _must_be_new(self, what: str) -> None:
        if self._recorded:
            raise ConfigError(
                f"cannot {what} {self.id}: it was launched already",
                hint="exp.reset() makes a new one from its record",
            )

    def _entries(self, sequential: bool, tail_logs: bool = False) -> Callable[[str], list[Entry]]:
        return lambda id: self._graph.entries(id, sequential, tail_logs)

    # -- launching -----------------------------------------------------------------------------

    def run(
        self,
        sequential: bool = False,
        detach: bool = False,
        tail_logs: bool = False,
        direct: bool = False,
        raise_on_failure: bool = True,
        run_after: str | Sequence[str] = (),
    ) -> dict[str, JobResult]:
        """Launch all tasks, and unless detached wait until they have ended.

        Args:
            sequential: Each task waits for the one added before it.
            detach: Return at once; the experiment goes on by itself.
            tail_logs: Stream the logs of all tasks.
            direct: Run the tasks one after the other in this very process, unrecorded, for debugging.
            raise_on_failure: Raise when a task did not succeed.
            run_after: Earlier experiments (ids, or titles for the latest of each) all of whose tasks come first, as
                the ``dependency_type`` of this one's executors says.

        Returns:
            What became of each task so far.

        Raises:
            TaskFailed: after everything has ended, when a task did not succeed.
            ConfigError: when something could not run; nothing is started or recorded then.
        """
        self._must_be_new("run")
        engine.launch.refuse_inside_job()
        if engine.launch.is_dry():
            self.dryrun(sequential=sequential)
            return {}
        if direct:
            self._run_direct(sequential)
            return {}
        db, self.id, jobs, controller = engine.launch.launch(
            self.home,
            self.title,
            self._stamp,
            self._entries(sequential, tail_logs),
            self._facts,
            self._like,
            self._pinned(),
            self._say,
            self._wanted_id,
            [run_after] if isinstance(run_after, str) else run_after,
        )
        self._recorded = True
        with db:
            if detach:
                controller.forget()
                results = engine.report.results(db, self.id)
                self._say(f"{self.id}: {_count(len(jobs))} launched, detached\n{self._commands(results)}")
                return {r.name: r for r in results}
            return self._attend(db, jobs, controller, tail_logs, raise_on_failure)

    def _attend(
        self,
        db: Database,
        jobs: list[PlannedJob],
        controller: Controller,
        tail_logs: bool,
        raise_on_failure: bool,
    ) -> dict[str, JobResult]:
        names = [p.job.id.name for p in jobs]
        tail = frozenset(names if tail_logs else [p.job.id.name for p in jobs if p.tail_logs])
        view = engine.follow.View(names, tail)
        if len(jobs) > 1 and not self.clean_mode:
            self._say(f"{self.id}: {_count(len(jobs))}")
        try:
            follower = engine.follow.Follower(db, self.id, view, controller)
            follower.run()
        except engine.follow.Detached:
            results = engine.report.results(db, self.id)
            self._say(f"detached; {self.id} goes on\n{self._commands(results)}")
            return {r.name: r for r in results}
        results = engine.report.results(db, self.id)
        if len(jobs) > 1 and not self.skip_status_at_exit and not self.clean_mode:
            self._say("\n" + engine.report.status_table(db, self.id, *terminal.look(sys.stderr)))
        if self.enable_goodbye_message and len(jobs) > 1:
            self._say("\n" + self._commands(results))
        failure = engine.report.failure(db, results, shown=tail)
        if failure and raise_on_failure:
            failure.exit_code = 128 + signal.SIGINT if follower.interrupted else failure.exit_code
            raise failure
        return {r.name: r for r in results}

    def _run_direct(self, sequential: bool) -> None:
        del sequential  # direct runs are one after the other anyway
        engine.direct.run(self._entries(False)(self.id), self._graph.originals(), self._say)

    def dryrun(
        self, log: bool = True, exist_ok: bool = False, delete_exp_dir: bool = True, sequential: bool = False
    ) -> str:
        """Show exactly what :meth:`run` would submit. Contacts nothing.

        Args:
            log: Print it.
            exist_ok: Allow it for an experiment that was launched already.
            delete_exp_dir: Leave no files; with ``False`` the experiment's folder is written, to look at.
            sequential: As it is given to :meth:`run`.

        Returns:
            The text that is printed.
        """
        if not exist_ok:
            self._must_be_new("dry-run")
        where, jobs, code = engine.launch.preview(
            self.home, self.title, self._stamp, self._entries(sequential), self._like, self._pinned(), self._wanted_id
        )
        text = engine.report.dryrun(where, jobs, code)
        if not delete_exp_dir:
            text += f"\nwritten to {self._keep(where, jobs)}\n"
        if log:
            sys.stdout.write(text)
            sys.stdout.flush()
        return text

    def _keep(self, where: Launch, jobs: list[PlannedJob]) -> Path:
        id, folder = engine.record.reserve(self.home, self.title, self._stamp)
        if id != where.id:
            where = engine.launch.circumstances(self.home, self.title, id, self._like)
        return engine.record.write_draft(where, jobs, engine.record.facts_of_launch(where) | {"folder": folder})

    # -- managing ------------------------------------------------------------------------------

    @property
    def jobs(self) -> list[ExperimentJob]:
        """The jobs as recorded; empty before a launch."""
        if not self._recorded:
            return []
        with store.db.Database(self.home) as db:
            return [_job_view(row) for row in store.records.jobs(db, self.id)]

    @property
    def tasks(self) -> list[Any]:
        """The tasks: ``Script`` or ``Partial`` objects. For a recorded experiment this imports user code."""
        graph = self._graph
        if self._recorded:
            with store.db.Database(self.home) as db:
                graph = TaskGraph(engine.replay.entries(db, self.id))
        groups = graph.groups()
        return [tuple(tasks) if name in groups else tasks[0] for name, tasks in graph.originals().items()]

    def status(self, return_dict: bool = False) -> dict[str, dict[str, Any]] | None:
        """Print where each task stands, or return it.

        Args:
            return_dict: Return ``{name: {"status", "handle", "local_dir", …}}`` instead of printing.
        """
        with self._open() as db:
            if return_dict:
                return engine.report.status_dict(db, self.id)
            self._print(engine.report.status_table(db, self.id, *terminal.look(sys.stdout)))
            return None

    def wait(self, tail_logs: bool = False, raise_on_failure: bool = True) -> dict[str, JobResult]:
        """Wait until every task has ended; see :meth:`run` for the parameters."""
        with self._open() as db:
            rows = store.records.jobs(db, self.id)
            names = [r.name for r in rows]
            view = engine.follow.View(names, frozenset(names if tail_logs else ()))
            try:
                engine.follow.Follower(
                    db,
                    self.id,
                    view,
                    engine.controller.ensure(self.home, db, self.id),
                    _last_event(db, self.id),
                ).run()
            except engine.follow.Detached:
                return {r.name: r for r in engine.report.results(db, self.id)}
            results = engine.report.results(db, self.id)
            failure = engine.report.failure(db, results)
            if failure and raise_on_failure:
                raise failure
            return {r.name: r for r in results}

    def logs(self, job_id: str, regex: str | None = None) -> None:
        """Print the log of a task, of all its attempts and members.

        Args:
            job_id: The task's id.
            regex: Print only the lines that match.
        """
        with self._open() as db:
            rows = store.records.jobs(db, self.id)
            (name,) = engine.follow.names_of(rows, [job_id])
            row = next(r for r in rows if r.name == name)
            found = engine.logs.reader(db, row)
            for stream, line in engine.logs.search(found, regex) if found else ():
                member = engine.logs.member_of(stream)
                self._print(f"{member} | {line}" if member else line)

    def handle(self, task: str) -> str:
        """Return the name by which tasks of other experiments can depend on a task of this one.

        Example:
            >>> later.add(evaluate, dependencies=[training.handle("train")])  # doctest: +SKIP

        Raises:
            ConfigError: when this experiment was not launched yet, or has no such task.
        """
        if not self._recorded:
            raise ConfigError(
                f"{self.title!r} was not launched yet",
                hint="run(detach=True) it first, or add the tasks to one experiment",
            )
        with self._open() as db:
            (name,) = engine.follow.names_of(store.records.jobs(db, self.id), [task])
        return engine.external.name(self.id, name)

    def pull(
        self,
        task: str,
        pattern: str | Sequence[str] = "**",
        into: str | Path | None = None,
        attempt: int | None = None,
    ) -> list[Path]:
        """Bring files of a task from where it ran; what is here already, with the same size and time, is left.

        A task that runs can be pulled from. What is interrupted leaves no half files.

        Args:
            task: The task's id.
            pattern: Which files of its output folder (``RUNYARD_OUTPUT_DIR``); where nothing matches there, of its
                working directory. Globs with ``**`` in one string, separated by spaces, or a list with one each; a
                folder's name takes all of it. Default: all outputs.
            into: Folder for them. Default: for outputs the ``output_dir`` of the task's result; for other files
                ``pulled`` in the task's folder. Where the task ran on this machine, the files stay where they are.
            attempt: Whose output, by number; default: the newest attempt's.

        Returns:
            The paths on this machine of all files that match, sorted; nothing when there is no output yet.

        Raises:
            ConfigError: when a pattern is given and matches nothing; it names the folders and a near name.
            TunnelError: when the machine cannot be reached.
            RunyardError: when the executor has no way to bring files, or they cannot be written here.

        Example:
            >>> exp = Experiment.from_title("sweep")  # doctest: +SKIP
            >>> exp.pull("lr-0.2", "checkpoints/**/*.pt")  # doctest: +SKIP
            pulled 3 of 12 files, 1.2 MB; 9 were here already
        """
        with self._open() as db:
            rows = store.records.jobs(db, self.id)
            (name,) = engine.follow.names_of(rows, [task])
            row = next(r for r in rows if r.name == name)
            pulled = engine.pull.pull(db, row, pattern, into, attempt)
        for warning in pulled.warnings:
            self._say(f"warning: {warning}")
        self._say(pulled.summary())
        return list(pulled.files)

    def cancel(self, job_id: str | None = None) -> None:
        """End a task (or all of them) and wait until it has ended."""
        with self._open() as db:
            names = engine.follow.names_of(store.records.jobs(db, self.id), [job_id] if job_id else [])
            engine.report.cancel(db, self.id, names)

    def reset(self, failed: bool = False) -> Self:
        """Make this a new experiment with the same tasks, executors, groups, dependencies and code, to run again.

        Args:
            failed: Only with the tasks that did not succeed.
        """
        if not self._recorded:
            return self
        with store.db.Database(self.home) as db:
            entries = (engine.replay.unsuccessful if failed else engine.replay.entries)(db, self.id)
            self._graph = TaskGraph(entries)
            self._like = dict(store.records.experiment(db, self.id).facts)
        self._facts = {"rerun_of": self.id}
        self._recorded = False
        self._wanted_id = ""
        self._stamp = int(time.time())
        self.id = engine.record.new_id(self.title, self._stamp)
        return self

    @classmethod
    def from_id(cls, id: str, base_dir: str | Path | None = None) -> Self:
        """Return a recorded experiment by its id (or a unique prefix of it).

        Raises:
            UnknownExperiment: when there is none.
        """
        home = _home(base_dir)
        with store.db.Database(home) as db:
            row = store.records.experiment(db, store.records.resolve(db, id))
        exp = cls(row.title, id=row.id, base_dir=home)
        exp._recorded = True
        return exp

    @classmethod
    def from_title(cls, title: str, base_dir: str | Path | None = None) -> Self:
        """Return the latest experiment with a title.

        Raises:
            UnknownExperiment: when there is none.
        """
        home = _home(base_dir)
        with store.db.Database(home) as db:
            found = store.records.experiments(db, title=title, limit=1)
        if not found:
            raise UnknownExperiment(
                f"no experiment is titled {title!r} in {home}", hint="Experiment.catalog() lists all"
            )
        return cls.from_id(found[0].id, base_dir)

    @classmethod
    def catalog(cls, title: str = "", base_dir: str | Path | None = None) -> list[str]:
        """Return the ids of all recorded experiments (with a title), the oldest first."""
        home = _home(base_dir)
        with store.db.Database(home) as db:
            return [e.id for e in reversed(store.records.experiments(db, title=title or None))]

    def _open(self) -> Database:
        """Open the store, and see to it that somebody drives the experiment."""
        if not self._recorded:
            raise ConfigError(f"{self.title!r} was not launched yet", hint="call exp.run() first")
        db = store.db.Database(self.home)
        if controller := engine.controller.ensure(self.home, db, self.id):
            controller.forget()
        return db

    def _commands(self, found: Sequence[JobResult]) -> str:
        return engine.report.commands(self.id, found)

    def _say(self, text: str) -> None:
        if not self.clean_mode:
            sys.stderr.write(text.rstrip("\n") + "\n")
            sys.stderr.flush()

    def _print(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def _home(base_dir: str | Path | None) -> Path:
    return Path(base_dir).expanduser().absolute() if base_dir else runyard_home()


def _job_view(row: JobRow) -> ExperimentJob:
    job = engine.plan.Job.from_json(row.spec)
    return ExperimentJob(
        id=row.name,
        status=row.status.state,
        reason=row.status.reason,
        handle=engine.plan.Handle(*row.handle) if row.handle else None,
        dependencies=tuple(d.name for d in job.dependencies),
        local_dir=job.local_dir,
        launched=row.handle is not None,
    )


def _last_event(db: Database, id: str) -> int:
    found = store.records.events(db, id)
    return found[-1].id if found else 0


def _count(n: int) -> str:
    return f"{n} task{'s' if n != 1 else ''}"
