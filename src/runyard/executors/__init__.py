"""Executors: declarative dataclasses, one file each, found by module name or entry point.

Nothing lists them. ``DockerExecutor`` is looked for in the module of this package whose name
begins its lower-case name (``docker``); other distributions offer theirs in the entry-point
group ``runyard.executors``, whose entry names are the kinds::

    [project.entry-points."runyard.executors"]
    mycloud = "mypackage.executor:MyCloudExecutor"
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from runyard.errors import ConfigError
from runyard.executors.base import Executor

ENTRY_POINTS = "runyard.executors"
_HELPERS = frozenset({"base", "macros", "duration"})


@functools.cache
def builtin_kinds() -> tuple[str, ...]:
    """Return the module names of the executors that Runyard itself brings."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _HELPERS))


def find_class(name: str) -> type[Executor] | None:
    """Return the built-in executor class called ``name`` (``"LocalExecutor"``), if there is one."""
    stem = name.removesuffix("Executor").lower()
    for kind in sorted(builtin_kinds(), key=len, reverse=True):
        if stem.startswith(kind.replace("_", "")):
            found = getattr(importlib.import_module(f"{__name__}.{kind}"), name, None)
            return found if isinstance(found, type) and issubclass(found, Executor) else None
    return None


def executor_class(kind: str) -> type[Executor]:
    """Return the executor class of a kind (``"local"``), built in or from an entry point.

    Raises:
        ConfigError: when there is none, with the nearest name.
    """
    if found := _builtin_class(kind):
        return found
    others = third_party()
    if kind in others:
        offered = others[kind].load()
        if isinstance(offered, type) and issubclass(offered, Executor):
            return offered
        raise ConfigError(
            f"the entry point {kind!r} in {ENTRY_POINTS} is {others[kind].value}, which is no Executor",
            hint="report it to the package that offers it",
        )
    names = [*builtin_kinds(), *others]
    near = get_close_matches(kind, names, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"unknown executor {kind!r}", hint=f"{meant}known: {', '.join(sorted(names))}")


@functools.cache
def _builtin_class(kind: str) -> type[Executor] | None:
    for stem in sorted(builtin_kinds(), key=len, reverse=True):
        if kind.startswith(stem):
            module = importlib.import_module(f"{__name__}.{stem}")
            for value in vars(module).values():
                if isinstance(value, type) and issubclass(value, Executor) and value.__dict__.get("kind") == kind:
                    return value
    return None


def third_party() -> dict[str, Any]:
    """Return the entry points of other distributions, by kind."""
    from importlib.metadata import entry_points

    return {e.name: e for e in entry_points(group=ENTRY_POINTS)}


def from_dict(data: Mapping[str, Any]) -> Executor:
    """Return the executor that a record describes."""
    return executor_class(str(data["kind"])).from_dict(data)
