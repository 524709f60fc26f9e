"""Snapshots: what a code tree held at one moment, kept by content, sent once, materialised by hard links."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "Snapshot": "snapshot",
    "launch_line": "snapshot",
    "Entry": "manifest",
    "SnapshotDiff": "manifest",
    "CodeInfo": "listing",
    "LocalStore": "local",
    "push": "push",
    "gc": "gc",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
