"""Real ``torch.distributed.run``: two processes that add their numbers up with gloo."""

import importlib.util
from pathlib import Path

import pytest

import runyard as run

pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("torch") is None,
        reason="torch is not installed (make test-torch)",
    ),
]

REDUCE = """

import sys


def reduce(offset=0):
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    number = torch.tensor([rank + 1 + offset])
    dist.all_reduce(number)
    sys.stdout.write(f"rank {rank} of {world} has {int(number)}\\n")
    sys.stdout.flush()
    dist.barrier()
    dist.destroy_process_group()
"""

CALL = "\nif __name__ == '__main__':\n    reduce(*map(int, sys.argv[1:]))\n"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "reducing.py").write_text(REDUCE + CALL)
    return tmp_path


def reduced(task: object, **fields: object) -> list[str]:
    """Run a task as two processes; return what they printed."""
    executor = run.LocalExecutor(**({"launcher": "torchrun", "ntasks_per_node": 2, "time": "5m"} | fields))
    result = run.run(task, executor, name="reduce", tail_logs=False)
    assert result is not None
    return sorted(line for line in result.log_path.read_text().splitlines() if line.startswith("rank"))


def both(total: int) -> list[str]:
    return [f"rank {rank} of 2 has {total}" for rank in (0, 1)]


def test_partial() -> None:
    import reducing

    assert reduced(run.Partial(reducing.reduce, offset=10)) == both(23)


def test_script_file() -> None:
    assert reduced(run.Script("reducing.py", entrypoint="python", args=[5])) == both(13)


def test_module() -> None:
    assert reduced(run.Script("reducing", m=True, args=[7])) == both(17)


def test_inline_python() -> None:
    assert reduced(run.Script(inline=REDUCE + CALL, entrypoint="python", args=[1])) == both(5)


def test_inline_bash() -> None:
    """Each process is a shell of its own, with its rank in the environment."""
    text = 'echo "shell of $LOCAL_RANK"; exec python reducing.py "$1"'
    assert reduced(run.Script(inline=text, args=["2"])) == both(7)


def test_two_at_once_do_not_meet() -> None:
    """Tasks side by side on one machine find free ports of their own."""
    exp = run.Experiment("twice", run.LocalExecutor(launcher="torchrun", ntasks_per_node=2, time="5m"), clean_mode=True)
    for offset in (0, 100):
        exp.add(run.Script("reducing.py", entrypoint="python", args=[offset]), name=f"from-{offset}")
    results = exp.run()
    for offset, total in ((0, 3), (100, 203)):
        assert f"has {total}" in results[f"from-{offset}"].log_path.read_text()


def test_a_rank_that_fails_fails_the_task() -> None:
    text = "import os, sys, time\nif os.environ['RANK'] == '1':\n    sys.exit(3)\ntime.sleep(400)\n"
    executor = run.LocalExecutor(launcher="torchrun", ntasks_per_node=2, time="5m")
    result = run.run(
        run.Script(inline=text, entrypoint="python"), executor, name="fails", tail_logs=False, raise_on_failure=False
    )
    assert result is not None
    assert result.status is run.JobState.FAILED
    assert result.reason != "time limit (00:05:00)"


def test_cancel_ends_every_rank() -> None:
    text = "import os, time\nopen('pid-' + os.environ['RANK'], 'w').write(str(os.getpid()))\ntime.sleep(300)\n"
    executor = run.LocalExecutor(launcher="torchrun", ntasks_per_node=2)
    exp = run.Experiment("cancelled", executor, clean_mode=True)
    exp.add(run.Script(inline=text, entrypoint="python"), name="long")
    exp.run(detach=True)
    import processes

    def pids() -> list[int]:
        found = [Path(f"pid-{rank}") for rank in (0, 1)]
        return [int(p.read_text()) for p in found if p.exists() and p.read_text()]

    processes.until(lambda: len(pids()) == 2, "both ranks", 180)
    exp.cancel()
    assert exp.jobs[0].status is run.JobState.CANCELLED
    processes.until(lambda: not any(map(processes.alive, pids())), "the end of both ranks")
