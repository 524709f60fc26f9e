"""The records on disk: SQLite for programs, plain files for people.

Modules are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runyard.lazynames import lazy_names

if TYPE_CHECKING:
    from runyard.store import db as db
    from runyard.store import layout as layout
    from runyard.store import lease as lease
    from runyard.store import records as records

__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(("db", "layout", "lease", "records"), ""))
