"""Launchers: rewrite a task's command so that several processes run it.

One file a launcher. :func:`resolve` turns what a user wrote (``None``, a name, an object)
into a :class:`~runyard.launchers.base.Launcher`.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from runyard.errors import ConfigError
from runyard.launchers.base import Launcher, Placement, Program
from runyard.launchers.fault_tolerance import FaultTolerance
from runyard.launchers.slurm_template import SlurmTemplate
from runyard.launchers.torchrun import Torchrun

__all__ = ["FaultTolerance", "Launcher", "Placement", "Program", "SlurmTemplate", "Torchrun", "from_dict", "resolve"]

LAUNCHERS: dict[str, type[Launcher]] = {c.kind: c for c in (Launcher, Torchrun, FaultTolerance, SlurmTemplate)}


def resolve(launcher: str | Launcher | None) -> Launcher:
    """Return the launcher that ``None``, a name (``"torchrun"``, ``"ft"``) or an object stands for.

    Raises:
        ConfigError: for an unknown name, with the nearest one.
    """
    if launcher is None:
        return Launcher()
    if isinstance(launcher, Launcher):
        return launcher
    if isinstance(launcher, str) and launcher in LAUNCHERS:
        return LAUNCHERS[launcher]()
    near = get_close_matches(str(launcher), LAUNCHERS, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"unknown launcher {launcher!r}", hint=f"{meant}known: {', '.join(LAUNCHERS)}")


def from_dict(data: Mapping[str, Any]) -> Launcher:
    """Undo :meth:`Launcher.to_dict`."""
    fields = dict(data)
    kind = fields.pop("kind")
    if kind not in LAUNCHERS:
        raise ConfigError(f"unknown launcher {kind!r} in a record", hint="was it written by a newer Runyard?")
    return LAUNCHERS[kind](**fields)
