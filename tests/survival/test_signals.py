"""What signals do to launchers and jobs, with real processes and a real terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import processes
import runyard as run
from processes import until
from runyard.backends.results import read_started
from runyard.states import JobState
from runyard.store.db import Database

LAUNCH = """
import sys
import runyard as run

proof, how = sys.argv[1:]
exp = run.Experiment("signals", enable_goodbye_message=False)
beat = f"echo began >> {proof}; (while sleep 0.05; do echo alive >> {proof}.pulse; done) &"
exp.add(run.Script(inline=f"{beat} while [ ! -e {proof}.go ]; do sleep 0.05; done; kill $!; echo ended"), name="long")
exp.add(run.Script(inline="echo next"), name="next", dependencies=["long"])
exp.run(detach=how == "detach", tail_logs=True)
"""


class Launched:
    """A launcher whose first task runs."""

    def __init__(self, folder: Path) -> None:
        self.home, self.proof = folder / "home", folder / "proof"
        self.script = folder / "launch.py"
        self.script.write_text(LAUNCH)
        self.launcher: subprocess.Popen[bytes] | None = None

    def start(self, how: str = "attached", **options: object) -> subprocess.Popen[bytes]:
        self.launcher = processes.start(self.script, self.home, str(self.proof), how, **options)
        until(lambda: processes.lines(Path(f"{self.proof}.pulse")), "the task's pulse")
        until(lambda: self.states()["long"] is JobState.RUNNING, "the record of its start")
        if how == "attached":  # the task may be faster than the launcher that is to watch it
            until(lambda: processes.catches(self.launcher.pid, signal.SIGTERM), "the launcher that watches")
        return self.launcher

    @property
    def id(self) -> str:
        return processes.only(self.home)

    def states(self) -> dict[str, JobState]:
        return processes.states(self.home, self.id)

    def until_ended(self) -> dict[str, JobState]:
        until(lambda: all(s.ended for s in self.states().values()), "the end of the experiment")
        return self.states()

    def go(self) -> None:
        Path(f"{self.proof}.go").touch()

    def beats(self) -> bool:
        """Say whether the task's child still lives."""
        pulse = Path(f"{self.proof}.pulse")
        before = len(processes.lines(pulse))
        time.sleep(0.3)  # six beats
        return len(processes.lines(pulse)) > before

    def goes_on(self) -> None:
        """Wait for a sign that the task's child still lives."""
        until(self.beats, "another beat of the task's pulse")

    def reason(self, name: str) -> str:
        with Database(self.home) as db:
            return {r.name: r.reason for r in run_results(db, self.id)}[name]

    def folder(self, name: str) -> Path:
        (found,) = self.home.glob(f"experiments/signals/*/{name}")
        return found

    def end(self) -> None:
        if self.launcher:
            processes.end(self.launcher)
        if self.home.exists():
            run.Experiment.from_id(self.id, base_dir=self.home).cancel()
            until(lambda: not processes.controllers(self.home), "the end of the controller")


def run_results(db: Database, id: str) -> list[run.JobResult]:
    from runyard.engine import report

    return report.results(db, id)


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Launched]:
    it = Launched(tmp_path)
    yield it
    it.end()


def test_a_killed_shell_takes_its_children_along(launched: Launched) -> None:
    launched.start("detach")
    claim = read_started(str(launched.folder("long")), 1)
    assert claim is not None
    processes.kill(claim.pid)
    assert launched.until_ended() == {"long": JobState.FAILED, "next": JobState.SKIPPED}
    assert "SIGKILL" in launched.reason("long")
    until(lambda: not launched.beats(), "the end of the task's children")


def test_a_shell_killed_while_nobody_watches_is_lost_and_takes_its_children_along(launched: Launched) -> None:
    launched.start("detach")
    (controller,) = processes.controllers(launched.home)
    claim = read_started(str(launched.folder("long")), 1)
    assert claim is not None
    processes.kill(controller)
    until(lambda: not processes.alive(controller), "the controller's end")
    processes.kill(claim.pid)
    done = run.Experiment.from_id(launched.id, base_dir=launched.home).wait(raise_on_failure=False)
    assert {n: r.status for n, r in done.items()} == {"long": JobState.LOST, "next": JobState.SKIPPED}
    assert "gone" in done["long"].reason
    until(lambda: not launched.beats(), "the end of the task's children")


def test_sigterm_takes_local_jobs_along(launched: Launched) -> None:
    launcher = launched.start()
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(60) == 128 + signal.SIGTERM
    assert launched.states() == {"long": JobState.CANCELLED, "next": JobState.CANCELLED}
    assert not launched.beats()


def test_sighup_detaches(launched: Launched) -> None:
    launcher = launched.start()
    launcher.send_signal(signal.SIGHUP)
    launcher.wait(60)
    launched.goes_on()
    launched.go()
    assert set(launched.until_ended().values()) == {JobState.SUCCEEDED}


def test_sigint_without_a_terminal_cancels(launched: Launched) -> None:
    launcher = launched.start(stderr=subprocess.PIPE)
    launcher.send_signal(signal.SIGINT)
    _, told = launcher.communicate(timeout=60)
    assert b"KeyboardInterrupt" not in told, told
    assert b"cancelling" in told
    assert launcher.returncode != 0
    assert launched.states() == {"long": JobState.CANCELLED, "next": JobState.CANCELLED}
    assert not launched.beats()


class Terminal:
    """A pseudo-terminal with a person before it."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.text = ""

    def options(self) -> dict[str, object]:
        path = os.ttyname(self.slave)

        def own() -> None:  # the first terminal that a session leader opens becomes its own
            os.setsid()
            os.close(os.open(path, os.O_RDWR))

        return {"stdin": self.slave, "stdout": self.slave, "stderr": self.slave, "preexec_fn": own}

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def until(self, pattern: str) -> None:
        def shown() -> bool:
            while select.select([self.master], [], [], 0)[0]:
                try:
                    self.text += os.read(self.master, 4096).decode("utf-8", "replace")
                except OSError:  # nobody holds the other end any more
                    break
            return re.search(pattern, self.text) is not None

        try:
            until(shown, pattern)
        except AssertionError as e:
            raise AssertionError(f"{e}; the terminal shows:\n{self.text}") from None

    def hang_up(self) -> None:
        if self.master >= 0:
            os.close(self.master)
            os.close(self.slave)
        self.master = -1


@contextmanager
def before_a_terminal(launched: Launched) -> Iterator[Terminal]:
    screen = Terminal()
    try:
        launched.start(**screen.options())
        screen.type("\x03")
        screen.until(r"\[d\]etach.*\[c\]ancel.*\[g\]o on")
        yield screen
    finally:
        screen.hang_up()


def ended(launched: Launched, screen: Terminal) -> int:
    assert launched.launcher is not None
    launcher = launched.launcher
    screen.until("")
    until(lambda: (screen.until(""), launcher.poll() is not None)[1], "the launcher's end")
    screen.until("")
    return launcher.returncode


def test_ctrl_c_then_detach(launched: Launched) -> None:
    with before_a_terminal(launched) as screen:
        screen.type("d\n")
        assert ended(launched, screen) == 0, screen.text
        assert "goes on" in screen.text
        assert launched.id in screen.text
        assert "Traceback" not in screen.text
    launched.goes_on()
    launched.go()
    assert set(launched.until_ended().values()) == {JobState.SUCCEEDED}


def test_ctrl_c_then_cancel(launched: Launched) -> None:
    with before_a_terminal(launched) as screen:
        screen.type("c\n")
        assert ended(launched, screen) != 0, screen.text
        assert "cancelling" in screen.text
    assert launched.states() == {"long": JobState.CANCELLED, "next": JobState.CANCELLED}
    assert not launched.beats()


def test_ctrl_c_then_go_on(launched: Launched) -> None:
    with before_a_terminal(launched) as screen:
        screen.type("g\n")
        time.sleep(0.3)
        assert launched.launcher is not None
        assert launched.launcher.poll() is None
        launched.go()
        screen.until("long +. ended")
        screen.until("next +. next")
        assert ended(launched, screen) == 0, screen.text
    assert set(launched.states().values()) == {JobState.SUCCEEDED}


def test_ctrl_c_twice_detaches(launched: Launched) -> None:
    with before_a_terminal(launched) as screen:
        screen.type("\x03")
        assert ended(launched, screen) == 0, screen.text
        assert "Traceback" not in screen.text
    launched.goes_on()
    launched.go()
    assert set(launched.until_ended().values()) == {JobState.SUCCEEDED}


def test_a_closed_terminal_detaches(launched: Launched) -> None:
    screen = Terminal()
    launcher = launched.start(**screen.options())
    screen.hang_up()
    launcher.wait(60)
    launched.goes_on()
    launched.go()
    assert set(launched.until_ended().values()) == {JobState.SUCCEEDED}


def reboot(launched: Launched) -> None:
    """Make the record look as it does after the machine was restarted."""
    (controller,) = processes.controllers(launched.home)
    claim = read_started(str(launched.folder("long")), 1)
    assert claim is not None
    processes.kill(controller)
    until(lambda: not processes.alive(controller), "the controller's end")
    with Database(launched.home) as db:
        for column, table in (("handle", "jobs"), ("lease_owner", "experiments")):
            db.run(f"UPDATE {table} SET {column} = replace({column}, ?, 'another-boot')", (claim.boot,))
    started = launched.folder("long") / "attempts" / "1" / "started"
    started.write_text(started.read_text().replace(claim.boot, "another-boot"))


def test_a_job_of_before_a_reboot_is_not_running_for_ever(launched: Launched) -> None:
    """Its number may even belong to another process by now, which must not be touched."""
    launched.start("detach")
    reboot(launched)
    done = run.Experiment.from_id(launched.id, base_dir=launched.home).wait(raise_on_failure=False)
    assert {n: r.status for n, r in done.items()} == {"long": JobState.LOST, "next": JobState.SKIPPED}
    assert "restarted" in done["long"].reason
    launched.goes_on()  # no process of this boot is taken for one of another
    launched.go()
    until(lambda: not launched.beats(), "the end of the task")


def test_a_job_that_had_ended_before_a_reboot_counts(launched: Launched) -> None:
    launched.start("detach")
    reboot(launched)
    launched.go()
    until((launched.folder("long") / "attempts" / "1" / "rc").exists, "the job's result")
    done = run.Experiment.from_id(launched.id, base_dir=launched.home).wait()
    assert {n: r.status for n, r in done.items()} == dict.fromkeys(("long", "next"), JobState.SUCCEEDED)


def test_a_launcher_in_a_pipe_that_closes_does_not_stop_the_experiment(launched: Launched) -> None:
    """``launch.py | head``: the reader goes away; the experiment does not."""
    launcher = launched.start(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert launcher.stdout is not None
    assert launcher.stderr is not None
    launcher.stdout.close()
    launcher.stderr.close()
    launched.go()
    launcher.wait(60)
    assert set(launched.until_ended().values()) == {JobState.SUCCEEDED}
