"""Where Runyard keeps its records on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from runyard.errors import ConfigError


def runyard_home() -> Path:
    """Return the folder of all records: ``RUNYARD_HOME``, else ``NEMORUN_HOME``, else ``~/.runyard``.

    The folder need not exist; :func:`ensure_private_dir` makes it.

    Raises:
        ConfigError: when it lies in the home folder of a user whom this machine does not know.

    Example:
        >>> runyard_home().is_absolute()
        True
    """
    named = os.environ.get("RUNYARD_HOME") or os.environ.get("NEMORUN_HOME") or "~/.runyard"
    try:
        return Path(named).expanduser().absolute()
    except RuntimeError as e:  # no such user, or neither HOME nor an entry for this process's user
        raise ConfigError(
            f"{named}: there is no such home folder on this machine", hint="set RUNYARD_HOME to an absolute path"
        ) from e


def ensure_private_dir(path: Path) -> Path:
    """Make ``path`` (and its parents) with mode 0700 where missing, and return it."""
    if not path.is_dir():
        if not path.parent.is_dir():
            ensure_private_dir(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
    return path
