"""Tasks in containers."""

from runyard.executors.docker import DockerExecutor

__all__ = ["DockerExecutor"]
