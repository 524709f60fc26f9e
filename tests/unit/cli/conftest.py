"""The real command, in processes of its own, on a home of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import processes
from runyard.backends.process import ProcessId, parse_stat
from runyard.backends.results import read_started
from runyard.engine.rebuild import controllers_of

WAIT = 60.0


class Cli:
    """Runs ``runyard`` with a home and a working directory of its own."""

    def __init__(self, home: Path, cwd: Path) -> None:
        self.home, self.cwd = home, cwd
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("RUNYARD", "NEMORUN", "FORCE_COLOR"))}
        self.env |= {"RUNYARD_HOME": str(home)}
        self._open: list[subprocess.Popen[str]] = []

    def __call__(self, *args: str, code: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command line and check its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "runyard", *args],
            cwd=self.cwd,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=WAIT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert code is None or done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *args: str) -> Any:
        """Run a command line with ``--json`` and return what it prints."""
        return json.loads(self(*args, "--json").stdout)

    def start(self, *args: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command line that goes on."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
        words = [sys.executable, "-m", "runyard", *args]
        process = subprocess.Popen(words, cwd=self.cwd, env=self.env, text=True, **options)
        self._open.append(process)
        return process

    def launch(self, text: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a launching script, written into the working directory."""
        script = self.cwd / "launch.py"
        script.write_text("import runyard as run\n" + text)
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=self.cwd,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=WAIT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert code is None or done.returncode == code, done.stderr
        return done

    def detached(self, *args: str) -> str:
        """Launch a plain command detached and return its id."""
        return self("run", "--detach", "--quiet", *args).stdout.strip()

    def states(self, ref: str) -> dict[str, str]:
        """Return the state of each task."""
        return {name: task["status"] for name, task in self.json("experiment", "status", ref)["tasks"].items()}

    def folder(self, id: str) -> Path:
        """Return the folder of an experiment."""
        (found,) = self.home.glob(f"experiments/*/{id}")
        return found

    def kill_controllers(self) -> None:
        """Kill whoever drives an experiment of this home, and wait until they are gone."""
        for pid in controllers_of(self.home).values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            processes.until(lambda pid=pid: not processes.alive(pid), "the end of a controller")

    def kill_jobs(self) -> None:
        """Kill the processes of all jobs of this home."""
        for path in self.home.glob("experiments/*/*/*/attempts/*/started"):
            claim = read_started(str(path.parents[2]), int(path.parent.name))
            if claim and ProcessId(claim.pid, parse_stat(claim.stat) or "0", claim.boot).alive():
                with suppress(ProcessLookupError):
                    os.killpg(claim.pid, signal.SIGKILL)

    def end_all(self) -> None:
        """End every process that was started here."""
        for process in self._open:
            process.kill()
            process.communicate()
        self.kill_controllers()
        self.kill_jobs()


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """The command, with an empty home; its processes are ended afterwards."""
    cwd = tmp_path / "work"
    cwd.mkdir()
    made = Cli(tmp_path / "home", cwd)
    yield made
    made.end_all()


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    """Wait, with a bound, until a condition holds, and return its value."""

    def wait(condition: Callable[[], Any]) -> Any:
        end = time.monotonic() + WAIT
        while not (value := condition()):
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.02)
        return value

    return wait
