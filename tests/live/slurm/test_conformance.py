"""The conformance suite on ``SlurmExecutor``, against a real cluster: from its login node, and over ssh.

Slurm's shortest time limit is a minute, and Slurm itself keeps it; so its scenario runs from the login node, and over
ssh with ``RUNYARD_SLURM=all``.
"""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import processes
from runyard.executors.slurm import SlurmExecutor
from runyard.packagers import Packager
from runyard.testing import conformance
from runyard.tunnels import SSHTunnel
from slurm_cluster import Cluster


def executor(**fields: Any) -> SlurmExecutor:
    return SlurmExecutor(**{"poll_seconds": 0.2, "time": 5, **fields})


@pytest.fixture
def outage(cluster: Cluster) -> Callable[[], Any]:
    @contextmanager
    def down() -> Iterator[None]:
        cluster.stop_controller()
        try:
            yield
        finally:
            cluster.start_controller()

    return down


@pytest.fixture
def here(tmp_path: Path, cluster: Cluster, outage: Any, monkeypatch: pytest.MonkeyPatch) -> conformance.Harness:
    monkeypatch.setenv("SLURM_CONF", cluster.impatient["SLURM_CONF"])
    make = functools.partial(executor, packager=Packager())
    return conformance.Harness(make, tmp_path, time_limit="00:01:00", seconds=120, outage=outage)


@pytest.fixture
def afar(cluster: Cluster, over_ssh: SSHTunnel, outage: Any) -> Iterator[conformance.Harness]:
    over_ssh.pre_command = f"export SLURM_CONF={cluster.impatient['SLURM_CONF']}"

    def by_hand(command: Sequence[str], folder: str) -> None:
        over_ssh.run(f"cd {shlex.quote(folder)} && {shlex.join(command)}")

    folder = Path(tempfile.mkdtemp(prefix="ryh-"))
    for name in ("shared", "work"):
        (folder / name).mkdir()
    subprocess.run(["git", "init", "-q", str(folder / "work")], check=True)
    (folder / "work" / "README").write_text("what the jobs run in is shipped from here\n")
    folder.chmod(0o755)
    (folder / "shared").chmod(0o777)  # two accounts write there
    yield conformance.Harness(
        functools.partial(executor, tunnel=over_ssh),
        folder,
        time_limit="00:01:00",
        seconds=120,
        outage=outage,
        by_hand=by_hand,
        roots=(Path(over_ssh.job_dir),),
    )
    # The record has ended, its controller may still be tidying up.
    processes.until(lambda: not processes.controllers(folder / "home"), "the end of all controllers")
    processes.remove(folder)


@pytest.fixture
def harness(request: pytest.FixtureRequest) -> conformance.Harness:
    name = "afar" if request.node.originalname == "test_over_ssh" else "here"
    found: conformance.Harness = request.getfixturevalue(name)
    return found


test_slurm = conformance.suite()
ALL = os.environ.get("RUNYARD_SLURM") == "all"


@pytest.mark.parametrize("scenario", [name for name in conformance.SCENARIOS if ALL or name != "time_limit_ends_it"])
def test_over_ssh(scenario: str, harness: conformance.Harness) -> None:
    conformance.check(scenario, harness)
