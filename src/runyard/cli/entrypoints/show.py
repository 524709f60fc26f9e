"""A resolved task as a table, for the question before a launch, and complete, for an export."""

from __future__ import annotations

import copy
import dataclasses
import enum
from pathlib import Path
from typing import Any

from runyard.cli.entrypoints.context import RunContext
from runyard.cli.entrypoints.contexts import context_parameter
from runyard.cli.entrypoints.registry import Entrypoint
from runyard.config.encoder import is_buildable
from runyard.config.overrides import types
from runyard.secrets import MASK, looks_secret
from runyard.terminal import table

Row = tuple[str, str]
_AS_TYPED = frozenset({"Decimal", "UUID", "date", "datetime", "time"})
"""Types whose values are shown as they would be typed; named, so that their modules need not be imported."""


def arguments_table(entry: Entrypoint, ctx: RunContext, task: Any, colour: bool = False, fit: int = 0) -> str:
    """Return all that a launch was told, as a table: arguments with their defaults, executor, plugins.

    Args:
        entry: The command.
        ctx: Its options, with executor and plugins.
        task: Its task.
        colour: Colour it.
        fit: Columns that the terminal has; 0 for no end.
    """
    rows: list[Row] = []
    for name, param in types.signature(entry.fn).parameters.items():
        if name != context_parameter(entry):
            rows += _rows(name, task.__arguments__.get(name, param.default), 0)
    rows += [
        row for name, value in task.__arguments__.items() if name not in _names(entry) for row in _rows(name, value, 0)
    ]
    if entry.enable_executor:
        rows.append(("executor", executor_text(ctx)))
    rows += [("plugin", repr(plugin)) for plugin in ctx.plugins]
    return table(("argument", "value"), rows, colour, fit=fit)


def executor_text(ctx: RunContext) -> str:
    """Return where it runs, with what differs from the defaults of that executor."""
    if ctx.direct:
        return "none: in this process"
    if ctx.executor is None:
        return "local (default)"
    facts = ctx.executor.to_dict()
    fields = ", ".join(f"{n}={_part(getattr(ctx.executor, n, v), v)}" for n, v in facts.items() if n != "kind")
    return f"{facts['kind']} ({fields})" if fields else str(facts["kind"])


def _part(part: Any, recorded: Any) -> str:
    """Return a field of an executor; of a packager, a launcher or a tunnel its kind, and what differs from defaults."""
    if isinstance(part, str) or not dataclasses.is_dataclass(part):
        return repr(part if isinstance(part, str) and isinstance(recorded, dict) else recorded)
    defaults = {name: param.default for name, param in types.signature(type(part)).parameters.items()}
    changed = {name: getattr(part, name) for name, default in defaults.items() if getattr(part, name) != default}
    inner = ", ".join(f"{name}={masked(name, value)}" for name, value in changed.items())
    return f"{recorded['kind']}({inner})" if inner else str(recorded["kind"])


def _names(entry: Entrypoint) -> set[str]:
    return set(types.signature(entry.fn).parameters)


def _rows(name: str, value: Any, depth: int) -> list[Row]:
    """Return the rows of one argument: a Config has one for itself, and one for each of its arguments."""
    label = "  " * depth + name
    if is_buildable(value):
        rows = [(label, title(value))]
        shown = {k: p.default for k, p in types.signature(value.__fn_or_cls__).parameters.items()}
        for key, item in (shown | value.__arguments__).items():
            if item is not types.MISSING:
                rows += _rows(f".{key}", item, depth + 1)
        return rows
    if isinstance(value, (list, tuple)) and any(map(is_buildable, value)):
        rows = [(label, f"{len(value)} items")]
        for i, item in enumerate(value):
            rows += _rows(f"[{i}]", item, depth + 1)
        return rows
    return [(label, masked(name, value))]


def masked(name: str, value: Any) -> str:
    """Return an argument's value as a person reads it; a text is blotted out where the name looks like a secret's.

    Example:
        >>> masked("model.api_token", "abc"), masked("api_token", None), masked("max_tokens", "3")
        ('***', 'None', "'3'")
    """
    return MASK if is_secret(name, value) else text_of(value)


def is_secret(name: str, value: Any) -> bool:
    """Tell whether an argument's value is nobody's to see."""
    return isinstance(value, str) and bool(value) and looks_secret(name.rpartition(".")[2])


def title(config: Any) -> str:
    """Return what a Config configures, and whether it is a Partial."""
    name = getattr(config.__fn_or_cls__, "__name__", str(config.__fn_or_cls__))
    return f"{name} (partial)" if "Partial" in type(config).__name__ else name


def text_of(value: Any) -> str:
    """Return a value as a person reads it.

    Example:
        >>> text_of(len), text_of("a"), text_of(Path("x"))
        ('len', "'a'", 'x')
    """
    if value is types.MISSING:
        return ""
    if is_buildable(value):
        inner = ", ".join(f"{key}={text_of(item)}" for key, item in value.__arguments__.items())
        return f"{title(value)}({inner})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.repr)
        return f"{type(value).__name__}({', '.join(f'{name}={masked(name, item)}' for name, item in shown)})"
    if type(value) is dict:
        return f"{{{', '.join(f'{text_of(key)}: {masked(str(key), item)}' for key, item in value.items())}}}"
    if type(value) in (list, tuple) and any(is_buildable(item) or dataclasses.is_dataclass(item) for item in value):
        inner = ", ".join(map(text_of, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Path) or type(value).__name__ in _AS_TYPED:
        return str(value)
    if callable(value) and isinstance(getattr(value, "__name__", None), str):
        return str(value.__name__)
    return repr(value)


def complete(entry: Entrypoint, task: Any) -> Any:
    """Return a copy of a task with every default written out, so that its export stays what it is.

    A default that looks like a secret is left to the code: nobody asked for it in a file.
    """
    from runyard.config.core import nested

    task = copy.deepcopy(task)
    for node in nested(task):
        for name, param in types.signature(node.__fn_or_cls__).parameters.items():
            skipped = node is task and name == context_parameter(entry)
            if skipped or name in node.__arguments__ or is_secret(name, param.default):
                continue
            if _is_plain(param.default):
                setattr(node, name, _as_config(param.default))
    return task


def secrets_in(task: Any) -> list[str]:
    """Return the names of arguments whose values look like secrets, of a task and all Configs in it."""
    from runyard.config.core import nested

    pairs = (pair for node in nested(task) for pair in node.__arguments__.items())
    return list(dict.fromkeys(name for name, value in pairs if is_secret(name, value)))


def _is_plain(value: Any) -> bool:
    """Tell whether a default can be written to a file."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return all(_is_plain(getattr(value, field.name)) for field in dataclasses.fields(value))
    if value is None or isinstance(value, (bool, int, float, str, bytes, Path, enum.Enum)):
        return True
    from runyard.config.values import constructor

    return constructor(value) is not None  # a date, a Decimal …


def _as_config(value: Any) -> Any:
    from runyard.config.overrides.apply import as_config

    return as_config(copy.deepcopy(value))
