"""Tasks as processes of this machine."""

from runyard.executors.local import LocalExecutor

__all__ = ["LocalExecutor"]
