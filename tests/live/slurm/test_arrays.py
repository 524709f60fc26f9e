"""Many equal tasks become one job array."""

from __future__ import annotations

from pathlib import Path

import pytest

import processes
import runyard as run
from runyard.backends.base import Handle
from runyard.executors.slurm import SlurmExecutor
from runyard.packagers import Packager
from runyard.states import JobState
from runyard.store import records
from runyard.store.db import Database
from slurm_cluster import Cluster


def experiment(home: Path, count: int, **fields: object) -> run.Experiment:
    executor = SlurmExecutor(packager=Packager(), poll_seconds=0.2, **fields)  # type: ignore[arg-type]
    exp = run.Experiment("many", executor, base_dir=home, clean_mode=True, skip_status_at_exit=True)
    exp.enable_goodbye_message = False
    for i in range(count):
        exp.add(run.Script(inline=f"echo task {i} >> {home}/proof; echo said {i}; exit {i % 4 == 3:d}"), name=f"t{i}")
    return exp


def handles(home: Path, id: str) -> dict[str, str]:
    with Database(home) as db:
        return {r.name: Handle(*r.handle).id for r in records.jobs(db, id) if r.handle}


def test_equal_tasks_become_one_array(tmp_path: Path, cluster: Cluster) -> None:
    """Each task has its own result, log and place in the array; one array holds all of them."""
    exp = experiment(tmp_path, 20)
    results = exp.run(raise_on_failure=False)
    for i in range(20):
        wanted = JobState.FAILED if i % 4 == 3 else JobState.SUCCEEDED
        assert results[f"t{i}"].status is wanted
        assert results[f"t{i}"].log_path.read_text() == f"said {i}\n"
    assert sorted((tmp_path / "proof").read_text().split("\n")) == sorted(["", *(f"task {i}" for i in range(20))])
    numbers = handles(tmp_path, exp.id)
    assert len({n.partition("_")[0] for n in numbers.values()}) == 1
    assert {n.partition("_")[2].partition("|")[0] for n in numbers.values()} == {str(i) for i in range(20)}


def test_failed_elements_are_retried(tmp_path: Path, cluster: Cluster) -> None:
    exp = experiment(tmp_path, 12, retries=1)
    results = exp.run(raise_on_failure=False)
    assert {n: r.attempts for n, r in results.items()} == {f"t{i}": 2 if i % 4 == 3 else 1 for i in range(12)}
    assert len((tmp_path / "proof").read_text().splitlines()) == 12 + 3


def test_few_or_different_tasks_keep_their_names(tmp_path: Path, cluster: Cluster) -> None:
    exp = experiment(tmp_path, 3)
    exp.run(raise_on_failure=False)
    assert not [n for n in handles(tmp_path, exp.id).values() if "_" in n]


@pytest.mark.slow
def test_large_sweeps_are_cut_to_the_largest_array(tmp_path: Path, cluster: Cluster) -> None:
    """One element of an array is cancelled alone; arrays are no larger than the cluster's MaxArraySize."""
    executor = SlurmExecutor(packager=Packager(), poll_seconds=0.2, partition="down")
    exp = run.Experiment("many", executor, base_dir=tmp_path, clean_mode=True, skip_status_at_exit=True)
    for i in range(1100):
        exp.add(run.Script(inline="true"), name=f"t{i}")
    exp.run(detach=True)
    try:
        processes.until(lambda: len(handles(tmp_path, exp.id)) == 1100, "their submission", 200)
        exp.cancel("t7")
        queue = cluster.command("squeue", "-h", "-r", "-t", "PENDING", "-o", "%F").stdout.split()
        assert len(queue) == 1099
        assert sorted(map(queue.count, set(queue)))[0] < 1001
        assert len(set(queue)) == 2
    finally:
        exp.cancel()
