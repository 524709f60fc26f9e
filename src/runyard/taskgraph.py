"""What a user adds to an experiment, and how it becomes the engine's entries."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runyard import config, engine
from runyard.errors import ConfigError
from runyard.executors.base import Executor
from runyard.plugin import Plugin
from runyard.states import DEPENDENCY_TYPES
from runyard.task import Script, safe_name, unique_name

if TYPE_CHECKING:
    from runyard.config.calltree import PyCall
    from runyard.engine.plan import Entry
    from runyard.engine.taskrecord import Task


@dataclass(frozen=True)
class Added:
    """What was given to ``Experiment.add``, as copies."""

    name: str
    tasks: tuple[Any, ...]
    executors: tuple[Executor, ...]
    group: bool
    dependencies: tuple[str, ...]
    plugins: tuple[Plugin, ...]
    tail_logs: bool


@dataclass
class TaskGraph:
    """The tasks of an experiment that was not launched yet.

    Args:
        replayed: Entries of an earlier experiment that is to run again; they come first.
    """

    replayed: Sequence[Entry] = ()
    added: dict[str, Added] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Ids of all tasks, in the order they were added."""
        return [e.name for e in self.replayed] + list(self.added)

    def edges(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return each task with those it depends on."""
        old = [(e.name, tuple(d.name for d in e.dependencies)) for e in self.replayed]
        return old + [(a.name, a.dependencies) for a in self.added.values()]

    def groups(self) -> set[str]:
        """Return the ids of those that were added as a list."""
        return {e.name for e in self.replayed if e.group} | {a.name for a in self.added.values() if a.group}

    def originals(self) -> Mapping[str, Sequence[Any]]:
        """Return the tasks as Python objects, by id. Those of an earlier experiment are built anew."""
        return {e.name: [rebuilt(t) for t in e.tasks] for e in self.replayed} | {
            a.name: a.tasks for a in self.added.values()
        }

    def add(
        self,
        task: Any,
        executor: Executor | Sequence[Executor] | None,
        default: Executor,
        name: str,
        plugins: tuple[Plugin, ...],
        tail_logs: bool,
        dependencies: Sequence[str],
    ) -> str:
        """Add a task or a group; see ``Experiment.add`` for the parameters.

        Raises:
            ConfigError: when the name is taken, or something given is not what it should be.
        """
        group = isinstance(task, (list, tuple))
        tasks = tuple(task) if group else (task,)
        if not tasks:
            raise ConfigError("a task group is empty", hint="add([task, ...]) needs at least one task")
        wheres = _executors(executor, default, len(tasks))
        for one in tasks:
            _check_task(one)
        name = self._name(name, tasks[0])
        if isinstance(dependencies, str):
            raise ConfigError(f"dependencies={dependencies!r} is text", hint="give a list of task ids")
        for plugin in plugins:
            if not hasattr(plugin, "setup"):
                raise ConfigError(f"{plugin!r} is no plugin", hint="plugins derive from run.Plugin")
        self.added[name] = Added(
            name=name,
            tasks=tuple(map(_copied, tasks)),
            executors=tuple(e.clone() for e in wheres),
            group=group,
            dependencies=tuple(dependencies),
            plugins=plugins,
            tail_logs=tail_logs,
        )
        return name

    def _name(self, wanted: str, task: Any) -> str:
        replayed = {e.name for e in self.replayed}
        taken = self.added.keys() | replayed if replayed else self.added
        if not wanted:
            return unique_name(safe_name(name_of(task)), taken)
        if wanted in taken:
            raise ConfigError(f"two tasks are named {wanted!r}", hint="give each task a name of its own")
        if safe_name(wanted) != wanted:
            raise ConfigError(f"{wanted!r} cannot be the name of a task", hint=f"for example {safe_name(wanted)!r} can")
        return wanted

    def entries(self, experiment_id: str, sequential: bool = False, tail_logs: bool = False) -> list[Entry]:
        """Return what the engine plans: plugins applied, functions encoded.

        Args:
            experiment_id: Id of the experiment; plugins and executors are told.
            sequential: Each task waits for the one before it.
            tail_logs: Stream the logs of all tasks.

        Raises:
            SerializationError: for an argument that cannot travel, naming it.
        """
        entries = [*self.replayed, *(_entry(a, experiment_id, tail_logs) for a in self.added.values())]
        if sequential:
            entries = [e if i == 0 else _after(e, entries[i - 1]) for i, e in enumerate(entries)]
        return entries


def _executors(given: Executor | Sequence[Executor] | None, default: Executor, count: int) -> list[Executor]:
    several = given if isinstance(given, (list, tuple)) else [given] if given else []
    found = list(several) or [default]
    for executor in found:
        if not isinstance(executor, Executor):
            raise ConfigError(f"{executor!r} is no executor", hint="give run.LocalExecutor() or another executor")
    if len(found) == 1:
        found *= count
    if len(found) != count:
        raise ConfigError(
            f"{len(found)} executors for a group of {count} tasks", hint="give one for all, or one for each task"
        )
    return found


def _check_task(task: Any) -> None:
    if isinstance(task, Script) or config.is_buildable(task) or callable(task):
        return
    raise ConfigError(
        f"{task!r} ({type(task).__name__}) is no task", hint="give a run.Script, a run.Partial, or a function"
    )


def _copied(task: Any) -> Any:
    """Return a copy, so that what a user changes afterwards does not change what was added."""
    if callable(task) and not config.is_buildable(task):
        return task
    try:
        return copy.deepcopy(task)
    except Exception:  # noqa: BLE001 (a lock, say: encoding it at the launch says which argument, and what to do)
        return task


def name_of(task: Any) -> str:
    """Return the default name of a task: the script's, or the function's."""
    if isinstance(task, Script):
        return task.get_name()
    target = getattr(task, "__fn_or_cls__", None) or getattr(task, "func", None) or task
    return str(getattr(target, "__name__", "task")).strip("<>")


def _entry(added: Added, experiment_id: str, tail_logs: bool) -> Entry:
    tasks: list[Task] = []
    wheres: list[Executor] = []
    for i, (task, where) in enumerate(zip(added.tasks, added.executors, strict=True)):
        executor = where.clone()
        executor.experiment_id = experiment_id
        if added.plugins:
            task = task if callable(task) and not config.is_buildable(task) else copy.deepcopy(task)
            for plugin in added.plugins:
                plugin.assign(experiment_id)
                plugin.setup(task, executor)
        root = f"{added.name}[{i}]" if added.group else added.name
        tasks.append(task if isinstance(task, Script) else config.encode(task, root=root))
        wheres.append(executor)
    dependencies = tuple(engine.plan.Dependency(d, dependency_kind(wheres[0])) for d in added.dependencies)
    return engine.plan.Entry(
        added.name, tuple(tasks), tuple(wheres), added.group, dependencies, tail_logs or added.tail_logs
    )


def dependency_kind(executor: Executor) -> str:
    """Return what an executor's tasks ask of those they depend on; a scheduler's own kinds ask nothing of them."""
    return executor.dependency_type if executor.dependency_type in DEPENDENCY_TYPES else "afterok"


def _after(entry: Entry, before: Entry) -> Entry:
    if any(d.name == before.name for d in entry.dependencies):
        return entry
    extra = engine.plan.Dependency(before.name, dependency_kind(entry.executors[0]))
    return engine.plan.with_dependencies(entry, [*entry.dependencies, extra])


def rebuilt(task: Script | PyCall) -> Any:
    """Return a recorded task as a Python object; for a ``Partial`` this imports the user's code."""
    if isinstance(task, Script):
        return task
    return config.decode(task.document, pickled=task.pickled, main=task.main_script, package=task.main_package)
