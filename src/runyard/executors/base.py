"""The base of executors: *where* a task runs, as a plain dataclass without any I/O."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from types import NoneType
from typing import Any, ClassVar, Self

from runyard import launchers
from runyard.errors import ConfigError
from runyard.executors.macros import ExecutorMacros
from runyard.launchers.base import Launcher
from runyard.packagers.base import Packager
from runyard.secrets import MASK, Secret, split_env
from runyard.shell import check_env_name, from_json_word, to_json_word
from runyard.states import DEPENDENCY_TYPES

__all__ = ["Executor", "ExecutorMacros"]


@dataclass(kw_only=True)
class Executor:
    """Where a task runs, with which resources, code and launcher.

    Subclasses add the fields of one kind of target; ``kind`` names it in records and
    profiles, and ``backend`` says which class talks to it (``module:Class``, imported only
    when a task is planned).

    Args:
        packager: How the code on disk is captured. The plain ``Packager()`` runs in the folder
            of the launch itself.
        launcher: ``None``, ``"torchrun"``, ``"ft"``, or a launcher object.
        env_vars: Environment of the task. A value may be ``run.Secret(name)``, or
            ``run.Raw(text)`` to be expanded by the job's shell.
        retries: How often a failed task is started again.
        job_dir: Folder for this executor's files; default: chosen by the backend.
        experiment_id: Set at launch.
        python: Interpreter for Python tasks; default: chosen by the backend (locally, the
            interpreter in use).
        setup_lines: Lines of bash run before the task, in the same shell.
        dependency_type: What this executor's tasks ask of those they depend on: ``afterok``,
            ``afterany``, ``afternotok`` or ``after``.
        isolate: Give each task a code tree of its own.
    """

    kind: ClassVar[str] = ""
    backend: ClassVar[str] = ""

    packager: Packager = field(default_factory=Packager)
    launcher: str | Launcher | None = None
    env_vars: dict[str, Any] = field(default_factory=dict)
    retries: int = 0
    job_dir: str = ""
    experiment_id: str | None = None
    python: str = ""
    setup_lines: str = ""
    dependency_type: str = "afterok"
    isolate: bool = False

    def clone(self) -> Self:
        """Return a deep copy."""
        new = copy.copy(self)
        for f in fields(self):
            value = getattr(self, f.name)
            # A launch of thousands of tasks makes thousands of copies: what cannot change need not be copied.
            if not isinstance(value, (str, int, float, timedelta, NoneType)):
                setattr(new, f.name, copy.deepcopy(value))
        return new

    def nnodes(self) -> int:
        """Return the number of nodes of a task."""
        return 1

    def nproc_per_node(self) -> int:
        """Return the number of processes that a launcher starts on each node."""
        return 1

    def get_launcher(self) -> Launcher:
        """Return the launcher as an object."""
        return launchers.resolve(self.launcher)

    def time_limit(self) -> float | None:
        """Return the wall-time limit in seconds that the engine must enforce itself, if any."""
        return None

    def parallel_limit(self) -> int | None:
        """Return how many tasks of one experiment may be in flight here at once, if limited."""
        return None

    def info(self) -> str:
        """Return a short description for status tables."""
        return self.kind

    def validate(self) -> None:
        """Check the fields against each other.

        Raises:
            ConfigError: naming the field.
        """
        where = type(self).__name__
        for name, value in self.env_vars.items():
            check_env_name(name, f"{where}.env_vars")
            if not isinstance(value, (str, Secret)):
                raise ConfigError(
                    f"{where}.env_vars[{name!r}] is {value!r}, not text",
                    hint=f'write it as a string: "{value}"',
                )
        if not isinstance(self.retries, int) or self.retries < 0:
            raise ConfigError(f"{where}.retries={self.retries!r}", hint="give a number of retries, 0 or more")
        if self.dependency_type not in DEPENDENCY_TYPES:
            raise ConfigError(
                f"{where}.dependency_type={self.dependency_type!r}",
                hint=f"one of {', '.join(DEPENDENCY_TYPES)}",
            )
        launchers.resolve(self.launcher)

    def to_dict(self) -> dict[str, Any]:
        """Return kind and fields as plain JSON, with secret values blotted out."""
        out: dict[str, Any] = {"kind": self.kind}
        for f in fields(self):
            value = getattr(self, f.name)
            if value == _default(f):
                continue
            if f.name == "packager":
                value = value.to_dict()
            elif f.name == "launcher" and value is not None:
                value = launchers.resolve(value).to_dict()
            elif f.name == "env_vars":
                value = _env_to_dict(value)
            elif isinstance(value, timedelta):
                value = value.total_seconds()
            out[f.name] = value
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Undo :meth:`to_dict`; secret values come back as :class:`~runyard.secrets.Secret`."""
        values = {k: v for k, v in data.items() if k != "kind"}
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ConfigError(
                f"a recorded {cls.__name__} has unknown fields: {', '.join(unknown)}",
                hint="was it written by a newer Runyard? upgrade this one",
            )
        if "packager" in values:
            values["packager"] = Packager.from_dict(values["packager"])
        if "launcher" in values:
            values["launcher"] = launchers.from_dict(values["launcher"])
        if "env_vars" in values:
            values["env_vars"] = {
                k: Secret(v["secret"]) if isinstance(v, dict) and "secret" in v else from_json_word(v)
                for k, v in values["env_vars"].items()
            }
        return cls(**values)


def _default(f: Any) -> Any:
    return f.default_factory() if callable(f.default_factory) else f.default


def _env_to_dict(env: Mapping[str, Any]) -> dict[str, Any]:
    shown, hidden = split_env(env)
    out: dict[str, Any] = {k: to_json_word(v) for k, v in shown.items()}
    for name, value in hidden.items():
        out[name] = {"secret": value.name} if isinstance(value, Secret) else MASK
    return out
