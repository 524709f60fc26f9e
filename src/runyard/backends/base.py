"""The seam between the engine and a scheduler: batch first, planning apart from I/O.

The engine hands a backend *lists* and gets lists back, so that one query serves all jobs of a
cluster. :meth:`Backend.plan` is pure; everything else may do I/O and raises only
:class:`~runyard.errors.BackendError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

from runyard.errors import CancelError, SubmitError
from runyard.executors.base import Executor
from runyard.launchers.base import Program
from runyard.shell import from_json_word, to_json_word
from runyard.states import Observation

RUNNER_FOLDER = ".runner"
CODE_FOLDER = ".code"
"""In an experiment's folder: the code trees of its jobs."""
PYTHON = "${runyard_python}"
"""In a program: the interpreter that the backend chooses."""
RUNNER = "${runyard_runner}"
"""In a program: the folder of the files that travel with every job."""
JOB = "${runyard_job}"
"""In a program: the job's own folder on the target."""
CODE = "${runyard_code}"
"""In a working directory: the folder of the experiment's code trees on the target."""


def expand(word: str, paths: Mapping[str, str]) -> str:
    """Return a word with :data:`PYTHON`, :data:`RUNNER`, :data:`JOB` and :data:`CODE` replaced.

    Only whole words and leading folders (also after ``--option=``) are replaced, so that text of the user's is never
    touched.
    """
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    for name, path in paths.items():
        if value == name or value.startswith(name + "/"):
            return option + equals + path + value[len(name) :]
    return word


class JobId(NamedTuple):
    """Which job: an experiment's id and the task's name in it."""

    experiment: str
    name: str

    @property
    def native(self) -> str:
        """The name the scheduler sees; ``find`` adopts jobs by it."""
        return f"{self.experiment}.{self.name}"


@dataclass(frozen=True)
class Component:
    """One member of a job: a command with its environment.

    Args:
        name: Name of the member, unique in the job.
        program: The command, before the launcher wraps it. Words may hold macros.
        executor: Where and with what resources (as a record; no secret values).
        env: Environment to show and store.
        secrets: Names of variables that come from the secrets file.
        setup: Lines of bash to run first.
        workdir: Folder to run in, absolute on the target, or below :data:`CODE`.
        code: The code tree it needs, as plain JSON: ``tree`` (its name in :data:`CODE`), and either ``hash`` and
            ``store`` (the snapshot) or ``link`` (a folder on the target); ``None`` for none.
    """

    name: str
    program: Program
    executor: Mapping[str, Any]
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    setup: str = ""
    workdir: str = ""
    code: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the component as plain JSON."""
        return {
            "name": self.name,
            "program": self.program.to_json(),
            "executor": dict(self.executor),
            "env": {k: to_json_word(v) for k, v in self.env.items()},
            "secrets": list(self.secrets),
            "setup": self.setup,
            "workdir": self.workdir,
            "code": self.code,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Undo :meth:`to_json`."""
        return cls(
            name=data["name"],
            program=Program.from_json(data["program"]),
            executor=data["executor"],
            env={k: from_json_word(v) for k, v in data["env"].items()},
            secrets=tuple(data["secrets"]),
            setup=data["setup"],
            workdir=data["workdir"],
            code=data["code"],
        )


class Dependency(NamedTuple):
    """A job that must reach a state first. ``kind``: afterok, afterany, afternotok, after."""

    name: str
    kind: str


@dataclass(frozen=True)
class Job:
    """One resolved unit of submission, JSON-able: a task, or a task group with several components.

    Args:
        id: Experiment and name.
        kind: Kind of the executor, which names the backend.
        components: The members; one for a plain task.
        python: Interpreter of the launch, the default for jobs on the launching machine.
        path_prefix: Folder that such jobs put first on PATH, if any.
        group: True for a task group (also one with a single member).
        dependencies: What must happen first.
        retries: How often the job is started again after a failure.
        time_limit: Seconds that the engine itself allows one attempt, if any.
        parallel_limit: How many jobs of the experiment may be in flight on this backend.
        home: Root of the launching side's records, absolute.
        folder: The job's folder below ``home`` (and below the target's root), relative.
    """

    id: JobId
    kind: str
    components: tuple[Component, ...]
    home: str
    folder: str
    python: str = "python3"
    path_prefix: str = ""
    group: bool = False
    dependencies: tuple[Dependency, ...] = ()
    retries: int = 0
    time_limit: float | None = None
    parallel_limit: int | None = None

    @property
    def local_dir(self) -> str:
        """The job's folder on the launching machine."""
        return str(PurePosixPath(self.home) / self.folder)

    @property
    def local_code(self) -> str:
        """The folder of the experiment's code trees on the launching machine."""
        return str(PurePosixPath(self.home) / PurePosixPath(self.folder).parent / CODE_FOLDER)

    @property
    def local_runner(self) -> str:
        """The folder of the files that travel with every job of the experiment, on the launching machine."""
        return str(PurePosixPath(self.home) / PurePosixPath(self.folder).parent / RUNNER_FOLDER)

    def to_json(self) -> dict[str, Any]:
        """Return the job as plain JSON."""
        return {
            "id": list(self.id),
            "kind": self.kind,
            "components": [c.to_json() for c in self.components],
            "home": self.home,
            "folder": self.folder,
            "python": self.python,
            "path_prefix": self.path_prefix,
            "group": self.group,
            "dependencies": [list(d) for d in self.dependencies],
            "retries": self.retries,
            "time_limit": self.time_limit,
            "parallel_limit": self.parallel_limit,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Undo :meth:`to_json`."""
        return cls(
            id=JobId(*data["id"]),
            kind=data["kind"],
            components=tuple(map(Component.from_json, data["components"])),
            home=data["home"],
            folder=data["folder"],
            python=data["python"],
            path_prefix=data["path_prefix"],
            group=data["group"],
            dependencies=tuple(Dependency(*d) for d in data["dependencies"]),
            retries=data["retries"],
            time_limit=data["time_limit"],
            parallel_limit=data["parallel_limit"],
        )


class Handle(NamedTuple):
    """A submitted job, as a backend knows it again.

    Args:
        kind: Kind of the backend.
        cluster: Which machine or cluster of that kind, so that equal numbers don't collide.
        id: The backend's own text.
        folder: The job's folder on the target.
    """

    kind: str
    cluster: str
    id: str
    folder: str


@dataclass(frozen=True)
class Request:
    """What will be submitted for a job.

    Args:
        job: Which job.
        command: The submission command, as it is typed.
        files: Files of the job's folder, by relative path: exactly what is submitted.
        folder: The job's folder on the target.
        options: Facts for the backend's ``submit`` (plain JSON).
        attempt: Number of the attempt; set by the engine at submission.
        after: Handles of native dependencies, set by the engine at submission: (handle, kind).
        secrets: Path of the file with secret values on the launching machine, or empty.
    """

    job: JobId
    command: tuple[str, ...]
    files: Mapping[str, str]
    folder: str
    options: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 1
    after: tuple[tuple[Handle, str], ...] = ()
    secrets: str = ""

    def at(self, attempt: int, secrets: str = "", after: tuple[tuple[Handle, str], ...] = ()) -> Self:
        """Return the request for one attempt."""
        return replace(self, attempt=attempt, secrets=secrets, after=after)

    def to_json(self) -> dict[str, Any]:
        """Return the request without the files' text, which lies in the job's folder."""
        return {
            "job": list(self.job),
            "command": list(self.command),
            "files": sorted(self.files),
            "folder": self.folder,
            "options": dict(self.options),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], files: Mapping[str, str]) -> Self:
        """Undo :meth:`to_json`, given the text of the files."""
        return cls(
            job=JobId(*data["job"]),
            command=tuple(data["command"]),
            files=files,
            folder=data["folder"],
            options=data["options"],
        )


@dataclass(frozen=True)
class Features:
    """What a backend can do by itself; the engine does the rest.

    Args:
        native_dependencies: The scheduler releases dependents itself.
        native_retries: The scheduler restarts failed jobs itself.
        groups: Task groups run as one job.
        detached_queue: Submitted jobs need nobody of ours to go on.
        launchers: Names of launchers that work here.
        poll_interval: Seconds between queries while nothing is known to have changed.
        cancel_on_terminate: A terminated attached launcher takes its jobs with it.
    """

    native_dependencies: bool = False
    native_retries: bool = False
    groups: bool = False
    detached_queue: bool = False
    launchers: frozenset[str] = frozenset({"default"})
    poll_interval: float = 1.0
    cancel_on_terminate: bool = False


Cursor = Mapping[str, int]
"""How far each log stream was read: stream name → bytes. A negative number counts from the stream's end."""
REST = "*"
"""In a cursor: stands for all streams that it does not name."""


class LogChunk(NamedTuple):
    """A piece of one log stream.

    Args:
        stream: Name of the stream: the log file's path below the job's folder
            (``attempts/1/log``, ``attempts/2/<member>/log``).
        offset: Where the piece begins, in bytes.
        data: The bytes.
    """

    stream: str
    offset: int
    data: bytes


class Backend(Protocol):
    """Talks to one kind of scheduler. One instance serves all jobs of one cluster.

    A third party implements this class, an executor dataclass that names it, and an entry
    point; ``runyard.testing.conformance`` holds the scenarios that it must pass.
    """

    kind: ClassVar[str]
    features: ClassVar[Features]

    @classmethod
    def connect(cls, executor: Executor, home: str) -> Self:
        """Return an instance for the cluster that ``executor`` names. Must not do I/O yet."""
        ...

    @classmethod
    def cluster(cls, executor: Executor) -> str:
        """Return the name of the cluster that ``executor`` names. Pure."""
        ...

    def plan(self, job: Job) -> Request:
        """Return what will be submitted. Pure: the same job gives the same bytes.

        Raises:
            ConfigError: when this backend cannot run such a job.
        """
        ...

    def prepare(self, requests: Sequence[Request]) -> list[str]:
        """Look before anything is recorded: log in where that may need the user, refuse what can never run.

        Called once for each launch, in the launching process. Changes nothing.

        Returns:
            Lines to show.

        Raises:
            RunyardError: when a request can never run, or the cluster cannot be reached.
        """
        ...

    def submit(self, requests: Sequence[Request]) -> list[Handle | SubmitError]:
        """Submit all requests; for each, a handle or the error that certainly kept it out."""
        ...

    def find(self, jobs: Sequence[tuple[Request, int]]) -> dict[JobId, Handle]:
        """Return what was really submitted of these (request, attempt) pairs, after an ambiguous submission."""
        ...

    def observe(self, handles: Sequence[Handle]) -> dict[Handle, Observation]:
        """Return what one query shows; a handle left out could not be asked about.

        Raises:
            Unavailable: when nothing could be asked at all.
        """
        ...

    def cancel(self, handles: Sequence[Handle]) -> dict[Handle, CancelError | None]:
        """Ask for the end of jobs, gently first. Calling it again is harmless."""
        ...

    def logs(self, handle: Handle, cursor: Cursor) -> Iterator[LogChunk]:
        """Yield what is there beyond ``cursor`` right now, and end."""
        ...

    def wakeups(self) -> Sequence[int]:
        """Return file descriptors that become readable when ``observe`` is worth calling."""
        ...


@runtime_checkable
class Discards(Protocol):
    """What a backend offers besides, whose jobs may leave more than files behind."""

    def discard(self, requests: Sequence[Request]) -> None:
        """Remove all that ended jobs have left at the scheduler; called when their experiment is removed."""
        ...
