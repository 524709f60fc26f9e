"""Where Runyard keeps its records on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def runyard_home() -> Path:
    """Return the folder of all records: ``RUNYARD_HOME``, else ``NEMORUN_HOME``, else ``~/.runyard``.

    The folder need not exist; :func:`ensure_private_dir` makes it.

    Example:
        >>> runyard_home().is_absolute()
        True
    """
    named = os.environ.get("RUNYARD_HOME") or os.environ.get("NEMORUN_HOME")
    return Path(named).expanduser().absolute() if named else Path.home() / ".runyard"


def ensure_private_dir(path: Path) -> Path:
    """Make ``path`` (and its parents) with mode 0700 where missing, and return it."""
    if not path.is_dir():
        if not path.parent.is_dir():
            ensure_private_dir(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
    return path
