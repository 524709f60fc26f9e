"""Launchers and controllers, killed at random moments: nothing is lost, and nothing runs twice.

The moments come from a seed (``RUNYARD_SEED`` gives another); a failure names its trial.
"""

import os
import random
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

import processes
import runyard as run
from runyard.states import JobState
from runyard.store import records
from runyard.store.db import Database

SEED = int(os.environ.get("RUNYARD_SEED", "20250611"))
AT_ONCE = 4
SECONDS = 60.0

GRAPH = """
import sys
import runyard as run

title, proof, how = sys.argv[1:]
exp = run.Experiment(title, clean_mode=True, skip_status_at_exit=True, enable_goodbye_message=False)

def add(name, then="", needs=(), **fields):
    executor = run.LocalExecutor(env_vars={"A_TOKEN": "not-to-be-seen"}, **fields)
    line = f"echo $RUNYARD_TASK $RUNYARD_ATTEMPT >> {proof}/$RUNYARD_TASK; {then}"
    exp.add(run.Script(inline=line, entrypoint="sh"), executor, name=name, dependencies=list(needs))

add("prepare")
add("flaky", "[ $RUNYARD_ATTEMPT -ge 2 ]", ["prepare"], retries=1)
add("steady", needs=["prepare"])
add("compare", needs=["flaky", "steady"])
exp.run(detach=how == "detach")
"""

RAN = {
    "prepare": ["prepare 1"],
    "flaky": ["flaky 1", "flaky 2"],
    "steady": ["steady 1"],
    "compare": ["compare 1"],
}
TRIED = sorted(
    (name, n, JobState.FAILED if (name, n) == ("flaky", 1) else JobState.SUCCEEDED)
    for name, ran in RAN.items()
    for n in range(1, len(ran) + 1)
)


@dataclass(frozen=True)
class Trial:
    """One launch that is killed."""

    number: int
    folder: Path
    how: str
    fraction: float

    @property
    def home(self) -> Path:
        return self.folder / f"home-{self.number // 3}"  # a few share one, and launch into it at the same time

    @property
    def title(self) -> str:
        return f"trial-{self.number}"

    @property
    def proof(self) -> Path:
        return self.folder / f"proof-{self.number}"

    def recorded(self) -> str:
        """Return the experiment's id, or nothing when none is recorded."""
        with Database(self.home) as db:
            found = records.experiments(db, title=self.title)
        return found[0].id if found else ""

    def __str__(self) -> str:
        return f"trial {self.number} ({self.how}, at {self.fraction:.4f} of its life; seed {SEED}) in {self.folder}"


def trials(folder: Path, count: int, seed: int) -> list[Trial]:
    chance = random.Random(seed)
    return [Trial(i, folder, chance.choice(("detach", "attached")), chance.random()) for i in range(count)]


def launch(trial: Trial, script: Path) -> "processes.subprocess.Popen[bytes]":
    trial.proof.mkdir()
    return processes.start(script, trial.home, trial.title, str(trial.proof), trial.how)


class Pace:
    """How long a launcher lives when nobody kills it, with as much going on as in the trials.

    Measured before the trials, and corrected during them: what else the machine has to do changes.
    """

    def __init__(self, folder: Path, script: Path) -> None:
        self._folder, self._script = folder, script
        self._folder.mkdir()
        several = [Trial(i, folder, ("detach", "attached")[i % 2], 1.0) for i in range(8)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            measured = list(pool.map(self._measure, several))
        for trial in several:
            check_record(trial)
        self._lives = {
            how: statistics.mean(s for t, s in zip(several, measured, strict=True) if t.how == how)
            for how in ("detach", "attached")
        }
        self._now = 1.0

    def __str__(self) -> str:
        return f"launchers lived {self._lives}, in the end {self._now:.2f} times as long"

    def life(self, how: str) -> float:
        """Return how long it lives as things are now."""
        return self._lives[how] * self._now

    def look(self, trial: Trial) -> None:
        """Measure once more, beside every tenth trial."""
        if trial.number % 10 == 0:
            whole = Trial(8 + trial.number // 10, self._folder, ("detach", "attached")[trial.number // 10 % 2], 1.0)
            self._now = (self._now + self._measure(whole) / self._lives[whole.how]) / 2
            check_record(whole)

    def correct(self, times: float) -> None:
        """Take launchers to live so many times as long as was thought."""
        self._now *= times

    def _measure(self, trial: Trial) -> float:
        began = time.monotonic()
        process = launch(trial, self._script)
        try:
            assert process.wait(SECONDS) == 0
        finally:
            processes.end(process)
        return time.monotonic() - began


def check_record(trial: Trial) -> None:
    """Either nothing is recorded and nothing ran, or all ran, each attempt once, and the record says so."""
    id = trial.recorded()
    ran = {p.name: processes.lines(p) for p in trial.proof.iterdir()}
    if not id:
        assert not ran, f"{trial}: not recorded, and it ran: {ran}"
        leftovers = list((trial.home / "experiments" / trial.title).glob("[!.]*"))
        assert not leftovers, f"{trial}: not recorded, and left {leftovers}"
        assert not list((trial.home / "secrets").glob(f"{trial.title}_*/*")), f"{trial}: its secrets were left behind"
        return
    processes.until(
        lambda: all(s.ended for s in processes.states(trial.home, id).values()), f"{trial}: its end", SECONDS
    )
    ran = {p.name: processes.lines(p) for p in trial.proof.iterdir()}
    assert ran == RAN, f"{trial}: {ran}"
    with Database(trial.home) as db:
        attempts = sorted((a.name, a.attempt, a.state) for a in records.attempts(db, id))
        row = records.experiment(db, id)
    assert attempts == TRIED, f"{trial}: {attempts}"
    assert row.live == 0, str(trial)
    assert (trial.home / row.folder / "experiment.yaml").exists(), str(trial)
    assert not (trial.home / "secrets" / id).exists(), f"{trial}: its secrets were left behind"


def run_all(several: list[Trial], one: Callable[[Trial], str]) -> dict[str, int]:
    """Run trials, some at a time; return how often each outcome was seen."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(one, several))
    for home in sorted({t.home for t in several}):
        processes.until(lambda home=home: not processes.controllers(home), "the end of all controllers", SECONDS)
    for trial in several:  # again, now that every process has ended
        check_record(trial)
    return {what: outcomes.count(what) for what in sorted(set(outcomes))}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "graph.py"
    path.write_text(GRAPH)
    return path


@pytest.mark.slow
def test_a_launcher_killed_at_300_moments(tmp_path: Path, script: Path) -> None:
    """Nothing is recorded and nothing ran; or all ends as it should, without any further command."""
    pace = Pace(tmp_path / "measured", script)

    def one(trial: Trial) -> str:
        pace.look(trial)
        process = launch(trial, script)
        try:
            time.sleep(trial.fraction * pace.life(trial.how) * 1.05)
            came_too_late = process.poll() is not None
        finally:
            processes.end(process)
        recorded = bool(trial.home.exists() and trial.recorded())
        check_record(trial) if recorded else None
        return "ended before" if came_too_late else "recorded" if recorded else "not recorded"

    outcomes = run_all(trials(tmp_path, 300, SEED), one)
    print(f"{pace}; {outcomes}")
    assert min(outcomes.get(what, 0) for what in ("recorded", "not recorded")) >= 30, (
        f"the moments are not spread: {outcomes}"
    )


@pytest.mark.slow
def test_a_controller_killed_at_60_moments(tmp_path: Path, script: Path) -> None:
    """An attached launcher, or else the next command, takes over: all ends, and no attempt ran twice."""
    pace = Pace(tmp_path / "measured", script)

    def one(trial: Trial) -> str:
        process = launch(trial, script)
        try:
            processes.until(
                lambda: processes.controllers(trial.home, f"{trial.title}_") or process.poll() is not None,
                f"{trial}: its controller",
            )
            time.sleep(trial.fraction * pace.life("attached") * 0.6)
            found = processes.controllers(trial.home, f"{trial.title}_")
            for pid in found:
                processes.kill(pid)
            pace.correct(1.05 if found else 0.9)  # so two of three are in time
            assert process.wait(SECONDS) == 0, f"{trial}: the launcher ended with {process.returncode}"
        finally:
            processes.end(process)
        id = trial.recorded()
        assert id, f"{trial}: not recorded"
        results = run.Experiment.from_id(id, base_dir=trial.home).wait()
        assert all(r.ok for r in results.values()), f"{trial}: {results}"
        check_record(trial)
        return "killed" if found else "nobody there"

    outcomes = run_all(trials(tmp_path, 60, SEED + 1), one)
    print(f"{pace}; {outcomes}")
    assert outcomes.get("killed", 0) >= 30, f"the moments are not spread: {outcomes}"
