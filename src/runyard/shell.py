"""Words for a POSIX shell: quoting, the raw form, macros and environment names.

Everything that Runyard writes into a script passes through :func:`quote`, so a value with
spaces, quotes, ``$( )`` or newlines reaches the program unchanged. A value that is meant
for the job's own shell is marked with :class:`Raw`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from runyard.errors import ConfigError

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Answer(NamedTuple):
    """What a script on a target did, as text (bytes that are not UTF-8 are replaced)."""

    code: int
    stdout: str
    stderr: str


class Raw(str):
    """Text that the job's shell expands, written as it would stand inside double quotes.

    Use it for what only the job can know. Everything else is quoted and reaches the
    program as it is.

    Example:
        >>> quote(Raw("$SLURM_JOB_ID")), quote("$SLURM_JOB_ID")
        ('"$SLURM_JOB_ID"', "'$SLURM_JOB_ID'")
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Raw({str.__repr__(self)})"


def quote(word: str, macros: Mapping[str, str] | None = None) -> str:
    """Return ``word`` quoted for ``sh``.

    Args:
        word: The text; a :class:`Raw` is put between double quotes and expanded by the shell.
        macros: Placeholders that may occur in ``word``, and the raw shell text for each.

    Raises:
        ConfigError: when the text holds a NUL byte, which no program can be given.

    Example:
        >>> quote("a b; $(rm x)")
        "'a b; $(rm x)'"
        >>> quote("http://{host}:80", {"{host}": "$MASTER"})
        'http://"$MASTER":80'
    """
    if "\0" in word:
        raise ConfigError(f"{word[:60]!r} holds a NUL byte", hint="no program can be given one; remove it")
    if isinstance(word, Raw):
        return f'"{word}"'
    if macros:
        used = [name for name in macros if name in word]
        if used:
            parts = re.split("(" + "|".join(re.escape(n) for n in used) + ")", word)
            return "".join(f'"{macros[p]}"' if p in macros else shlex.quote(p) for p in parts if p)
    return shlex.quote(word)


def check_env_name(name: str, where: str) -> str:
    """Return ``name`` when a shell can export it.

    Raises:
        ConfigError: naming the variable and ``where`` it stands.
    """
    if not _ENV_NAME.match(name):
        raise ConfigError(
            f"{where}: {name!r} cannot be the name of an environment variable",
            hint="use letters, digits and underscores, and no digit first",
        )
    return name


def to_json_word(word: str) -> object:
    """Return a word as plain JSON that keeps the raw mark."""
    return {"raw": str(word)} if isinstance(word, Raw) else word


def from_json_word(value: object) -> str:
    """Undo :func:`to_json_word`."""
    return Raw(value["raw"]) if isinstance(value, dict) else str(value)
