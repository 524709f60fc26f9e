"""Where NeMo-Run keeps what it offers: a script that imports ``nemo_run.core.…`` finds it at ``runyard.core.…``.

Nothing is defined here. New code takes every name from :mod:`runyard` itself.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["execution", "packaging", "tunnel"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
