"""Packagers. Each is loaded when it is used, as from :mod:`runyard.packagers`."""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name.endswith("Packager"):
        return getattr(importlib.import_module("runyard.packagers"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
