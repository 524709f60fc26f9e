"""The executor: where, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from runyard.errors import ConfigError
from runyard.executors.base import Executor
from runyard.executors.duration import seconds


@dataclass(kw_only=True)
class ToySpoolExecutor(Executor):
    """Run tasks through a spool folder.

    Args:
        spool: The scheduler's folder.
        time: Wall-time limit.
    """

    kind: ClassVar[str] = "toyspool"
    backend: ClassVar[str] = "toyspool.backend:SpoolBackend"

    spool: str = ""
    time: str | float | None = None

    def time_limit(self) -> float | None:
        return None if self.time is None else seconds(self.time, "ToySpoolExecutor.time")

    def validate(self) -> None:
        super().validate()
        if not self.spool:
            raise ConfigError("ToySpoolExecutor.spool is empty", hint="give the scheduler's folder")
