"""Processes that die: nothing is lost, and nothing runs twice."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from runyard.states import JobState
from runyard.store import records
from runyard.store.db import NAME, Database
from runyard.task import Script
from runyard.testing.conformance.harness import Harness, Scenario

_LAUNCH = """
import sys
import runyard as run

if __name__ == "__main__":
    exp = run.Experiment("killed", EXECUTOR, clean_mode=True)
    waits = f"i=0; while [ ! -e {sys.argv[1]}/go ] && [ $i -lt 3000 ]; do sleep 0.1; i=$((i+1)); done"
    exp.add(run.Script(inline=f"echo first >> {sys.argv[1]}/proof; {waits}"), name="first")
    exp.add(run.Script(inline=f"echo second >> {sys.argv[1]}/proof"), name="second", dependencies=["first"])
    exp.run(detach=sys.argv[2] == "detach", raise_on_failure=False)
"""

_MINE = """
import time

def work():
    print("working", flush=True)
    time.sleep(300)
"""

_LAUNCH_MINE = """
import runyard as run
import mine

if __name__ == "__main__":
    run.run(mine.work, EXECUTOR, name="task", detach=True)
"""


def detach_and_reattach(h: Harness) -> None:
    """A detached experiment goes on by itself, through its dependencies; a later process waits for it."""
    exp = h.experiment(retries=1)
    exp.add(h.writes("first", "proof", h.waits_for("go") + "[ $RUNYARD_ATTEMPT -ge 2 ]"), name="first")
    exp.add(h.writes("second", "proof"), name="second", dependencies=["first"])
    results = exp.run(detach=True)
    assert not any(r.status.ended for r in results.values())
    h.until_lines("proof")
    h.go("go")
    done = h.again(exp.id).wait()
    assert {n: r.status for n, r in done.items()} == dict.fromkeys(("first", "second"), JobState.SUCCEEDED)
    assert h.lines("proof") == ["first", "first", "second"]


def follow_after_detach(h: Harness) -> None:
    """Following later shows the whole log from its beginning, each line once, and ends with the job."""
    exp = h.experiment()
    exp.add(
        Script(inline=f"echo line 1\n{h.waits_for('go')}for i in 2 3 4 5; do echo line $i; sleep 0.1; done"),
        name="task",
    )
    exp.run(detach=True)
    h.until(lambda: h.states(exp.id)["task"] is JobState.RUNNING, "the task's start")
    h.go("go")
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        h.again(exp.id).wait(tail_logs=True)
    assert shown.getvalue().splitlines() == [f"line {i}" for i in range(1, 6)]


def follow_what_has_ended(h: Harness) -> None:
    """Following an ended job shows its log and ends at once."""
    exp = h.experiment()
    exp.add(Script(inline="echo said"), name="task")
    exp.run()
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        h.again(exp.id).wait(tail_logs=True)
        h.again(exp.id).logs("task")
    assert shown.getvalue() == "said\nsaid\n"


def _launch_and_die(h: Harness, step: str, how: str = "detach") -> str:
    done = h.launching(_LAUNCH, str(h.shared), how, **h.death(step, h.folder / "died"))
    assert done.returncode == -signal.SIGKILL, f"the launcher did not die at {step!r}: {done.stdout}"
    with Database(h.home) as db:
        found = records.experiments(db)
    return found[0].id if found else ""


def _ends_alone(h: Harness, id: str) -> None:
    assert id, "nothing was recorded"
    h.go("go")  # not before its launcher is dead
    assert h.until_ended(id) == {"first": JobState.SUCCEEDED, "second": JobState.SUCCEEDED}
    assert h.lines("proof") == ["first", "second"]


def launcher_killed_before_the_record(h: Harness) -> None:
    """Killed before the record, a launch has not happened: nothing is recorded, and nothing runs."""
    assert not _launch_and_die(h, "call runyard.store.records create")
    time.sleep(0.5)
    assert h.lines("proof") == []
    h.go("go")
    done = h.launching(_LAUNCH, str(h.shared), "attached")
    assert done.returncode == 0, done.stdout
    assert h.lines("proof") == ["first", "second"]


def launcher_killed_after_the_record(h: Harness) -> None:
    """Killed right after the record, before anything was submitted, the experiment runs to its end by itself."""
    _ends_alone(h, _launch_and_die(h, "return runyard.store.records create"))


def launcher_killed_after_the_launch(h: Harness) -> None:
    """Killed when all is handed over, the experiment runs to its end."""
    _ends_alone(h, _launch_and_die(h, "return runyard.engine.launch launch"))


def attached_launcher_killed(h: Harness) -> None:
    """Killed while it follows its running tasks, the experiment runs to its end."""
    _ends_alone(h, _launch_and_die(h, "call runyard.engine.follow _wait", "attached"))


def _controller_dies(h: Harness, step: str) -> None:
    exp = h.experiment(retries=1)
    exp.add(h.writes("first $RUNYARD_ATTEMPT", "proof", "sleep 0.2; [ $RUNYARD_ATTEMPT -ge 2 ]"), name="first")
    exp.add(h.writes("second $RUNYARD_ATTEMPT", "proof"), name="second", dependencies=["first"])
    with h.controller_that_dies(step) as died:
        exp.run(detach=True)
        h.until(died.exists, f"the controller's death at {step!r}")
    results = h.again(exp.id).wait()
    assert all(r.ok for r in results.values()), results
    assert h.lines("proof") == ["first 1", "first 2", "second 1"]


def controller_killed_before_it_submits(h: Harness) -> None:
    """Killed between the intent and the submission, the next command goes on: submitted once."""
    _controller_dies(h, "call runyard.engine.driver _submit")


def controller_killed_after_it_submitted(h: Harness) -> None:
    """Killed after the submission, before its handle was recorded, the next command adopts what runs."""
    _controller_dies(h, "call runyard.engine.driver _submitted")


def controller_killed_before_it_notes_the_end(h: Harness) -> None:
    """Killed when it had seen a job end and had not recorded it, the next command sees it again."""
    _controller_dies(h, "call runyard.engine.driver _judge")


def controller_killed_at_random_moments(h: Harness) -> None:
    """Killed again and again, each time followed by another command: everything ends, nothing ran twice."""
    chance = random.Random(20240914)
    exp = h.experiment(retries=1)
    for i in range(4):
        text = "sleep 0.2; [ $RUNYARD_ATTEMPT -ge 2 ]" if i == 1 else "sleep 0.2"
        needs = [f"task-{i - 1}"] if i else []
        exp.add(h.writes(f"{i} $RUNYARD_ATTEMPT", "proof", text), name=f"task-{i}", dependencies=needs)
    exp.run(detach=True)

    def ended() -> bool:
        return all(s.ended for s in h.states(exp.id).values())

    for _ in range(4):
        h.until(lambda: ended() or h.holder(exp.id), "a controller, or the end")
        pid = h.holder(exp.id)
        if not pid:
            continue  # it has just come to its end
        time.sleep(chance.uniform(0, 0.3))
        with contextlib.suppress(ProcessLookupError):
            h.kill(pid)
        h.again(exp.id).status(return_dict=True)  # any command takes over
    results = h.again(exp.id).wait()
    assert all(r.ok for r in results.values()), results
    assert h.lines("proof") == ["0 1", "1 1", "1 2", "2 1", "3 1"]


def controller_paused_and_replaced(h: Harness) -> None:
    """A controller that slept while another took over changes nothing when it wakes up."""
    exp = h.experiment()
    exp.add(h.writes("first", "proof", h.waits_for("go")), name="first")
    exp.add(h.writes("second", "proof"), name="second", dependencies=["first"])
    exp.run(detach=True)
    h.until(lambda: h.states(exp.id)["first"] is JobState.RUNNING, "the first task's start")
    sleeper = h.driver(exp.id)
    try:
        h.until(lambda: _sleeps(h, sleeper), "its sleep")
        with Database(h.home) as db:  # as another machine does that has not seen it beat for long
            db.run("UPDATE experiments SET lease_owner = '' WHERE id = ?", (exp.id,))
        h.drive(exp.id)
        assert h.driver(exp.id) != sleeper
        h.go("go")
        assert set(h.until_ended(exp.id).values()) == {JobState.SUCCEEDED}
    finally:
        os.kill(sleeper, signal.SIGCONT)
    h.until(lambda: _state(sleeper) in "ZX", "the end of the one that slept")
    assert set(h.states(exp.id).values()) == {JobState.SUCCEEDED}
    assert h.lines("proof") == ["first", "second"]


def _sleeps(h: Harness, pid: int) -> bool:
    """Stop a process, unless it is just using the store: for a process that keeps it locked, all others wait."""
    os.kill(pid, signal.SIGSTOP)
    h.until(lambda: _state(pid) == "T", "the process to stop")
    with contextlib.closing(sqlite3.connect(h.home / NAME, timeout=0.5)) as db:
        try:
            db.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            os.kill(pid, signal.SIGCONT)
            return False
    return True


def _state(pid: int) -> str:
    """Return the letter with which the system tells the state of a process; ``X`` for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def reading_back_needs_no_code(h: Harness) -> None:
    """Status, log and cancel work when the launching code has gone, and do not import it."""
    (h.work / "mine.py").write_text(_MINE)
    done = h.launching(_LAUNCH_MINE)
    assert done.returncode == 0, done.stdout
    with Database(h.home) as db:
        id = records.experiments(db)[0].id
    h.until(lambda: "working" in h.text(id, "task"), "the task's first line")
    (h.work / "mine.py").unlink()
    (h.work / "launching.py").unlink()
    reader = (
        "import runyard as run, sys\n"
        f"exp = run.Experiment.from_id({id!r})\nexp.status()\nexp.logs('task')\nexp.cancel('task')\nexp.status()\n"
        "assert 'mine' not in sys.modules and 'fiddle' not in sys.modules\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", reader],
        cwd="/",
        env=h.environment(),
        capture_output=True,
        text=True,
        timeout=h.seconds,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "working" in told.stdout
    assert "cancelled" in told.stdout


SCENARIOS: dict[str, Scenario] = {
    f.__name__: f
    for f in (
        detach_and_reattach,
        follow_after_detach,
        follow_what_has_ended,
        launcher_killed_before_the_record,
        launcher_killed_after_the_record,
        launcher_killed_after_the_launch,
        attached_launcher_killed,
        controller_killed_before_it_submits,
        controller_killed_after_it_submitted,
        controller_killed_before_it_notes_the_end,
        controller_killed_at_random_moments,
        controller_paused_and_replaced,
        reading_back_needs_no_code,
    )
}
