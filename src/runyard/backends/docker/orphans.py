"""Containers of experiments that are gone themselves: known by labels, and by the digest of the folder."""

from __future__ import annotations

import os
from collections.abc import Callable

from runyard.backends.docker import address, plan
from runyard.backends.docker.engine import Engine
from runyard.backends.leaves import Leftover


def find(folder_of: Callable[[str, str], str]) -> list[Leftover]:
    """Return what the chosen engine holds of the experiments of one home.

    Args:
        folder_of: Gives the folder that a task of an experiment has there.

    Raises:
        Unavailable: when the engine does not answer.
    """
    engine = _chosen()
    if engine is None:
        return []
    out = []
    for job in engine.jobs():
        folder = folder_of(job.experiment, job.task)
        if job.label.endswith(f"-{plan.digest(folder)}"):
            out.append(Leftover(job.experiment, job.label, job.what, job.live))
    return out


def remove(name: str) -> None:
    """Remove the containers and networks of one job."""
    if engine := _chosen():
        engine.remove_labelled(f"{plan.JOB_LABEL}={name}")


def _chosen() -> Engine | None:
    """Return the engine of this machine, or ``None``: without a socket nobody need load docker-py to know."""
    chosen = address.chosen()
    path = chosen.removeprefix("unix://")
    return Engine(chosen) if path != chosen and os.path.exists(path) else None
