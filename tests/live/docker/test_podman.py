"""What tells most of the conformance suite, against Podman's Docker-compatible socket.

``RUNYARD_PODMAN=all`` runs all of it, which takes minutes.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import docker_conformance
import docker_engine
import podman_engine
import runyard as run
from docker_engine import IMAGE
from podman_engine import Podman
from runyard.executors.docker import DockerExecutor
from runyard.packagers import Packager
from runyard.testing import conformance


@pytest.fixture(scope="module")
def _podman() -> Iterator[Podman]:
    if why := podman_engine.missing():
        pytest.skip(why)
    with docker_engine.running(Podman) as engine:
        engine.add_image()
        yield engine


@pytest.fixture
def podman(_podman: Podman, monkeypatch: pytest.MonkeyPatch) -> Iterator[Podman]:
    """A service with an image, that clients find; it is whole again, and empty, after the test."""
    for name, value in _podman.env.items():
        monkeypatch.setenv(name, value)
    yield _podman
    _podman.reset()


@pytest.fixture
def harness(request: pytest.FixtureRequest, tmp_path: Path, podman: Podman) -> conformance.Harness:
    return docker_conformance.harness(request.node.callspec.params["scenario"], tmp_path, podman)


TELLING = """
succeeds killed_by_a_signal retries_until_it_succeeds time_limit_ends_it cancel_a_running_task
group_succeeds group_fails_when_any_member_fails submitted_twice_runs_once late_submission_is_adopted
submitted_by_hand outage_changes_nothing function_of_a_module secrets_never_show detach_and_reattach
controller_killed_after_it_submitted
"""
ALL = os.environ.get("RUNYARD_PODMAN") == "all"


@pytest.mark.parametrize("scenario", conformance.SCENARIOS if ALL else TELLING.split())
def test_podman(scenario: str, harness: conformance.Harness) -> None:
    conformance.check(scenario, harness)


def test_members_of_a_group_know_each_other_by_name(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "h").mkdir()
    make = functools.partial(DockerExecutor, container_image=IMAGE, packager=Packager())
    h = conformance.Harness(make, tmp_path / "h")
    exp = h.experiment()
    other = run.ExecutorMacros.group_host(1)
    tries = "i=0; while [ $i -lt 600 ]; do i=$((i + 1)); {} && exit; sleep 0.1; done; exit 1"  # the other starts later
    looks = run.Script(inline=tries.format(f'getent hosts {other} && touch "$RUNYARD_JOB_DIR/found"'))
    stays = run.Script(inline=tries.format('[ -e "$RUNYARD_JOB_DIR/found" ]'))
    exp.add([looks, stays], name="pair")
    result = exp.run()["pair"]
    assert result.ok, result.reason


def test_out_of_memory(podman: Podman, tmp_path: Path) -> None:
    memory = {"mem_limit": "64m", "memswap_limit": "64m"}
    make = functools.partial(
        DockerExecutor, container_image=IMAGE, packager=Packager(), network="none", additional_kwargs=memory
    )
    exp = conformance.Harness(make, tmp_path).experiment()
    exp.add(run.Script(inline="x = bytearray(300 << 20)", entrypoint="python"), name="hungry")
    result = exp.run(raise_on_failure=False)["hungry"]
    assert (result.status, result.exit_code) == (run.JobState.FAILED, 137)
    # Podman 4.3 does not always notice why the kernel killed it.
    assert result.reason in ("out of memory (OOM)", "signal SIGKILL")
