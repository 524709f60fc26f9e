"""The help page of an entrypoint: arguments with types and defaults, and factories with where they are defined.

It reads signatures, docstrings and the registry: neither Fiddle nor pydantic is imported for it.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import typing
from typing import Any

import click

from runyard.cli.entrypoints import registry
from runyard.cli.entrypoints.contexts import context_parameter
from runyard.cli.entrypoints.registry import Entrypoint, Factory
from runyard.cli.entrypoints.show import masked, title
from runyard.config.overrides import types

_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Raises|Example|Examples|Note|Notes|Yields):\s*$")
_RULED = re.compile(r"^(\w+)\n-{3,}[ ]*\n", re.MULTILINE)
"""A section's title in NumPy's style."""
_NUMPYS = re.compile(r"^\*{0,2}(\w+)(?: ?:.*)?$")
_FIELD = re.compile(r"^:(?:(?:param|arg|parameter) (?:[^:]* )?\*{0,2}(\w+)|\w[^:]*):\s*(.*)$")
"""Of Sphinx: ``:param int epochs: text``, or ``:returns: text``."""
_ARGUMENT = re.compile(r"^(\s+)\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
Rows = list[tuple[str, str]]


def write(entry: Entrypoint, formatter: click.HelpFormatter) -> None:
    """Write the sections of an entrypoint's own help: what it does, its arguments and all factories for them."""
    summary, documented = docs_of(entry.fn)
    text = entry.help or summary
    if text:
        formatter.write_paragraph()
        for i, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
            if i:
                formatter.write_paragraph()
            formatter.write_text(paragraph)
    _section(formatter, "Arguments", _arguments(entry, documented))
    _section(formatter, "Factories of the whole command (--factory NAME)", _rows(_recipes(entry)))
    for heading, found in _by_argument(entry):
        _section(formatter, f"Factories for {heading}", _rows(found))
    if entry.enable_executor:
        own = _rows(_executors())
        kinds = [row for row in _kinds() if row[0] not in dict(own)]  # a factory of that name is taken instead
        _section(formatter, "Executors (executor=NAME)", [*own, *kinds])


def docs_of(fn: Any) -> tuple[str, dict[str, str]]:
    """Return a function's description without its sections, and what it says about each argument.

    Example:
        >>> def train(lr):
        ...     '''Train it.
        ...
        ...     Args:
        ...         lr: How fast
        ...             it learns.
        ...     '''
        >>> docs_of(train)
        ('Train it.', {'lr': 'How fast it learns.'})
    """
    text: list[str] = []
    found: dict[str, str] = {}
    section, last = "", ""
    doc = _RULED.sub(r"\1:\n", inspect.getdoc(fn) or "")
    for line in doc.splitlines():
        if title := _SECTION.match(line):
            section, last = title[1], ""
        elif item := _FIELD.match(line):
            section, last = "Args" if item[1] else "Returns", item[1] or ""
            found |= {last: item[2].strip()} if last else {}
        elif not section:
            text.append(line)
        elif section in ("Args", "Arguments", "Parameters"):
            if (argument := _ARGUMENT.match(line)) and len(argument[1]) <= 4:
                last = argument[2]
                found[last] = argument[3].strip()
            elif argument := _NUMPYS.match(line):
                last = argument[1]
                found[last] = ""
            elif last and line.strip():
                found[last] = f"{found[last]} {line.strip()}".strip()
    return "\n".join(text).strip(), found


def _section(formatter: click.HelpFormatter, title: str, rows: Rows) -> None:
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows, col_max=46)


def _arguments(entry: Entrypoint, documented: dict[str, str]) -> Rows:
    rows: Rows = []
    for name, param in types.signature(entry.fn).parameters.items():
        if name != context_parameter(entry):
            rows.append((f"{name}: {types.describe(param.annotation)}", _about(param, documented.get(name, ""))))
            rows += _fields(name, param)
    others = types.signature(entry.fn).extra
    if others is not None:
        rows.append((f"NAME: {types.describe(others)}", "Any other argument."))
    return rows


def _about(param: types.Parameter, said: str) -> str:
    if param.required:
        default = "[default: from a factory]" if _has_default_factory(param) else "[required]"
    else:
        value = param.default  # a Config's fields follow on lines of their own
        default = f"[default: {title(value) if hasattr(value, '__fn_or_cls__') else masked(param.name, value)}]"
    return f"{said}  {default}" if said else default


def _has_default_factory(param: types.Parameter) -> bool:
    return any(f.default and not f.arg and registry.fits(f, param.annotation) for f in registry.factories())


def _fields(name: str, param: types.Parameter) -> Rows:
    """Return the fields of an argument that is a dataclass, with the values that it begins with."""
    for option in types.members(param.annotation):
        _, target = types.configured(option)
        if isinstance(target, type) and dataclasses.is_dataclass(target):
            rows = []
            for field, inner in types.signature(target).parameters.items():
                value = _value(param.default, field, inner.default)
                shown = "" if value is types.MISSING else f"[default: {masked(field, value)}]"
                rows.append((f"  {name}.{field}: {types.describe(inner.annotation)}", shown or "[required in it]"))
            return rows
    return []


def _value(owner: Any, field: str, default: Any) -> Any:
    """Return what a field of an argument's default is: of a Config, or of an object."""
    if owner is types.MISSING or owner is None:
        return default
    if hasattr(owner, "__fn_or_cls__"):
        return owner.__arguments__.get(field, default)
    return getattr(owner, field, default)


def _recipes(entry: Entrypoint) -> list[Factory]:
    return [f for f in registry.factories() if not f.arg and registry.same(_made(f), entry.fn)]


def _made(factory: Factory) -> Any:
    return types.configured(factory.makes())[1]


def _by_argument(entry: Entrypoint) -> list[tuple[str, list[Factory]]]:
    found: dict[tuple[str, ...], tuple[list[types.Parameter], list[Factory]]] = {}
    for param in types.signature(entry.fn).parameters.values():
        fitting = [f for f in registry.factories() if _serves(f, entry, param)]
        if fitting:
            found.setdefault(tuple(f.where for f in fitting), ([], fitting))[0].append(param)
    return [(", ".join(param.name for param in params), fitting) for params, fitting in found.values()]


def _serves(factory: Factory, entry: Entrypoint, param: types.Parameter) -> bool:
    options = [param.annotation, *types.members(param.annotation)]
    options += [arg for option in options for arg in typing.get_args(types.bare(option)) if isinstance(arg, type)]
    known = [o for o in options if o not in (types.MISSING, Any, object, type(None), str)]
    if factory.arg:
        return registry.fits(factory, param.annotation, entry.fn, param.name)
    return any(registry.fits(factory, option, entry.fn, param.name) for option in known)


def _executors() -> list[Factory]:
    import sys

    base = getattr(sys.modules.get("runyard.executors.base"), "Executor", None)
    made = [(f, _made(f)) for f in registry.factories()] if base else []
    return [f for f, target in made if isinstance(target, type) and base and issubclass(target, base)]


def _kinds() -> Rows:
    from runyard import executors

    others = [(kind, f"of the plug-in {entry.value}") for kind, entry in executors.third_party().items()]
    return [*((kind, "of Runyard itself") for kind in executors.builtin_kinds()), *others]


def _rows(found: list[Factory]) -> Rows:
    rows = []
    for factory in found:
        summary = (inspect.getdoc(factory.plain) or "").partition("\n")[0]
        file, _, line = factory.source.rpartition(":")
        place = f"{factory.where}, {_short(file)}:{line}" if file else factory.where
        default = " [the default]" if factory.default else ""
        rows.append((factory.full_name, f"{place}{default}" + (f"  {summary}" if summary else "")))
    return rows


def _short(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
