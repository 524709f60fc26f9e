"""Dependencies that the scheduler itself sees to."""

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


def graph(home: Path, **fields: object) -> run.Experiment:
    executor = SlurmExecutor(packager=Packager(), poll_seconds=0.2, **fields)  # type: ignore[arg-type]
    exp = run.Experiment("graph", executor, base_dir=home, clean_mode=True, skip_status_at_exit=True)
    exp.enable_goodbye_message = False
    return exp


def says(home: Path, name: str, then: str = "") -> run.Script:
    return run.Script(inline=f"echo {name} >> {home}/proof\n{then}")


def lines(home: Path) -> list[str]:
    return processes.lines(home / "proof")


def states(home: Path, id: str) -> dict[str, str]:
    with Database(home) as db:
        return {r.name: str(r.status.state) for r in records.jobs(db, id)}


def test_a_graph_goes_on_with_nobody_there(tmp_path: Path, cluster: Cluster) -> None:
    """With the controller killed and nothing of ours alive, Slurm releases one task after the other."""
    exp = graph(tmp_path)
    exp.add(says(tmp_path, "first", f"while [ ! -e {tmp_path}/go ]; do sleep 0.1; done"), name="first")
    exp.add(says(tmp_path, "second"), name="second", dependencies=["first"])
    exp.add(says(tmp_path, "third"), name="third", dependencies=["second"])
    exp.run(detach=True)
    processes.until(
        lambda: set(states(tmp_path, exp.id).values()) <= {"PENDING", "RUNNING"} and lines(tmp_path),
        "all are submitted",
    )
    for pid in processes.controllers(tmp_path):
        processes.kill(pid)
    (tmp_path / "go").touch()
    processes.until(lambda: lines(tmp_path) == ["first", "second", "third"], "the end of the graph")
    results = run.Experiment.from_id(exp.id, base_dir=tmp_path).wait()
    assert all(r.ok for r in results.values())


@pytest.mark.parametrize(
    ("kind", "code", "runs"),
    [
        ("afterok", 0, True),
        ("afterok", 3, False),
        ("afternotok", 3, True),
        ("afternotok", 0, False),
        ("afterany", 3, True),
    ],
)
def test_kinds(tmp_path: Path, cluster: Cluster, kind: str, code: int, runs: bool) -> None:
    """What can never start is skipped, with the reason; everything else runs after what it depends on."""
    exp = graph(tmp_path, dependency_type=kind)
    exp.add(says(tmp_path, "first", f"sleep 0.5; echo done >> {tmp_path}/proof; exit {code}"), name="first")
    exp.add(says(tmp_path, "second"), name="second", dependencies=["first"])
    results = exp.run(raise_on_failure=False)
    assert results["second"].status is (JobState.SUCCEEDED if runs else JobState.SKIPPED)
    assert lines(tmp_path) == ["first", "done", *(["second"] if runs else [])]
    if not runs:
        assert "its dependency 'first'" in results["second"].reason


def test_after(tmp_path: Path, cluster: Cluster) -> None:
    """``after`` waits for the start, not for the end."""
    exp = graph(tmp_path, dependency_type="after")
    exp.add(says(tmp_path, "first", f"while [ ! -e {tmp_path}/go ]; do sleep 0.1; done"), name="first")
    exp.add(says(tmp_path, "second", f"touch {tmp_path}/go"), name="second", dependencies=["first"])
    exp.run()
    assert sorted(lines(tmp_path)) == ["first", "second"]


def test_retries_of_what_others_wait_for(tmp_path: Path, cluster: Cluster) -> None:
    """A task that is retried keeps its dependents waiting until it has succeeded."""
    exp = graph(tmp_path, retries=1)
    exp.add(says(tmp_path, "first", "[ $RUNYARD_ATTEMPT -ge 2 ]"), name="first")
    exp.add(says(tmp_path, "second"), name="second", dependencies=["first"])
    assert all(r.ok for r in exp.run().values())
    assert lines(tmp_path) == ["first", "first", "second"]


def test_dependencies_are_in_the_queue(tmp_path: Path, cluster: Cluster) -> None:
    """The scheduler knows the dependency, and jobs outside of the experiment can be named too."""
    other = cluster.command("sbatch", "--parsable", "-p", "down", "--wrap", "true").stdout.strip()
    exp = graph(tmp_path, dependencies=[f"slurm://anything/{other}"])
    exp.add(says(tmp_path, "never"), name="waits")
    exp.run(detach=True)

    def number() -> str:
        with Database(tmp_path) as db:
            (row,) = records.jobs(db, exp.id)
        return Handle(*row.handle).id.partition("|")[0] if row.handle else ""

    processes.until(number, "its submission")
    assert f"afterok:{other}" in cluster.command("scontrol", "show", "job", number()).stdout
    cluster.command("scancel", other)
    result = run.Experiment.from_id(exp.id, base_dir=tmp_path).wait(raise_on_failure=False)["waits"]
    assert not result.ok
    assert "dependency" in result.reason
    assert not lines(tmp_path)


def test_singleton(tmp_path: Path, cluster: Cluster) -> None:
    """Of all jobs that have its name one runs at a time, whatever experiment they belong to."""
    text = f"echo begin >> {tmp_path}/proof; sleep 1; echo end >> {tmp_path}/proof"
    launched = []
    for _ in range(2):
        exp = graph(tmp_path, dependency_type="singleton", job_name_prefix="nightly-")
        exp.add(run.Script(inline=text), name="report")
        exp.add(says(tmp_path, "after"), name="after", dependencies=["report"])
        exp.run(detach=True)
        launched.append(exp)
    for exp in launched:
        assert all(r.ok for r in exp.wait().values())
    assert [line for line in lines(tmp_path) if line != "after"] == ["begin", "end", "begin", "end"]
