"""Nodes that die under a job: the reason, the retry, and what Slurm restarts by itself."""

from __future__ import annotations

from pathlib import Path

import processes
import runyard as run
from runyard.executors.slurm import SlurmExecutor
from runyard.packagers import Packager
from runyard.states import JobState
from runyard.store import records
from runyard.store.db import Database
from slurm_cluster import Cluster


def launch(home: Path, **fields: object) -> tuple[run.Experiment, str]:
    """Launch a task that waits in its first attempt, and return the node it runs on."""
    executor = SlurmExecutor(
        packager=Packager(),
        poll_seconds=0.2,
        time=5,
        env_vars={"A_TOKEN": "not-to-be-seen"},
        **fields,  # type: ignore[arg-type]
    )
    exp = run.Experiment("nodes", executor, base_dir=home, clean_mode=True)
    text = (
        f'echo "$RUNYARD_ATTEMPT $SLURMD_NODENAME ${{#A_TOKEN}}" >> {home}/proof\n'
        'echo "attempt $RUNYARD_ATTEMPT"\n[ "$RUNYARD_ATTEMPT" = 1 ] && exec sleep 60\nexit 0\n'
    )
    exp.add(run.Script(inline=text), name="task")
    exp.run(detach=True)
    log = next(home.glob("experiments/*/*/task")) / "attempts" / "1" / "log"
    processes.until(lambda: log.exists() and log.read_text() == "attempt 1\n", "the task's start")
    return exp, processes.lines(home / "proof")[0].split()[1]


def attempts(home: Path, id: str) -> list[tuple[int, JobState, str]]:
    with Database(home) as db:
        return [(a.attempt, a.state, a.reason) for a in records.attempts(db, id)]


def restarts(cluster: Cluster) -> int:
    return int(cluster.command("squeue", "-h", "-O", "RestartCnt").stdout.strip() or 0)


def test_a_dead_node_is_named_and_left_out(tmp_path: Path, cluster: Cluster) -> None:
    exp, node = launch(tmp_path, retries=1, exclude_bad_nodes=True)
    cluster.fail_node(node)
    results = run.Experiment.from_id(exp.id, base_dir=tmp_path).wait()
    assert results["task"].attempts == 2
    (first, second) = processes.lines(tmp_path / "proof")
    assert second.split()[0] == "2"
    assert second.split()[1] != node
    assert first.split()[2] == second.split()[2] == "14", "the secret must reach each attempt"
    assert attempts(tmp_path, exp.id)[0] == (1, JobState.FAILED, f"node failure ({node})")


def test_without_retries_it_has_failed(tmp_path: Path, cluster: Cluster) -> None:
    exp, node = launch(tmp_path)
    cluster.fail_node(node)
    result = run.Experiment.from_id(exp.id, base_dir=tmp_path).wait(raise_on_failure=False)["task"]
    assert (result.status, result.reason) == (JobState.FAILED, f"node failure ({node})")
    assert len(processes.lines(tmp_path / "proof")) == 1


def test_slurm_restarts_the_job_itself(tmp_path: Path, cluster: Cluster) -> None:
    """A requeued job goes on as the next attempt, with a log and a folder of its own."""
    exp, node = launch(tmp_path, retries=1)
    cluster.fail_node(node)
    result = run.Experiment.from_id(exp.id, base_dir=tmp_path).wait()["task"]
    assert [line.split()[0] for line in processes.lines(tmp_path / "proof")] == ["1", "2"]
    assert result.attempts == 2
    assert result.log_path.read_text() == "attempt 2\n"
    assert result.log_path.parents[1].joinpath("1", "log").read_text().startswith("attempt 1\n")


def test_a_restart_that_could_not_begin_is_no_attempt(tmp_path: Path, cluster: Cluster) -> None:
    """Slurm counts it among the restarts; the code never ran in it, and there is no log of it."""
    exp, node = launch(tmp_path, retries=1)
    others = [name for name in cluster.nodes if name != node]
    for name in others:
        cluster.kill_node(name)  # the controller does not know, and sends the restarted job to one of them
    cluster.fail_node(node)
    processes.until(lambda: restarts(cluster) >= 2, "a second restart", 100)
    for name in others:
        cluster.start_node(name)
    result = run.Experiment.from_id(exp.id, base_dir=tmp_path).wait()["task"]
    assert [line.split()[0] for line in processes.lines(tmp_path / "proof")] == ["1", "2"]
    assert result.attempts == 2
    assert result.log_path.read_text() == "attempt 2\n"
