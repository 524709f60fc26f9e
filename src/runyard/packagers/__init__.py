"""Packagers: each turns a folder into a snapshot of the code that ships. Names load when first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "Packager": "base",
    "make_packager": "base",
    "packager_class": "base",
    "GitArchivePackager": "git",
    "PatternPackager": "pattern",
    "HybridPackager": "hybrid",
    "ProjectPackager": "project",
    "ConfigMapPackager": "configmap",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
