"""What wraps a task's command."""

from runyard.launchers import FaultTolerance, Launcher, SlurmTemplate, Torchrun

__all__ = ["FaultTolerance", "Launcher", "SlurmTemplate", "Torchrun"]
