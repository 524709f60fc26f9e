"""Executors and launchers. Each is loaded when it is used, as from :mod:`runyard` itself."""

from __future__ import annotations

import importlib
from typing import Any

_LAUNCHERS = frozenset({"FaultTolerance", "Launcher", "SlurmTemplate", "Torchrun"})


def __getattr__(name: str) -> Any:
    if name in _LAUNCHERS or name == "ExecutorMacros" or name.endswith("Executor"):
        return getattr(importlib.import_module("runyard"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
