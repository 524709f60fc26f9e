"""From tasks and executors to jobs and requests. Reads the code on disk; changes nothing.

A dry-run stops here: what it shows is, byte for byte, what a launch with the same id submits.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runyard.backends.base import (
    CODE,
    JOB,
    PYTHON,
    RUNNER,
    RUNNER_FOLDER,
    Backend,
    Component,
    Dependency,
    Handle,
    Job,
    JobId,
    Request,
)
from runyard.backends.fetching import PULLED
from runyard.backends.registry import backend_class
from runyard.backends.wrapper import ATTEMPTS
from runyard.engine import graph
from runyard.engine.code import Code, CodeTaker, find_script, within
from runyard.engine.taskrecord import Task, task_record
from runyard.errors import ConfigError
from runyard.executors.base import Executor
from runyard.launchers.base import Program
from runyard.secrets import ARGUMENT, SHORTEST_SEARCHED, Secret, redact, resolve, split_env
from runyard.shell import Raw, check_env_name
from runyard.store import yaml
from runyard.task import Script, place_files, safe_name

if TYPE_CHECKING:
    from runyard.config.calltree import PyCall
    from runyard.snapshots import Snapshot

__all__ = [
    "Dependency",
    "Entry",
    "Handle",
    "Job",
    "Launch",
    "PlannedJob",
    "plan",
    "python_path",
    "runner_files",
    "with_dependencies",
]

RUNNER_FILES = ("pytask.py", "redact.py")
JOB_FILE = "job.json"
_STAYS = frozenset({ATTEMPTS, "log", PULLED})
"""In a job's folder: what comes from its target, and is not sent there."""
"""In a job's folder: all that the database knows of its plan, so that it can be rebuilt."""


@dataclass(frozen=True)
class Entry:
    """One ``Experiment.add``: a task, or a group of them.

    Args:
        name: Its id in the experiment.
        tasks: What to run.
        executors: Where, one per task.
        group: Added as a list.
        dependencies: Ids of tasks it depends on.
        tail_logs: Stream its log while it runs.
        pins: Hashes of the code to use instead of what is on disk, one per task; empty for none.
        more_files: Gives further files for the tasks that are scripts, once their code is known.
    """

    name: str
    tasks: tuple[Task, ...]
    executors: tuple[Executor, ...]
    group: bool = False
    dependencies: tuple[Dependency, ...] = ()
    tail_logs: bool = False
    pins: tuple[str, ...] = ()
    more_files: Callable[[Snapshot | None], Mapping[str, str]] | None = None


@dataclass(frozen=True)
class Launch:
    """The circumstances of a launch.

    Args:
        id: The experiment's id.
        title: Its title.
        home: Root of the records, absolute.
        folder: The experiment's folder below it.
        cwd: The folder the launch was made from.
        python: The interpreter of the launch.
        path_prefix: Folder to put first on PATH in jobs of this machine: that of a virtual environment in use.
        python_path: Folders from which the launching process imports, beyond an interpreter's own.
        argv: Arguments of the launching script.
    """

    id: str
    title: str
    home: str
    folder: str
    cwd: str
    python: str = sys.executable
    path_prefix: str = ""
    python_path: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlannedJob:
    """A job with everything its submission needs.

    Args:
        job: The resolved job.
        request: What will be submitted.
        files: Files of the job's folder, by relative path.
        secrets: Values for the secrets file, by variable.
        tail_logs: Stream its log while it runs.
        executor: Where it runs, as the user gave it; of a group, the first member's.
    """

    job: Job
    request: Request
    files: Mapping[str, bytes]
    secrets: Mapping[str, str]
    tail_logs: bool
    executor: Executor


def plan(entries: Sequence[Entry], launch: Launch, taker: CodeTaker | None = None) -> list[PlannedJob]:
    """Return the jobs of an experiment, in the order they were added.

    Args:
        entries: The tasks.
        launch: The circumstances.
        taker: Takes the snapshots of code; asked afterwards, it tells which.

    Raises:
        PackagingError: when the code on disk cannot be captured.
        ConfigError: for anything that could not run: a missing script, a cycle, an unknown
            dependency, a wrong field; it names the task.
    """
    if not entries:
        raise ConfigError(f"experiment {launch.title!r} has no tasks", hint="exp.add(task, executor=...) adds one")
    needs = {e.name: [d.name for d in e.dependencies if "/" not in d.name] for e in entries}
    graph.check([e.name for e in entries], needs)  # tasks of other experiments are looked at when it is launched
    taker = taker or CodeTaker(launch.cwd)
    return [_plan_entry(entry, launch, taker) for entry in entries]


def _plan_entry(entry: Entry, launch: Launch, taker: CodeTaker) -> PlannedJob:
    kinds = {type(e).kind for e in entry.executors}
    if len(kinds) > 1:
        raise ConfigError(
            f"the group {entry.name!r} mixes executors: {', '.join(sorted(kinds))}",
            hint="members of a group run side by side on one backend; add them as separate tasks",
        )
    lead = entry.executors[0]
    backend_type = backend_class(lead)
    if entry.group and not backend_type.features.groups:
        raise ConfigError(
            f"{type(lead).__name__} cannot run task groups", hint=f"add the tasks of {entry.name!r} singly"
        )
    components: list[Component] = []
    files: dict[str, bytes] = {}
    secrets: dict[str, str] = {}
    own: dict[str, str] = {}
    records: list[dict[str, Any]] = []
    pins = entry.pins or ("",) * len(entry.tasks)
    for (member, task, executor), pin in zip(_members(entry), pins, strict=True):
        executor.validate()
        folder = f"{member}/" if entry.group else ""
        code = taker.take(executor, entry.name if not entry.group else f"{entry.name}-{member}", pin)
        if entry.more_files and isinstance(task, Script):
            task = replace(task, files=task.files | dict(entry.more_files(code.snapshot)))
        component, new_files, values = _component(entry.name, member, folder, task, executor, code, launch)
        if clash := sorted(n for n in values if secrets.get(n, values[n]) != values[n]):
            raise ConfigError(
                f"members of the group {entry.name!r} give {', '.join(clash)} different secret values",
                hint="a group shares its secrets; use one value or another name",
            )
        components.append(component)
        files |= new_files
        if isinstance(task, Script):
            own |= {f"{folder}{name}": text for name, text in task.files.items()}
        secrets |= values
        record = {"member": member, **task_record(task)}
        files[f"{folder}task.yaml"] = yaml.dump(record).encode("utf-8", "surrogateescape")
        files[f"{folder}executor.yaml"] = yaml.dump(component.executor).encode("utf-8", "surrogateescape")
        records.append(record)
    job = Job(
        id=JobId(launch.id, entry.name),
        kind=lead.kind,
        components=tuple(components),
        home=launch.home,
        folder=f"{launch.folder}/{entry.name}",
        python=launch.python,
        path_prefix=launch.path_prefix,
        group=entry.group,
        dependencies=entry.dependencies,
        retries=lead.retries,
        time_limit=lead.time_limit(),
        parallel_limit=lead.parallel_limit(),
    )
    backend: Backend = backend_type.connect(lead, launch.home)
    request = backend.plan(job)
    if taken := own.keys() & {*files, *request.files, JOB_FILE} or own.keys() & _STAYS:
        raise ConfigError(
            f"task {entry.name!r}: Script.files has {', '.join(sorted(taken))}, which is a file of Runyard's own",
            hint="give it another name",
        )
    request = replace(request, files={**request.files, **own})
    files |= {name: text.encode("utf-8", "surrogateescape") for name, text in request.files.items()}
    files["attempts/"] = b""
    files[JOB_FILE] = json.dumps({"job": job.to_json(), "request": request.to_json(), "tasks": records}).encode()
    return PlannedJob(job, request, files, secrets, entry.tail_logs, lead)


def _members(entry: Entry) -> Iterable[tuple[str, Task, Executor]]:
    taken: set[str] = set()
    for task, executor in zip(entry.tasks, entry.executors, strict=True):
        base = safe_name(task.get_name() if isinstance(task, Script) else task.name)
        name, n = base, 0
        while name in taken:
            n += 1
            name = f"{base}_{n}"
        taken.add(name)
        yield (name if entry.group else entry.name), task, executor


def _component(
    entry: str, member: str, folder: str, task: Task, executor: Executor, code: Code, launch: Launch
) -> tuple[Component, dict[str, bytes], dict[str, str]]:
    where = f"task {entry!r}" if entry == member else f"task {entry!r}, member {member!r}"
    env: dict[str, Any] = {"PYTHONUNBUFFERED": "1"} | executor.env_vars
    if isinstance(task, Script):
        for name, value in task.env.items():
            check_env_name(name, f"{where}: Script.env")
            env[name] = value
    shown, hidden = split_env(env)
    values = resolve(hidden)
    texts = task.files.values() if isinstance(task, Script) else ()
    arguments: dict[str, str] = {}
    if isinstance(task, Script):
        program, files = _script_program(task, where, folder, code, launch.cwd)
    else:
        arguments = resolve(task.secrets)
        argv = [redact(a, [*values.values(), *arguments.values()]) for a in launch.argv]
        program, files = _call_program(task, folder, code, launch, argv)
    written = [*program.args, *shown.values(), *(f.decode("utf-8", "replace") for f in files.values()), *texts]
    _refuse_leaks(where, values, written)
    if not isinstance(task, Script):  # what only looks like a secret may well stand in the code, where it was typed
        _refuse_leaks(where, {n: v for n, v in arguments.items() if type(task.secrets[n]) is Secret}, written)
    values |= {ARGUMENT + name: value for name, value in arguments.items()}
    component = Component(
        name=member,
        program=program,
        executor=executor.to_dict(),
        env={k: v if isinstance(v, str) else str(v) for k, v in shown.items()},
        secrets=tuple(sorted(values)),
        setup=executor.setup_lines,
        workdir=f"{CODE}/{code.tree}" if code.tree else launch.cwd,
        code=code.to_json(),
    )
    return component, files, values


def _script_program(task: Script, where: str, folder: str, code: Code, cwd: str) -> tuple[Program, dict[str, bytes]]:
    words = [PYTHON if w in ("python", "python3") else w for w in task.interpreter()]
    args = [_argument(a, task, f"{JOB}/{folder}".rstrip("/")) for a in task.args]
    if task.inline:
        name = f"{folder}script{_suffix(task)}"
        target, files = f"{JOB}/{name}", {name: task.inline.encode("utf-8", "surrogateescape")}
    else:
        target, files = task.path, {}
        if not task.m:
            target = _found_script(task, where, code, cwd)
    if not task.is_python:
        return Program("command", (), (*words, target, *args)), files
    kind = "module" if task.m else "file"
    return Program(kind, tuple(words), (target, *args)), files


def _argument(value: Any, task: Script, folder: str) -> str:
    if isinstance(value, Raw):
        return value
    return place_files(value if isinstance(value, str) else str(value), task.files, folder)


def _suffix(task: Script) -> str:
    if task.is_python:
        return ".py"
    return ".sh" if task.interpreter()[-1:] in (["bash"], ["sh"], ["zsh"]) else ""


def _found_script(task: Script, where: str, code: Code, cwd: str) -> str:
    """Return the path of a script in its job; refuse one that will not be there."""
    if isinstance(task.path, Raw) or "${" in task.path or code.link:
        return task.path
    if not task.entrypoint and "/" not in task.path:
        return task.path  # a program looked up on the target's PATH
    if code.snapshot is not None:
        found = find_script(task.path, code.snapshot, cwd, where)
        return found if task.entrypoint or "/" in found else f"./{found}"
    path = Path(cwd, task.path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ConfigError(
            f"{where}: the script {path} {what}",
            hint="give a path relative to the folder you launch from, or an absolute one",
        )
    return task.path


def _call_program(
    task: PyCall, folder: str, code: Code, launch: Launch, argv: Sequence[str]
) -> tuple[Program, dict[str, bytes]]:
    files: dict[str, bytes] = {}
    main, path = task.main_script, list(launch.python_path)
    if main:
        path.insert(0, str(Path(main).parent))
    if code.snapshot is not None:
        snapshot = code.snapshot
        # What the launch imports from the code on disk, the job imports from the snapshot of it.
        path = [within(p, snapshot) or p for p in path]
        if main:
            inside = within(main, snapshot)
            if inside in {e.path for e in snapshot}:
                main = inside
            else:
                files[f"{folder}main/{Path(main).name}"] = Path(main).read_bytes()
                main = f"main/{Path(main).name}"  # beside call.json
    path = list(dict.fromkeys(path))
    files |= {
        f"{folder}{name}": data for name, data in task.files(main=main, path=path, argv=argv if main else ()).items()
    }
    words = [f"{RUNNER}/pytask.py", f"{JOB}/{folder}call.json"]
    if code.tree:
        words.append(f"{CODE}/{code.tree}")  # where relative paths of the call begin
    return Program("file", (PYTHON, "-u"), tuple(words)), files


def _refuse_leaks(where: str, values: Mapping[str, str], texts: Iterable[str]) -> None:
    """Refuse a secret's value in an argument: arguments show in process lists, scripts and records."""
    long_enough = {n: v for n, v in values.items() if len(v) >= SHORTEST_SEARCHED}
    if not long_enough:
        return
    for text in texts:
        for name, value in long_enough.items():
            if value in text:
                raise ConfigError(
                    f"{where}: the value of the secret {name} stands in an argument, script or variable",
                    hint=f"let the task read ${name} from its environment, or give a function run.Secret({name!r})",
                )


def runner_files() -> dict[str, bytes]:
    """Return the files that travel with every job, by path in the experiment's folder."""
    here = Path(__file__).parent.parent / "runner"
    return {f"{RUNNER_FOLDER}/{name}": (here / name).read_bytes() for name in RUNNER_FILES}


def python_path() -> tuple[str, ...]:
    """Return the folders this process imports from that a fresh interpreter would not know."""
    own = tuple(os.path.realpath(p) + os.sep for p in {sys.prefix, sys.base_prefix, sys.exec_prefix})
    out = []
    for entry in sys.path:
        if not entry or not os.path.isdir(entry):
            continue
        real = os.path.realpath(entry)
        inside_prefix = (real + os.sep).startswith(own)
        if not inside_prefix or not _is_library(real):
            out.append(os.path.abspath(entry))
    return tuple(dict.fromkeys(out))


def _is_library(path: str) -> bool:
    parts = Path(path).parts
    return (
        "site-packages" in parts
        or "dist-packages" in parts
        or any(p.startswith("python3") for p in parts)
        or (path.endswith(".zip"))
    )


def with_dependencies(entry: Entry, dependencies: Iterable[Dependency]) -> Entry:
    """Return an entry with other dependencies."""
    return replace(entry, dependencies=tuple(dependencies))
