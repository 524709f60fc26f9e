"""The records on disk: SQLite for programs, plain files for people.

Modules are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runyard.store import db as db
    from runyard.store import layout as layout
    from runyard.store import lease as lease
    from runyard.store import records as records


def __getattr__(name: str) -> Any:
    if name in ("db", "layout", "lease", "records"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
