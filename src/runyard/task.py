"""What to run, when it is a command: :class:`Script`; and how tasks are named."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from runyard.errors import ConfigError

_UNSAFE = re.compile(r"[^A-Za-z0-9_.\-]+")
_FILES = "${runyard_files}/"
"""In an argument: the folder of the task's own files (:attr:`Script.files`) in the job."""

PYTHON_ENTRYPOINTS = re.compile(r"(?:.*/)?python(?:3(?:\.\d+)?)?$")
"""Entrypoints that are a Python interpreter, whatever its path or version."""


@dataclass(kw_only=False)
class Script:
    """A command to run: a file, lines of shell (or any interpreter's language), or a Python module.

    Args:
        path: File to run, relative to the job's working directory or absolute; with ``m=True`` the
            name of a Python module.
        inline: The program's text itself, instead of ``path``.
        args: Arguments. Each reaches the program as it is, never interpreted by a shell.
        env: Environment variables of this task; they win over the executor's.
        entrypoint: The program that runs it, split like a shell would: ``bash``, ``python``,
            ``"uv run python"``. ``""`` executes ``path`` itself.
        m: Run ``path`` as a module (``python -m path``). Makes ``python`` the entrypoint unless another is given.
        metadata: Free-form facts for backends, for example ``{"use_with_ray_cluster": True}``.
        files: Texts that travel with the task, by file name. They lie in the task's folder in the job, are recorded,
            and go with reruns; :meth:`file` names one in ``args``. No secret may stand in one.

    Raises:
        ConfigError: when neither or both of ``path`` and ``inline`` are given, or ``m`` comes with ``inline``, or a
            file's name is a path.

    Example:
        >>> Script("train.py", args=["--lr", 0.1], entrypoint="python").to_command()
        ['python', 'train.py', '--lr', '0.1']
        >>> Script(inline="echo hello").get_name()
        'bash'
        >>> task = Script("train.py", files={"lr.yaml": "lr: 1"}, args=["--config", Script.file("lr.yaml")])
    """

    path: str = ""
    inline: str = ""
    args: list[Any] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    entrypoint: str = "bash"
    m: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.path = str(self.path)
        if bool(self.path) == bool(self.inline):
            given = "both path and inline" if self.path else "neither path nor inline"
            raise ConfigError(
                f"Script has {given}", hint="give exactly one: Script('train.sh') or Script(inline='echo hi')"
            )
        if self.m and self.inline:
            raise ConfigError(
                "Script(m=True) runs a module, and cannot be inline", hint="give the module's name as path"
            )
        if self.m and self.entrypoint == "bash":
            self.entrypoint = "python"
        args: object = self.args
        if isinstance(args, str):
            raise ConfigError(
                f"Script.args is one string: {args!r}",
                hint="give a list: args=['--lr', '0.1'] or shlex.split(...)",
            )
        for name, content in self.files.items():
            if safe_name(name) != name:
                raise ConfigError(
                    f"Script.files: {name!r} cannot be a file's name here", hint=f"for example {safe_name(name)!r} can"
                )
            if not isinstance(content, str):
                raise ConfigError(f"Script.files[{name!r}] is no text", hint="give the file's text")

    @staticmethod
    def file(name: str) -> str:
        """Return the argument for one of the task's ``files``: its path, wherever the job runs.

        It may stand alone or after an option's equals sign, ``f"--config={Script.file('lr.yaml')}"``.
        """
        return _FILES + name

    @property
    def is_python(self) -> bool:
        """True when the entrypoint is a Python interpreter, so that launchers can take the file itself."""
        words = self.interpreter()
        return bool(words) and PYTHON_ENTRYPOINTS.match(words[-1]) is not None

    def interpreter(self) -> list[str]:
        """Return the entrypoint split into words."""
        return shlex.split(self.entrypoint)

    def get_name(self) -> str:
        """Return the default name of the task: the file's stem, the module's last part, or the entrypoint."""
        if self.m:
            return self.path.rsplit(".", 1)[-1]
        if self.path:
            return PurePath(self.path).stem
        words = self.interpreter()
        return PurePath(words[-1]).name if words else "script"

    def to_command(
        self, with_entrypoint: bool = True, filename: str | None = None, is_local: bool = False
    ) -> list[str]:
        """Return the command as a list of arguments.

        Args:
            with_entrypoint: Begin with the entrypoint.
            filename: Where an inline program's text lies; without it, ``-c TEXT`` is used.
            is_local: Accepted for compatibility; the command is the same everywhere.
        """
        del is_local
        words = self.interpreter() if with_entrypoint else []
        if self.inline:
            words += [filename] if filename else ["-c", self.inline]
        elif self.m:
            words += ["-m", self.path]
        else:
            words.append(self.path)
        return words + [str(a) for a in self.args]


def place_files(word: str, files: Iterable[str], folder: str) -> str:
    """Return an argument with the path of the task's file that it names, if any.

    Args:
        word: The argument.
        files: Names of the task's files.
        folder: Where they lie.

    Raises:
        ConfigError: when it names a file that the task does not have.

    Example:
        >>> place_files("--config=" + Script.file("a.yaml"), ["a.yaml"], "/job")
        '--config=/job/a.yaml'
    """
    head, found, name = word.partition(_FILES)
    if not found or (head and not head.endswith("=")):
        return word
    if name not in files:
        raise ConfigError(
            f"the argument {word!r} names a file that is not in Script.files",
            hint=f"files={{{name!r}: TEXT}} brings it",
        )
    return f"{head}{folder}/{name}"


def safe_name(text: str, fallback: str = "task") -> str:
    """Return ``text`` with everything but letters, digits, ``_``, ``.`` and ``-`` replaced, fit for a folder.

    Example:
        >>> safe_name("lr=0.1 / wide")
        'lr-0.1-wide'
    """
    name = _UNSAFE.sub("-", text).strip("-.")[:100]
    return name or fallback


def unique_name(wanted: str, taken: Iterable[str]) -> str:
    """Return ``wanted``, or ``wanted_1``, ``wanted_2`` … when it is taken.

    Example:
        >>> unique_name("train", {"train", "train_1"})
        'train_2'
    """
    taken = taken if isinstance(taken, (set, frozenset, dict)) else set(taken)
    if wanted not in taken:
        return wanted
    n = 1
    while f"{wanted}_{n}" in taken:
        n += 1
    return f"{wanted}_{n}"
