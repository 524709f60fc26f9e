"""The conformance suite on ``SlurmExecutor``, against a real cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runyard.executors.slurm import SlurmExecutor
from runyard.packagers import Packager
from runyard.testing import conformance
from slurm_cluster import Cluster


@pytest.fixture
def harness(tmp_path: Path, cluster: Cluster) -> conformance.Harness:
    def make(**fields: Any) -> SlurmExecutor:
        return SlurmExecutor(**{"packager": Packager(), "poll_seconds": 0.2, "time": 5, **fields})

    @contextmanager
    def outage() -> Iterator[None]:
        cluster.stop_controller()
        try:
            yield
        finally:
            cluster.start_controller()

    return conformance.Harness(make, tmp_path, time_limit="00:01:00", seconds=120, outage=outage)


test_slurm = conformance.suite()
