"""What the conformance suite needs of an engine on this machine, Docker's or Podman's."""

from __future__ import annotations

import functools
from pathlib import Path

from docker_engine import IMAGE, Engine
from runyard.executors.docker import DockerExecutor
from runyard.packagers import Packager
from runyard.testing import conformance


def harness(scenario: str, tmp_path: Path, engine: Engine) -> conformance.Harness:
    """Return the harness of a scenario on an engine that sees this machine's files."""
    volume = f"{tmp_path}/shared:{tmp_path}/shared"
    make = functools.partial(
        DockerExecutor, container_image=IMAGE, packager=Packager(), network=network(scenario), volumes=[volume]
    )
    return conformance.Harness(make, tmp_path, seconds=60, outage=engine.outage)


def network(scenario: str) -> str | None:
    """Return the network for a scenario: single tasks need none, which takes the engine as long as all the rest."""
    return None if "group" in scenario else "none"
