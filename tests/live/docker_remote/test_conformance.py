"""The conformance suite on ``DockerExecutor``, against an engine that does not see this machine's files.

What tells most of it over TCP, which differs from this machine's engine (where all of it runs) in how files travel;
over ssh what is different there: logins, the loss of a connection, who is asked when. ``RUNYARD_DOCKER_REMOTE=all``
runs all of it over both, which takes minutes.
"""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import docker_conformance
import docker_remote
import processes
from docker_engine import IMAGE, Engine
from runyard.executors.docker import DockerExecutor
from runyard.testing import conformance


@pytest.fixture
def harness(request: pytest.FixtureRequest, tmp_path: Path, engine: Engine) -> Iterator[conformance.Harness]:
    request.getfixturevalue("over_ssh" if request.node.originalname == "test_over_ssh" else "over_tcp")
    network = docker_conformance.network(request.node.callspec.params["scenario"])
    volume = docker_remote.shared_folder(engine, tmp_path)
    subprocess.run(["git", "init", "-q", str(tmp_path / "work")], check=True)
    (tmp_path / "work" / "README").write_text("what the jobs run in is shipped from here\n")

    def by_hand(command: Sequence[str], folder: str) -> None:
        # As somebody on the engine's machine.
        subprocess.run(command, cwd=folder, check=False, timeout=60, env=os.environ | engine.env)

    make = functools.partial(DockerExecutor, container_image=IMAGE, network=network, volumes=[volume])
    yield conformance.Harness(make, tmp_path, seconds=60, outage=engine.outage, by_hand=by_hand)
    # The record has ended, its controller may still be tidying up.
    processes.until(lambda: not processes.controllers(tmp_path / "home"), "the end of all controllers")


ALL = os.environ.get("RUNYARD_DOCKER_REMOTE") == "all"
TCP = """
succeeds fails_with_its_exit_code log_may_be_any_bytes large_log_is_read_in_pieces runs_in_the_working_directory
function_of_a_module function_of_the_launching_script retries_until_it_succeeds each_attempt_has_its_output_folder
time_limit_ends_it cancel_a_running_task cancel_ends_what_ignores_it group_succeeds group_fails_when_any_member_fails
group_is_retried_as_one submitted_by_hand rerun secrets_never_show submitted_twice_runs_once
ambiguous_submission_is_adopted late_submission_is_adopted request_travels_as_json outage_changes_nothing
detach_and_reattach attached_launcher_killed controller_killed_before_it_submits controller_killed_after_it_submitted
controller_killed_before_it_notes_the_end reading_back_needs_no_code
"""
SSH = """
succeeds function_of_a_module group_fails_when_any_member_fails secrets_never_show outage_changes_nothing
controller_killed_after_it_submitted
"""


@pytest.mark.parametrize("scenario", conformance.SCENARIOS if ALL else TCP.split())
def test_over_tcp(scenario: str, harness: conformance.Harness) -> None:
    conformance.check(scenario, harness)


@pytest.mark.parametrize("scenario", conformance.SCENARIOS if ALL else SSH.split())
def test_over_ssh(scenario: str, harness: conformance.Harness) -> None:
    conformance.check(scenario, harness)
