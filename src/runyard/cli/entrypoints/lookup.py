"""Where the names on an entrypoint's command line come from: registered factories, executors, files."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from typing import Any

from runyard.cli.entrypoints import registry
from runyard.cli.entrypoints.registry import Entrypoint
from runyard.config.overrides import Place, Sources, files, types
from runyard.errors import ConfigError
from runyard.home import runyard_home


class Lookup(Sources):
    """The names that one entrypoint can use.

    Args:
        entry: The entrypoint; factories of its namespace come first.
    """

    def __init__(self, entry: Entrypoint) -> None:
        self.entry = entry

    def factory(self, name: str, annotation: Any, place: Place) -> Callable[..., Any] | None:
        """Return the factory called ``name``, or what makes the executor or packager of that name."""
        found = self._find(name, annotation, place)
        if found is None and not place.text_too and _is_configurable(annotation) and _is_module(name):
            importlib.import_module(name.rpartition(".")[0])  # a factory that nobody imported so far
            found = self._find(name, annotation, place)
        return found.fn if found else _known_kind(name, annotation)

    def _find(self, name: str, annotation: Any, place: Place) -> registry.Factory | None:
        for wanted in _acceptable(annotation):
            if found := registry.find(name, wanted, place.owner, place.name, self.entry.namespace):
                return found
        return None

    def names(self, annotation: Any, place: Place) -> Sequence[str]:
        """Return the names of the factories that fit, and the kinds of executors."""
        wanted, found = _acceptable(annotation), registry.factories()
        names = [
            f.full_name for f in found if any(registry.fits(f, option, place.owner, place.name) for option in wanted)
        ]
        return names + (executor_kinds() if _is_a(annotation, "runyard.executors.base", "Executor") else [])

    def default(self, annotation: Any, place: Place) -> Callable[..., Any] | None:
        """Return the factory registered as the default of an argument or a type."""
        for option in types.members(annotation):
            for found in registry.factories():
                known = option not in (types.MISSING, Any, object, type(None)) or found.arg
                if found.default and known and registry.fits(found, option, place.owner, place.name):
                    return found.fn
        return None

    def read(self, path: str, section: str) -> Any:
        """Return the content of a file."""
        return files.read(path, section)


def _acceptable(annotation: Any) -> list[Any]:
    """Return the types that will do: for a plugin also a list of them."""
    return [annotation, list[annotation]] if _is_a(annotation, "runyard.plugin", "Plugin") else [annotation]


def executor_kinds() -> list[str]:
    """Return the kinds of executors that this installation has."""
    from runyard import executors

    return [*executors.builtin_kinds(), *executors.third_party()]


def _known_kind(name: str, annotation: Any) -> Callable[..., Any] | None:
    if _is_a(annotation, "runyard.executors.base", "Executor"):
        return _executor(name)
    if _is_a(annotation, "runyard.packagers.base", "Packager"):
        from runyard.packagers.base import make_packager, packager_class

        try:
            packager_class(name)
        except ConfigError:
            return None
        return functools.partial(make_packager, name)
    return None


def _executor(name: str) -> Callable[..., Any] | None:
    """Return what makes the executor called ``name``: of the user's file, of that kind, or of that class."""
    from runyard import executors
    from runyard.user_executors import import_executor

    file = runyard_home() / "executors.py"
    if name.isidentifier() and file.is_file() and name in file.read_text(encoding="utf-8", errors="replace"):
        with contextlib.suppress(ConfigError):  # it only speaks of the name
            found = import_executor(name, call=False)
            return found if callable(found) else lambda: found
    if name in executor_kinds():
        return executors.executor_class(name)
    return executors.find_class(name.rpartition(".")[2]) if name.endswith("Executor") else None


def _is_a(annotation: Any, module: str, name: str) -> bool:
    """Tell whether an annotation is a class of ours or a subclass of it, importing nothing new."""
    base = getattr(sys.modules.get(module), name, None)
    return isinstance(annotation, type) and isinstance(base, type) and issubclass(annotation, base)


def _is_module(name: str) -> bool:
    """Tell whether a dotted name begins with a module that can be imported and was not yet."""
    module = name.rpartition(".")[0]
    if not module or module in sys.modules or not all(part.isidentifier() for part in name.split(".")):
        return False
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _is_configurable(annotation: Any) -> bool:
    """Tell whether a factory makes sense for a type: text such as ``os.path`` must import nothing."""
    from runyard.config.overrides.plain import is_class

    kind, target = types.configured(annotation)
    return bool(kind) or (target is not types.MISSING and is_class(target))
