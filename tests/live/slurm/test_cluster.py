"""The cluster that the other tests here use is what they take it for."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from processes import until
from slurm_cluster import Cluster


def submit(cluster: Cluster, *argv: str) -> str:
    return cluster.command("sbatch", "--parsable", "--output=/dev/null", *argv).stdout.strip()


def state(cluster: Cluster, job: str) -> str:
    return cluster.command("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").stdout.strip()


def becomes(cluster: Cluster, job: str, *wanted: str) -> None:
    until(lambda: state(cluster, job) in wanted, f"job {job} is {' or '.join(wanted)}")


def test_a_job_on_two_nodes(cluster: Cluster, tmp_path: Path) -> None:
    script = f"srun --output={tmp_path}/%n --container-image=some/image:1 --no-container-mount-home env; hostname"
    job = submit(cluster, "--nodes=2", "--gpus-per-node=3", f"--output={tmp_path}/log", "--wrap", script)
    becomes(cluster, job, "COMPLETED")
    seen = [dict(line.partition("=")[::2] for line in (tmp_path / n).read_text().splitlines()) for n in "01"]
    assert [s["SLURMD_NODENAME"] for s in seen] == ["n1", "n2"]
    for task in seen:
        assert task["STUB_PYXIS_IMAGE"] == "some/image:1"
        assert task["STUB_PYXIS_NO_MOUNT_HOME"] == "1"
        assert "STUB_PYXIS_WRITABLE" not in task
        assert task["CUDA_VISIBLE_DEVICES"] == "0,1,2"


def test_each_node_has_its_own_name(cluster: Cluster) -> None:
    if not cluster.own_hostnames:
        pytest.skip("giving each node a host name of its own needs root")
    said = cluster.command("srun", "--nodes=2", "sh", "-c", "hostname; getent hosts n2 | grep -wo n2").stdout
    assert sorted(said.split()) == ["n1", "n2", "n2", "n2"]


def test_arrays_and_their_limit(cluster: Cluster, tmp_path: Path) -> None:
    job = submit(cluster, "--array=0-3", f"--output={tmp_path}/%a", "--wrap", "echo $SLURM_ARRAY_TASK_ID")
    until(lambda: state(cluster, job).split() == ["COMPLETED"] * 4, "the array ends")
    assert [(tmp_path / n).read_text() for n in "0123"] == ["0\n", "1\n", "2\n", "3\n"]
    refused = cluster.command("sbatch", "--array=0-1001", "--wrap", "true", check=False)
    assert "Invalid job array specification" in refused.stderr


def test_partitions(cluster: Cluster) -> None:
    assert state(cluster, submit(cluster, "--partition=down", "--wrap", "true")) == "PENDING"
    becomes(cluster, submit(cluster, "--partition=other", "--wrap", "true"), "COMPLETED")
    long = submit(cluster, "--partition=short", "--time=2", "--wrap", "true")
    time.sleep(0.3)
    assert state(cluster, long) == "PENDING"


def test_accounting_is_off(cluster: Cluster) -> None:
    said = cluster.command("sacct", check=False)
    assert (said.returncode, said.stderr) == (1, "Slurm accounting storage is disabled\n")


def test_accounting_is_on(accounting_cluster: Cluster) -> None:
    job = submit(accounting_cluster, "--account=acct", "--job-name=a name", "--wrap", "exit 3")
    ask = ["sacct", "-n", "-X", "-P", "-j", job, "-o", "jobname,account,state,exitcode"]
    # The name of a job that was short comes up to five seconds later than its end.
    known = [f"{name}|acct|FAILED|3:0\n" for name in ("allocation", "a name")]
    until(lambda: accounting_cluster.command(*ask).stdout in known, "sacct knows the job")


def test_the_controller_goes_and_comes_back(cluster: Cluster) -> None:
    job = submit(cluster, "--wrap", "sleep 600")
    becomes(cluster, job, "RUNNING")
    cluster.stop_controller()
    said = subprocess.run(["squeue"], env=os.environ | cluster.impatient, capture_output=True, text=True)
    assert said.returncode == 1
    assert "Unable to contact slurm controller" in said.stderr
    cluster.start_controller()
    assert state(cluster, job) == "RUNNING"
    cluster.pause_controller()
    with pytest.raises(subprocess.TimeoutExpired):
        cluster.command("squeue", timeout=0.5)
    cluster.resume_controller()
    assert state(cluster, job) == "RUNNING"


def test_a_node_fails(cluster: Cluster) -> None:
    # On one node: where others have a part in the job, they take up to half a minute to end it.
    options = ["--nodelist=n2", "--wrap", "srun sleep 600"]
    job, again = submit(cluster, "--no-requeue", *options), submit(cluster, "--requeue", *options)
    becomes(cluster, job, "RUNNING")
    becomes(cluster, again, "RUNNING")
    cluster.fail_node("n2")
    becomes(cluster, job, "NODE_FAIL")
    becomes(cluster, again, "PENDING")
    cluster.start_node("n2")
    assert state(cluster, submit(cluster, "--nodes=3", "--wrap", "sleep 600")) in ("PENDING", "RUNNING")


def test_nothing_outlives_its_node(cluster: Cluster, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    job = submit(cluster, "--nodelist=n2", "--wrap", f"setsid -f sh -c 'echo $$ >{pid}; exec sleep 600'; sleep 600")
    becomes(cluster, job, "RUNNING")
    until(lambda: pid.exists() and pid.read_text(), "the job's process has started")
    assert Path(f"/proc/{int(pid.read_text())}").exists()
    cluster.kill_node("n2")
    assert not Path(f"/proc/{int(pid.read_text())}").exists()


def test_clients_find_the_cluster(accounting_cluster: Cluster) -> None:
    said = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=True).stdout
    assert str(accounting_cluster.folder) in said
