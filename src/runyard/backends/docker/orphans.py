"""What experiments that are gone have left at an engine: known by labels, and by the digest of the folder."""

from __future__ import annotations

import os
from collections.abc import Callable

from runyard.backends.docker import address, plan
from runyard.backends.docker.engine import Engine
from runyard.backends.docker.files import Files
from runyard.backends.docker.remote import Remote
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
    remote = address.is_remote(engine.address)
    host = address.this_machine() if remote else ""
    jobs, out = engine.jobs(), []
    for job in jobs:
        folder = folder_of(job.experiment, job.task)
        if job.label.endswith(f"-{plan.digest(host + folder)}"):
            out.append(Leftover(job.experiment, job.label, job.what, job.live))
    live = {job.experiment for job in jobs if job.live}
    for volume, experiment in Files(engine).volumes(plan.EXPERIMENT_LABEL).items() if remote else ():
        folder = os.path.dirname(folder_of(experiment, "task"))
        if volume.endswith(f"-{plan.digest(host + folder)}"):
            out.append(Leftover(experiment, volume, [f"volume {volume}"], experiment in live))
    return out


def remove(name: str) -> None:
    """Remove the containers and networks of one job, or the volume of an experiment."""
    if engine := _chosen():
        engine.remove_labelled(f"{plan.JOB_LABEL}={name}")
        if address.is_remote(engine.address):
            Remote(engine).discard(name)


def _chosen() -> Engine | None:
    """Return the engine that a launch would use, or ``None``: without a socket nobody need load docker-py to know."""
    chosen = address.chosen()
    there = address.is_remote(chosen) or os.path.exists(address.parse(chosen).path)
    return Engine(chosen) if there else None
