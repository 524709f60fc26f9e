"""Tasks on a Slurm cluster."""

from runyard.executors.slurm import SlurmExecutor, SlurmJobDetails

__all__ = ["SlurmExecutor", "SlurmJobDetails"]
