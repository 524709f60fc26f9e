"""The base of all executors."""

from runyard.executors.base import Executor, ExecutorMacros

__all__ = ["Executor", "ExecutorMacros"]
