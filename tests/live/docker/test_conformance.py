"""The conformance suite on ``DockerExecutor``, against a real engine."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from docker_engine import IMAGE, Engine
from runyard.executors.docker import DockerExecutor
from runyard.packagers import Packager
from runyard.testing import conformance


@pytest.fixture
def outage(engine: Engine) -> Callable[[], Any]:
    @contextmanager
    def down() -> Iterator[None]:
        engine.stop()
        try:
            yield
        finally:
            engine.start()

    return down


@pytest.fixture
def harness(request: pytest.FixtureRequest, tmp_path: Path, engine: Engine, outage: Any) -> conformance.Harness:
    # Single tasks don't need a network here, which takes the engine as long as all the rest; other tests have one.
    network = None if "group" in request.node.callspec.params["scenario"] else "none"
    make = functools.partial(
        DockerExecutor,
        container_image=IMAGE,
        packager=Packager(),
        network=network,
        volumes=[f"{tmp_path}/shared:{tmp_path}/shared"],
    )
    return conformance.Harness(make, tmp_path, seconds=60, outage=outage)


test_docker = conformance.suite()
