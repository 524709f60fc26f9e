"""The conformance suite on ``LocalExecutor``."""

from pathlib import Path

import pytest

from runyard.executors.local import LocalExecutor
from runyard.testing import conformance


@pytest.fixture
def harness(tmp_path: Path) -> conformance.Harness:
    return conformance.Harness(LocalExecutor, tmp_path)


test_local = conformance.suite(
    unsupported={"outage_changes_nothing": "the scheduler is this machine itself, which can always be asked"}
)
