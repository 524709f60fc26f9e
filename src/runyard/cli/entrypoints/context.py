"""``run.cli.RunContext``: how and where a command launches. Importing this imports no executor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runyard.cli.output import emit

if TYPE_CHECKING:
    from runyard.executors.base import Executor
    from runyard.experiment import Experiment
    from runyard.plugin import Plugin


@dataclass
class RunContext:
    """How and where a command launches. A function with a parameter annotated so gets it, and runs here.

    Every field can be set as ``run.FIELD=value`` on the command line; a subclass may add fields of its own
    (``@run.cli.entrypoint(run_ctx_cls=...)``).

    Args:
        name: Name of the run; default: the command's.
        direct: Run in this very process, unrecorded.
        dryrun: Show what would be submitted, and submit nothing.
        factory: The factory (``name``, ``name(x=1)`` or ``@file``) that makes the task.
        load: A file or folder with an exported configuration.
        yaml: A file with arguments, or with an exported configuration.
        repl: Change the task in an interactive shell before it is launched.
        detach: Return at once; it goes on by itself.
        skip_confirmation: Don't ask before launching.
        tail_logs: Stream the logs; default: of a single task, yes.
        verbose: Say more.
        lazy: Leave everything but the launch to the job.
        executor: Where it runs.
        plugins: What changes task and executor right before the launch.

    Example:
        >>> import runyard as run
        >>> @run.cli.entrypoint(type="experiment", namespace="docs")
        ... def sweep(ctx: run.cli.RunContext, count: int = 2):
        ...     with run.Experiment("sweep") as exp:
        ...         for i in range(count):
        ...             exp.add(run.Script(inline=f"echo {i}"), executor=ctx.executor)
        ...         ctx.launch(exp)
    """

    name: str = ""
    direct: bool = False
    dryrun: bool = False
    factory: str | None = None
    load: str | None = None
    yaml: str | None = None
    repl: bool = False
    detach: bool = False
    skip_confirmation: bool = False
    tail_logs: bool | None = None
    verbose: bool = False
    lazy: bool = False
    executor: Executor | None = None
    plugins: list[Plugin] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._experiment: Experiment | None = None
        self.command: tuple[str, ...] = ()  # the words that lead to this command in a program with several

    @property
    def has_experiment(self) -> bool:
        """Whether :attr:`experiment` was asked for."""
        return self._experiment is not None

    @property
    def experiment(self) -> Experiment:
        """The experiment of this command, titled with its name; made when it is first asked for."""
        if self._experiment is None:
            from runyard.experiment import Experiment

            self._experiment = Experiment(self.name or "experiment", executor=self.executor)
        return self._experiment

    def add(self, task: Any, **options: Any) -> str:
        """Add a task (or a list of them, a group) to :attr:`experiment`, with this context's executor and plugins.

        Args:
            task: What to run.
            **options: As :meth:`runyard.Experiment.add` takes them.

        Returns:
            The task's id.
        """
        options.setdefault("plugins", self.plugins)
        return self.experiment.add(task, **options)

    def launch(self, exp: Experiment, sequential: bool = False) -> dict[str, Any]:
        """Launch an experiment as the command line says: detached, dry, direct, with logs.

        Its id is printed when it is detached, for another program to take.

        Args:
            exp: The experiment.
            sequential: Each task waits for the one added before it.

        Returns:
            What became of each task; nothing for a dry or direct run.

        Raises:
            runyard.TaskFailed: when a task did not succeed.
        """
        if self.dryrun:
            exp.dryrun(sequential=sequential)
            return {}
        found = exp.run(sequential, detach=self.detach, tail_logs=bool(self.tail_logs), direct=self.direct)
        if self.detach and found:
            emit(exp.id)
        return found

    def run(
        self,
        task: Any,
        executor: Executor | None = None,
        plugins: Plugin | Sequence[Plugin] | None = None,
        name: str = "",
    ) -> Any:
        """Run one task as the command line says, and wait for it unless detached; see :func:`runyard.run`.

        Args:
            task: What to run.
            executor: Where; default: this context's.
            plugins: Default: this context's.
            name: Its name.

        Raises:
            runyard.TaskFailed: when it did not succeed.
        """
        from runyard.oneshot import run

        found = run(
            task,
            executor=executor or self.executor,
            plugins=self.plugins if plugins is None else plugins,
            name=name,
            dryrun=self.dryrun,
            direct=self.direct,
            detach=self.detach,
            tail_logs=self.tail_logs is not False,
        )
        if self.detach and found is not None:
            emit(found.experiment)
        return found

    def cli_execute(self, fn: Any, args: Sequence[str] = (), entrypoint_type: str = "") -> Any:
        """Do what a command line does, with this context's settings.

        Args:
            fn: A function, or an entrypoint.
            args: Overrides: ``["model.size=3", "executor=local"]``.
            entrypoint_type: ``"task"``, ``"experiment"`` …; default: as it is decorated, else a task.

        Returns:
            What the function returns, where it runs here; else what became of the task.

        Raises:
            ConfigError: for an argument that cannot be used.
            runyard.TaskFailed: when a task did not succeed.

        Example:
            >>> def double(x: int):
            ...     return 2 * x
            >>> RunContext(direct=True, skip_confirmation=True).cli_execute(double, ["x=4"])
            8
        """
        from runyard.cli.entrypoints.flow import perform
        from runyard.cli.entrypoints.program import entry_of

        return perform(entry_of(fn, kind=entrypoint_type), self, args)
