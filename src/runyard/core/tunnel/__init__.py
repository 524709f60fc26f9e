"""How to reach a machine. Each name is loaded when it is used, as from :mod:`runyard.tunnels`."""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name.endswith("Tunnel"):
        return getattr(importlib.import_module("runyard.tunnels"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
