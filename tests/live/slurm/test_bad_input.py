"""Requests that a real cluster cannot run: refused in seconds, by name, with a remedy, before anything is recorded."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import processes
import runyard as run
import slurm_cluster
from runyard.errors import ConfigError, RunyardError
from runyard.executors.slurm import SlurmExecutor
from runyard.packagers import Packager
from runyard.states import JobState
from runyard.store import records
from runyard.store.db import Database
from slurm_cluster import Cluster

SECONDS = 30
"""Well below the minute for which Slurm's own commands, and we, wait for somebody who does not answer."""


@pytest.fixture(scope="session")
def strict_cluster() -> Iterator[Cluster]:
    """One node that looks at accounts, limits and qualities of service."""
    if why := slurm_cluster.missing(accounting=True):
        pytest.skip(why)
    settings = {"AccountingStorageEnforce": "associations,limits,qos", "EnforcePartLimits": "ALL"}
    with slurm_cluster.running(accounting=True, nodes=1, settings=settings) as cluster:
        me = pwd.getpwuid(os.geteuid()).pw_name
        cluster.command("sacctmgr", "-i", "add", "qos", "tight", "set", "MaxWall=00:02:00", "flags=DenyOnLimit")
        cluster.command("sacctmgr", "-i", "modify", "user", me, "set", "qos+=tight")
        yield cluster


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def slurm(**fields: Any) -> SlurmExecutor:
    return SlurmExecutor(**{"packager": Packager(), "poll_seconds": 0.2, "time": 1, **fields})


def experiment() -> run.Experiment:
    return run.Experiment("bad", clean_mode=True, enable_goodbye_message=False, skip_status_at_exit=True)


@pytest.fixture
def refused(home: Path) -> Callable[..., RunyardError]:
    """Launch a task, which must be refused with these words, in seconds, and leave no record and no job."""

    def launch(*needles: str, kind: type[RunyardError] = ConfigError, **fields: Any) -> RunyardError:
        exp = experiment()
        exp.add(run.Script(inline="true"), slurm(**fields), name="train")
        began = time.monotonic()
        with pytest.raises(kind) as caught:
            exp.run()
        assert time.monotonic() - began < SECONDS
        for needle in needles:
            assert needle in str(caught.value), f"{needle!r} is not in: {caught.value}"
        assert caught.value.hint
        assert not list(home.glob("experiments/*/*"))
        with Database(home) as db:
            assert not records.experiments(db)
        return caught.value

    return launch


@pytest.mark.parametrize(
    ("fields", "needles"),
    [
        ({"partition": "nope"}, ["Invalid partition", "SlurmExecutor.partition", "sinfo -s"]),
        ({"nodes": 99}, ["SlurmExecutor.nodes", "sinfo -Nel"]),
        ({"cpus_per_task": 999}, ["cpus_per_task", "sinfo -Nel"]),
        ({"gpus_per_node": 99}, ["gpus_per_node", "sinfo -Nel"]),
        ({"mem": "999G"}, ["mem)", "sinfo -Nel"]),
        ({"mem": "much"}, ["Invalid --mem specification", "correct mem"]),
        ({"gres": "tpu:1"}, ["Invalid generic resource", "sinfo -o '%P %G'"]),
        ({"constraint": "h100"}, ["Invalid feature", "SlurmExecutor.constraint"]),
        ({"exclude": ["n77"]}, ["Invalid node name", "SlurmExecutor.exclude"]),
        ({"array": "0-5000"}, ["Invalid job array", "MaxArraySize"]),
        ({"exclusive": "ly"}, ["Invalid --exclusive specification", "correct exclusive"]),
        ({"signal": "BANG@9"}, ["Invalid --signal specification", "correct signal"]),
        ({"segment": 2}, ["unrecognized option '--segment=2'", "leave out the field"]),
        (
            {"additional_parameters": {"frobnicate": 1}},
            ["unrecognized option '--frobnicate=1'", "additional_parameters"],
        ),
        ({"additional_parameters": {"licenses": "x:1"}}, ["Invalid license", "scontrol show lic"]),
        ({"additional_parameters": {"reservation": "x"}}, ["reservation is invalid", "scontrol show res"]),
        ({"comment": "two\nlines"}, ["'train'", "comment='two\\nlines'", "line break"]),
        ({"dependencies": ["yesterday"]}, ["SlurmExecutor.dependencies", "'yesterday'"]),
        ({"container_image": "/no/image.sqsh"}, ["/no/image.sqsh", "container_image"]),
        ({"container_image": "a/b", "container_mounts": ["/no/data:/d"]}, ["/no/data", "container_mounts"]),
        ({"container_image": "~/no.sif", "container_runtime": "apptainer"}, ["~/no.sif", "container_image"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_request_that_can_never_run(
    fields: dict[str, Any], needles: list[str], refused: Callable[..., RunyardError], cluster: Cluster
) -> None:
    refused("train" if "image" not in str(fields) and "dependencies" not in fields else "", *needles, **fields)
    assert not cluster.command("squeue", "-h").stdout


@pytest.mark.parametrize(
    ("fields", "needles"),
    [
        ({"account": "nope"}, ["Invalid account", "SlurmExecutor.account", "sacctmgr show assoc"]),
        ({"qos": "nope"}, ["Invalid qos", "SlurmExecutor.qos"]),
        (
            {"partition": "short", "time": "00:05:00"},
            ["time limit is invalid", "SlurmExecutor.time", "sinfo -o '%P %l'"],
        ),
        ({"qos": "tight", "time": "00:05:00"}, ["QOSMaxWallDurationPerJobLimit", "SlurmExecutor.time"]),
    ],
    ids=["account", "qos", "time", "policy"],
)
def test_a_request_that_breaks_the_rules(
    fields: dict[str, Any],
    needles: list[str],
    refused: Callable[..., RunyardError],
    strict_cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(strict_cluster.conf))
    refused("'train'", *needles, **fields)


def test_no_sbatch(refused: Callable[..., RunyardError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in Path("/usr/bin").iterdir():
        if tool.name not in ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo"):
            (folder / tool.name).symlink_to(tool)
    monkeypatch.setenv("PATH", str(folder))
    refused("there is no sbatch on ", "module load slurm")


def test_a_controller_that_is_away_does_not_keep_a_launch_from_being_recorded(
    home: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", cluster.impatient["SLURM_CONF"])
    cluster.stop_controller()
    exp = experiment()
    exp.add(run.Script(inline="true"), slurm(), name="train")
    exp.run(detach=True)
    cluster.start_controller()
    assert exp.wait()["train"].status is JobState.SUCCEEDED


@contextmanager
def unwritable(folder: Path) -> Iterator[str]:
    """A file system that is full, or for ordinary users a folder that is not theirs to write to."""
    folder.mkdir()
    if os.geteuid():
        folder.chmod(0o500)
        yield "Permission denied"
        folder.chmod(0o700)
        return
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=False)
    if mount.returncode:
        pytest.skip("nothing may be mounted here")
    try:
        (folder / "ballast").write_bytes(b"x" * 60_000)
        yield "No space left on device"
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_no_space_on_the_cluster(home: Path, cluster: Cluster, tmp_path: Path) -> None:
    """The job says why it is not submitted."""
    with unwritable(tmp_path / "full") as why:
        exp = experiment()
        exp.add(run.Script(inline="true\n" + "#" * 100_000), slurm(job_dir=str(tmp_path / "full")), name="train")
        exp.run(detach=True)

        def reason() -> str:
            with Database(home) as db:
                (row,) = records.jobs(db, exp.id)
            return row.status.reason

        try:
            processes.until(lambda: why in reason(), f"a reason that says {why!r}")
            said = reason()
            assert f"{tmp_path}/full could not be written" in said
        finally:
            exp.cancel()
    assert not cluster.command("squeue", "-h").stdout, said


def test_a_time_that_slurm_would_let_wait_for_ever(cluster: Cluster, refused: Callable[..., RunyardError]) -> None:
    """Where the cluster does not enforce its partitions' limits, we do."""
    refused("'train'", "'short' allows 00:01:00", "SlurmExecutor.time", partition="short", time="00:05:00")
