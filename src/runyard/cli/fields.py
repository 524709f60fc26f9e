"""Fields of an executor, given as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from runyard.errors import ConfigError
from runyard.executors.base import Executor


def set_fields(executor: Executor, settings: Sequence[str]) -> None:
    """Set fields written as ``NAME=VALUE``.

    Raises:
        ConfigError: for an unknown field, with the nearest name, or a value of the wrong type.
    """
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting!r} has no value", hint=f"write --set {name}=VALUE")
        set_field(executor, name, text, f"--set {setting}")


def set_field(executor: Executor, name: str, text: str, where: str) -> None:
    """Set one field, its value converted to the field's type.

    Args:
        executor: What to change.
        name: The field.
        text: Its value as it was typed.
        where: What was typed, for messages.
    """
    kind = type(executor).__name__
    types = {f.name: str(getattr(f.type, "__name__", f.type)) for f in fields(executor)}
    if name not in types:
        near = get_close_matches(name, types, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"{where}: {kind} has no field {name!r}", hint=f"{meant}it has: {', '.join(sorted(types))}")
    wanted = [t.strip() for t in types[name].split("|")]
    setattr(executor, name, _converted(text, wanted, f"{where}: {kind}.{name}"))


def first_field(executor: Executor, names: Sequence[str], where: str) -> str:
    """Return the first of several names that is a field of the executor.

    Raises:
        ConfigError: when it has none of them.
    """
    known = {f.name for f in fields(executor)}
    for name in names:
        if name in known:
            return name
    raise ConfigError(f"{where}: {type(executor).__name__} has no such setting", hint="see its fields in the docs")


def _converted(text: str, wanted: Sequence[str], where: str) -> Any:
    if "None" in wanted and text.lower() in ("none", "null"):
        return None
    for kind in wanted:
        read = _READERS.get(kind.partition("[")[0])
        if read is None:
            continue
        try:
            return read(text)
        except ValueError as e:
            raise ConfigError(f"{where}: {text!r} is no {kind}", hint=f"give a value of type {kind}") from e
    raise ConfigError(f"{where} ({' | '.join(wanted)}) cannot be given as text", hint="set it from Python instead")


def _bool(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


def _json(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = json.loads(text)
        if not isinstance(value, kind):
            raise ValueError(text)
        return value

    return read


_READERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "bool": _bool,
    "int": int,
    "float": float,
    "list": _json(list),
    "dict": _json(dict),
}
