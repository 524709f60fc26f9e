"""Run tasks as processes of this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from runyard.errors import ConfigError
from runyard.executors.base import Executor
from runyard.executors.duration import seconds


@dataclass(kw_only=True)
class LocalExecutor(Executor):
    """Run each task as a process of this machine, in the folder the launch was made from.

    Args:
        ntasks_per_node: Processes that a launcher (``torchrun``, ``ft``) starts. Without a launcher a task
            is one process.
        nodes: Must be 1.
        max_parallel: How many tasks of an experiment run at once; default: the number of CPUs, and at
            least 4. The others wait.
        gpus_per_task: GPUs that each of the ``ntasks_per_node`` processes gets. The machine's free devices are
            shared out among all of this user's tasks through ``CUDA_VISIBLE_DEVICES``; a task waits
            until enough are free.
        time: Wall-time limit of one attempt: ``"HH:MM:SS"``, ``"90s"``, seconds or a ``timedelta``.

    Example:
        >>> LocalExecutor(ntasks_per_node=2, launcher="torchrun").nproc_per_node()
        2
    """

    kind: ClassVar[str] = "local"
    backend: ClassVar[str] = "runyard.backends.local:LocalBackend"

    ntasks_per_node: int = 1
    nodes: int = 1
    max_parallel: int | None = None
    gpus_per_task: int = 0
    time: str | float | timedelta | None = None

    def nproc_per_node(self) -> int:
        """Return ``ntasks_per_node``."""
        return self.ntasks_per_node

    def time_limit(self) -> float | None:
        """Return the wall-time limit in seconds."""
        return None if self.time is None else seconds(self.time, "LocalExecutor.time")

    def parallel_limit(self) -> int:
        """Return ``max_parallel``, or its default for this machine."""
        return self.max_parallel or max(4, os.cpu_count() or 1)

    def validate(self) -> None:
        """Check the fields; see :meth:`Executor.validate`."""
        super().validate()
        if self.nodes != 1:
            raise ConfigError(
                f"LocalExecutor.nodes={self.nodes!r}: this machine is one node",
                hint="use nodes=1, or an executor for several machines",
            )
        for name, least in (("ntasks_per_node", 1), ("max_parallel", 1), ("gpus_per_task", 0)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < least):
                raise ConfigError(f"LocalExecutor.{name}={value!r}", hint=f"give a whole number, {least} or more")
        self.time_limit()
