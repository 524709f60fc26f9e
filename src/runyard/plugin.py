"""Plugins: change task and executor together, right before a launch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runyard.executors.base import Executor


@dataclass
class Plugin:
    """Base of plugins. Override :meth:`setup`.

    Args:
        experiment_id: Set by :meth:`assign` before :meth:`setup` is called.

    Example:
        >>> @dataclass
        ... class Verbose(Plugin):
        ...     def setup(self, task, executor):
        ...         executor.env_vars["LOG_LEVEL"] = "DEBUG"
    """

    experiment_id: str = field(init=False, default="", repr=False)

    def assign(self, experiment_id: str) -> None:
        """Tell the plugin which experiment it works for."""
        self.experiment_id = experiment_id

    def setup(self, task: Any, executor: Executor) -> None:
        """Change ``task`` (a ``Script`` or ``Partial``) and ``executor`` in place."""
        raise TypeError(f"{type(self).__name__} must override Plugin.setup({task!r}, {executor!r})")
