"""Packages whose names load when they are first used (PEP 562), so that importing one of them costs nothing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: The package's own ``__name__``.
        homes: The module of the package in which each name is defined; of a module itself, nothing.

    Example:
        >>> getattr_, dir_ = lazy_names("runyard.packagers", {"Packager": "base", "git": ""})
        >>> getattr_("Packager").__name__
        'Packager'
    """

    def load(name: str) -> Any:
        home = homes.get(name)
        if home is None:  # name and obj let the interpreter say "did you mean"
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules.get(package)
            )
        module = importlib.import_module(f"{package}.{home or name}")
        value = getattr(module, name) if home else module
        vars(sys.modules[package])[name] = value
        return value

    return load, lambda: sorted({*vars(sys.modules[package]), *homes})
