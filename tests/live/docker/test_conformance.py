"""The conformance suite on ``DockerExecutor``, against a real engine."""

from __future__ import annotations

from pathlib import Path

import pytest

import docker_conformance
from docker_engine import Engine
from runyard.testing import conformance


@pytest.fixture
def harness(request: pytest.FixtureRequest, tmp_path: Path, engine: Engine) -> conformance.Harness:
    return docker_conformance.harness(request.node.callspec.params["scenario"], tmp_path, engine)


test_docker = conformance.suite()
