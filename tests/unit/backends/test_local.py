"""What only the local backend does: out of memory, GPU slots, starting problems."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import processes
import runyard as run
from runyard.backends import gpus, wrapper
from runyard.backends.base import Handle, JobId, Request
from runyard.backends.local import LocalBackend
from runyard.backends.process import ProcessId
from runyard.errors import SubmitError
from runyard.states import JobState

MEMORY = 64 << 20


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def removed(group: Path) -> bool:
    """Remove a control group, unless a process in it still ends."""
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


@pytest.fixture
def small_memory() -> Iterator[str]:
    """Lines of shell that put a process under a real memory limit."""
    name = f"runyard-test-{os.getpid()}"
    for root, limit, procs in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "tasks"),
        ("/sys/fs/cgroup", "memory.max", "cgroup.procs"),
    ):
        group = Path(root, name)
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(MEMORY))
            for swap in ("memory.memsw.limit_in_bytes", "memory.swap.max"):
                if (group / swap).exists():
                    (group / swap).write_text(str(MEMORY) if "memsw" in swap else "0")
            yield f"echo $$ > {group / procs}"
        except OSError:
            group.rmdir()
            continue
        else:
            processes.until(lambda group=group: removed(group), f"the end of what is in {group}")
        return
    pytest.skip("no cgroup with a memory limit can be made here (root and a writable memory controller are needed)")


def test_out_of_memory_is_a_reason(small_memory: str) -> None:
    """The kernel kills the task for lack of memory: the reason says so, and not only that it was killed."""
    text = "held = []\nfor _ in range(64):\n    held.append(bytearray(b'x') * (4 << 20))\n"
    executor = run.LocalExecutor(setup_lines=small_memory)
    result = run.run(run.Script(inline=text, entrypoint="python"), executor, name="greedy", raise_on_failure=False)
    assert result is not None
    assert (result.status, result.exit_code, result.reason) == (JobState.FAILED, 137, "out of memory (OOM)")


def test_a_kill_alone_is_not_for_lack_of_memory() -> None:
    result = run.run(run.Script(inline="kill -KILL $$"), name="killed", raise_on_failure=False)
    assert result is not None
    assert result.reason == "signal SIGKILL"


def test_a_process_that_cannot_be_started_was_certainly_not_submitted(home: Path) -> None:
    backend = LocalBackend(str(home))
    gone = Request(JobId("e", "task"), ("sh", "job.sh"), {}, str(home / "no-such-folder"))
    (error,) = backend.submit([gone])
    assert isinstance(error, SubmitError)
    assert not error.retryable
    assert "'task'" in str(error)
    assert "no-such-folder" in str(error)


def test_jobs_of_other_machines_are_left_alone(home: Path) -> None:
    backend = LocalBackend(str(home))
    elsewhere = Handle("local", "another-machine", f"{ProcessId.mine()}|1", str(home))
    assert backend.observe([elsewhere]) == {}
    error = backend.cancel([elsewhere])[elsewhere]
    assert "another-machine" in str(error)


def test_who_claimed_an_attempt_may_be_slow_to_say_who_it_is(home: Path) -> None:
    """Of two submissions one has claimed the attempt. Until it has written down its name, the other knows nothing."""
    attempt = home / "job" / "attempts" / "1"
    attempt.mkdir(parents=True)
    script = attempt.parents[1] / "job.sh"
    script.write_text(f"exit {wrapper.CLAIMED}\n")
    request = Request(JobId("e", "task"), ("sh", str(script)), {}, str(script.parent))
    backend = LocalBackend(str(home))
    (handle,) = backend.submit([request])
    assert isinstance(handle, Handle)
    processes.until(lambda: not ProcessId.parse(handle.id.partition("|")[0]).alive(), "the second one's end")
    for anybody in (backend, backend, LocalBackend(str(home))):
        assert anybody.observe([handle])[handle].state is JobState.PENDING
    os.utime(attempt, (time.time() - 60,) * 2)
    assert backend.observe([handle])[handle].state is None, "it never did: it was killed"

    me, stat = ProcessId.mine(), Path("/proc/self/stat").read_text().strip()
    (attempt / "started").write_text(f"pid={me.pid}\nhost={handle.cluster}\nboot={me.boot}\nstat={stat}\nend\n")
    assert backend.observe([handle])[handle].state is None
    assert backend.find([(request, 1)]) == {request.job: handle._replace(id=f"{me}|1")}


def test_an_interpreter_of_the_users_is_used(tmp_path: Path) -> None:
    fake = tmp_path / "my python"
    fake.write_text(f'#!/bin/sh\necho mine "$#"\nexec {sys.executable} "$@"\n')
    fake.chmod(0o755)
    executor = run.LocalExecutor(python=str(fake))
    result = run.run(run.Script(inline="print('ran')", entrypoint="python"), executor, name="task")
    assert result is not None
    assert result.log_path.read_text() == "mine 1\nran\n"


def test_python_in_a_tasks_shell_is_the_one_in_use() -> None:
    result = run.run(run.Script(inline="python -c 'import sys; print(sys.executable)'"), name="task")
    assert result is not None
    assert os.path.samefile(result.log_path.read_text().strip(), sys.executable)


# -- GPUs ------------------------------------------------------------------------------------------


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,4,5")
    gpus.visible_devices.cache_clear()
    yield
    gpus.visible_devices.cache_clear()


def test_devices_are_shared_out_and_come_back(four: None, home: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        other = ProcessId.of(child.pid)
        assert other is not None
        with gpus.Slots(str(home)) as slots:
            assert slots.take(3, "a") == ["0", "1", "4"]
            slots.assign(["0", "1", "4"], other)
        with pytest.raises(SubmitError) as full, gpus.Slots(str(home)) as slots:
            slots.take(2, "b")
        assert full.value.retryable
        with gpus.Slots(str(home)) as slots:
            assert slots.take(1, "c") == ["5"]
    finally:
        child.kill()
        child.wait()
    with gpus.Slots(str(home)) as slots:
        assert slots.take(3, "d") == ["0", "1", "4"], "the devices of a dead process are free"


def test_more_than_there_are_is_refused_for_good(four: None, home: Path) -> None:
    with (
        pytest.raises(SubmitError, match="a asks for 5 GPUs; this machine shows 4") as error,
        gpus.Slots(str(home)) as s,
    ):
        s.take(5, "a")
    assert not error.value.retryable


def test_an_unfinished_taking_holds_nothing(four: None, home: Path) -> None:
    def start() -> None:
        with gpus.Slots(str(home)) as slots:
            slots.take(4, "a")
            raise RuntimeError("the start failed")

    with pytest.raises(RuntimeError):
        start()
    with gpus.Slots(str(home)) as slots:
        assert len(slots.take(4, "b")) == 4


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"0": {"job": "x"}}', '{"0": {"process": "x"}}'])
def test_a_damaged_table_is_made_anew(four: None, home: Path, content: str) -> None:
    (home / "slots").mkdir(parents=True)
    (home / "slots" / f"gpus-{os.uname().nodename}.json").write_text(content)
    with gpus.Slots(str(home)) as slots:
        assert len(slots.take(4, "a")) == 4


def test_tasks_get_different_devices_and_wait_for_them(four: None, tmp_path: Path) -> None:
    exp = run.Experiment("gpus", run.LocalExecutor(gpus_per_task=2), clean_mode=True)
    for i in range(4):
        exp.add(
            run.Script(
                inline=f"echo +$CUDA_VISIBLE_DEVICES >> {tmp_path}/held; sleep 0.3;"
                f" echo -$CUDA_VISIBLE_DEVICES >> {tmp_path}/held"
            ),
            name=f"task-{i}",
        )
    assert all(r.ok for r in exp.run().values())
    now: set[str] = set()
    for line in (tmp_path / "held").read_text().splitlines():
        devices = set(line[1:].split(","))
        assert len(devices) == 2
        if line[0] == "+":
            assert not now & devices, "a device was given to two tasks at once"
            now |= devices
        else:
            now -= devices


def test_too_many_devices_fail_the_task_with_a_reason(four: None) -> None:
    result = run.run(run.Script(inline="true"), run.LocalExecutor(gpus_per_task=9), name="task", raise_on_failure=False)
    assert result is not None
    assert result.status is JobState.FAILED
    assert "9 GPUs; this machine shows 4" in result.reason


def test_records_hold_no_more_than_json(home: Path) -> None:
    run.run(run.Script(inline="true"), name="task")
    (found,) = home.glob("experiments/task/*/task/job.json")
    assert json.loads(found.read_text())["job"]["kind"] == "local"
