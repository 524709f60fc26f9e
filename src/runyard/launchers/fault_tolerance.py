"""``ft_launcher``: the launcher of NVIDIA's Resiliency Extension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from runyard.launchers.base import Placement, Program
from runyard.launchers.torchrun import Torchrun, target


@dataclass(kw_only=True)
class FaultTolerance(Torchrun):
    """Run a task with ``ft_launcher``, which restarts ranks that hang or die.

    Args:
        cfg_path: Its YAML configuration.
        finished_flag_file: File that the workload writes when it is finished.
        job_results_file: File that the launcher writes its results to.
        workload_check_interval: Seconds between checks.
        initial_rank_heartbeat_timeout: Seconds until a rank's first heartbeat.
        rank_heartbeat_timeout: Seconds between heartbeats.
        rank_termination_signal: Signal that ends hung ranks.
        log_level: Level of its own log.
        max_restarts: Restarts before it gives up.

    Source: "Fault tolerance: usage guide" and "Configuration and timeouts" in the documentation of the
    NVIDIA Resiliency Extension: ``--ft-cfg-path``, and one ``--ft-<field>`` for each field.
    """

    kind: ClassVar[str] = "ft"

    cfg_path: str = ""
    finished_flag_file: str = ""
    job_results_file: str = ""
    workload_check_interval: float | None = None
    initial_rank_heartbeat_timeout: float | None = None
    rank_heartbeat_timeout: float | None = None
    rank_termination_signal: str | None = None
    log_level: str | None = None
    max_restarts: int | None = None

    def launch(self, program: Program, place: Placement) -> tuple[str, ...]:
        """Return ``ft_launcher …`` in front of the program."""
        words = ["ft_launcher", *self.options(place)]
        for name in (
            "workload_check_interval",
            "initial_rank_heartbeat_timeout",
            "rank_heartbeat_timeout",
            "rank_termination_signal",
            "log_level",
        ):
            if (value := getattr(self, name)) is not None:
                words.append(f"--ft-{name.replace('_', '-')}={value}")
        if self.cfg_path:
            words.append(f"--ft-cfg-path={self.cfg_path}")
        if self.max_restarts is not None:
            words.append(f"--max-restarts={self.max_restarts}")
        return (*words, *target(program))

    def environment(self) -> dict[str, str]:
        """Return the variables through which workload and launcher agree on files."""
        named = {
            "FAULT_TOL_CFG_PATH": self.cfg_path,
            "FAULT_TOL_FINISHED_FLAG_FILE": self.finished_flag_file,
            "FAULT_TOL_JOB_RESULTS_FILE": self.job_results_file,
        }
        return {k: v for k, v in named.items() if v}
