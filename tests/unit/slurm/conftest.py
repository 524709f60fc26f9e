"""Jobs planned for Slurm with fixed names and folders, so that their scripts are the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runyard.backends.base import Request
from runyard.engine.plan import Entry, Launch, plan
from runyard.executors.slurm import SlurmExecutor
from runyard.packagers import Packager
from runyard.task import Script

LAUNCH = Launch(
    id="digits_1",
    title="digits",
    home="/home/u/.runyard",
    folder="experiments/digits/digits_1",
    cwd="/home/u/work",
    python="/usr/bin/python3",
)
Planned = Callable[..., Request]


def _planned(*executors: SlurmExecutor, tasks: list[Script] | None = None, group: bool = False) -> Request:
    tasks = tasks or [Script("train", entrypoint="", args=["--lr", "0.1"]) for _ in executors]
    (job,) = plan([Entry("train", tuple(tasks), executors, group=group)], LAUNCH)
    return job.request


@pytest.fixture(scope="session")
def planned() -> Planned:
    """Give the request that a task with this executor, or a group with these, becomes."""
    return _planned


@pytest.fixture(scope="session")
def slurm() -> Callable[..., SlurmExecutor]:
    """Make executors that ship no code."""

    def make(**fields: Any) -> SlurmExecutor:
        return SlurmExecutor(**{"packager": Packager(), **fields})

    return make
