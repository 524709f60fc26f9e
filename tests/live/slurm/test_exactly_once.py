"""Launchers and controllers killed, connections cut, answers lost or late: every task runs exactly once.

The faults come from a seed (``RUNYARD_SEED`` gives another, ``RUNYARD_TRIALS`` another number); a failure names its
trial.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

import processes
from runyard.store import records
from runyard.store.db import Database
from slurm_cluster import Cluster
from ssh_servers import Proxy, Server

SEED = int(os.environ.get("RUNYARD_SEED", "20250611"))
TRIALS = int(os.environ.get("RUNYARD_TRIALS", "100"))
AT_ONCE = 6
SECONDS = 240.0
FAULTS = ("launcher", "controller", "lost", "late", "cut")

GRAPH = """
import sys
import runyard as run
from runyard.packagers import Packager

title, proof, config, job_dir, pre = sys.argv[1:]
tunnel = run.SSHTunnel("login", config=config, job_dir=job_dir, pre_command=pre) if config else None
executor = run.SlurmExecutor(packager=Packager(), tunnel=tunnel, poll_seconds=0.3, time=10)
exp = run.Experiment(title, executor, clean_mode=True, skip_status_at_exit=True, enable_goodbye_message=False)
for name, needs in (("one", []), ("two", []), ("three", ["one", "two"])):
    exp.add(run.Script(inline=f"echo {name} >> {proof}/{name}", entrypoint="sh"), name=name, dependencies=needs)
exp.run(detach=True)
"""

# Stands in front of sbatch. LOST: it is accepted, and the answer never comes. LATE: it seems to fail, and is accepted
# some seconds later, when somebody may have submitted the job again. Each happens once per trial and name.
SHIM = """#!/bin/sh
case " $* " in *" --test-only "*) exec {sbatch} "$@" ;; esac
if [ -n "$TRIAL_FAULT" ] && mkdir "$TRIAL_ONCE" 2>/dev/null; then
  case $TRIAL_FAULT in
    lost) {sbatch} "$@" > /dev/null 2>&1 ;;
    late) (setsid sh -c 'sleep "$0"; {sbatch} "$@"; : {late}' "$TRIAL_SECONDS" "$@" > /dev/null 2>&1 < /dev/null &) ;;
  esac
  echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2
  exit 1
fi
exec {sbatch} "$@"
"""


@dataclass(frozen=True)
class Trial:
    """One launch with one fault."""

    number: int
    folder: Path
    cluster: Cluster
    fault: str
    ssh: bool
    fraction: float
    seconds: float

    @property
    def home(self) -> Path:
        return self.folder / f"home-{self.number}"

    @property
    def title(self) -> str:
        return f"trial-{self.number}"

    @property
    def proof(self) -> Path:
        return self.folder / f"proof-{self.number}"

    @property
    def env(self) -> dict[str, str]:
        fault = self.fault if self.fault in ("lost", "late") else ""
        return {
            **self.cluster.env,
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "TRIAL_FAULT": fault,
            "TRIAL_ONCE": str(self.proof / ".once"),
            "TRIAL_SECONDS": f"{self.seconds:.1f}",
        }

    def recorded(self) -> str:
        if not self.home.exists():
            return ""
        with Database(self.home) as db:
            found = records.experiments(db, title=self.title)
        return found[0].id if found else ""

    def __str__(self) -> str:
        where = "over ssh" if self.ssh else "here"
        how = "with" if self.cluster.accounting else "without"
        return f"trial {self.number} ({self.fault} {where}, {how} accounting, {self.fraction:.3f}; seed {SEED})"


def plan(folder: Path, clusters: list[Cluster], count: int) -> list[Trial]:
    chance = random.Random(SEED)
    trials = []
    for i in range(count):
        fault = chance.choice(FAULTS)
        ssh = fault == "cut" or chance.random() < 0.3
        late = 60.0 if i < 2 else chance.uniform(0.5, 6.0)
        trials.append(Trial(i, folder, chance.choice(clusters), "late" if i < 2 else fault, ssh, chance.random(), late))
    return trials


def late(folder: Path) -> str:
    """Return the words by which a late submission is known among all processes, of whatever tests."""
    return f"late in {folder}"


class Trials:
    """Runs trials; each may use the login node through a proxy of its own."""

    def __init__(self, folder: Path, login: Server) -> None:
        self.folder, self.login = folder, login
        self.script = folder / "graph.py"
        self.script.write_text(GRAPH)
        shim = folder / "bin" / "sbatch"
        shim.parent.mkdir()
        shim.write_text(SHIM.format(sbatch=shutil.which("sbatch"), late=late(folder)))
        shim.chmod(0o755)
        self.life = 1.0

    def run(self, trial: Trial) -> str:
        trial.proof.mkdir()
        trial.proof.chmod(0o777)
        if not trial.ssh:
            return self._launch(trial, "", "", "", lambda: None)
        proxy = Proxy(self.login.port)
        try:
            alias = f"HostKeyAlias [127.0.0.1]:{self.login.port}"
            config = str(self.login.config(alias, port=proxy.port))
            lines = "\n".join(f"export {k}={v!r}" for k, v in trial.env.items())
            return self._launch(trial, config, f"{self.login.user.home}/runs-{trial.number}", lines, proxy.cut)
        finally:
            proxy.close()

    def _launch(self, trial: Trial, config: str, job_dir: str, pre: str, cut: Callable[[], None]) -> str:
        env = processes.environment(trial.home, **trial.env)
        process = processes.start(self.script, trial.home, trial.title, str(trial.proof), config, job_dir, pre, env=env)
        try:
            moment = trial.fraction * self.life * 1.5
            if trial.fault == "launcher":
                time.sleep(moment)
                processes.end(process)
            else:
                if trial.fault == "cut":
                    for _ in range(3):
                        time.sleep(moment / 2)
                        cut()
                process.wait(SECONDS)
        finally:
            processes.end(process)
        if trial.fault == "controller":
            time.sleep(moment)
            for pid in processes.controllers(trial.home):
                processes.kill(pid)
        id = trial.recorded()
        if id:
            command = [sys.executable, "-m", "runyard", "experiment", "wait", id]
            done = subprocess.run(command, env=env, timeout=SECONDS, capture_output=True, text=True)
            assert done.returncode == 0, f"{trial}: {done.stdout}{done.stderr}"
        return "recorded" if id else "not recorded"

    def check(self, trial: Trial) -> None:
        ran = {p.name: processes.lines(p) for p in trial.proof.iterdir() if p.name != ".once"}
        wanted = {n: [n] for n in ("one", "two", "three")} if trial.recorded() else {}
        assert ran == wanted, f"{trial}: {ran}"


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="ryx-"))
    path.chmod(0o755)
    yield path
    processes.remove(path)


@pytest.mark.slow
def test_every_task_runs_once(
    folder: Path, cluster: Cluster, accounting_cluster: Cluster, login: Server, control: None
) -> None:
    """Whatever is killed, cut, lost or late: nothing is recorded and nothing ran, or each task ran once."""
    login.know(login.port)
    all_of_them = plan(folder, [cluster, accounting_cluster], TRIALS)
    trials = Trials(folder, login)
    began = time.monotonic()
    trials.run(Trial(-1, folder, cluster, "none", False, 0.0, 0.0))
    trials.life = min(2.0, time.monotonic() - began)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(trials.run, all_of_them))
    for home in {t.home for t in all_of_them}:
        processes.until(lambda home=home: not processes.controllers(home), "the end of all controllers", SECONDS)
    until_idle(folder, [cluster, accounting_cluster])
    for trial in all_of_them:
        trials.check(trial)
    print({what: outcomes.count(what) for what in set(outcomes)}, f"{time.monotonic() - began:.0f} s")
    assert outcomes.count("recorded") >= TRIALS * 0.6


def until_idle(folder: Path, clusters: list[Cluster]) -> None:
    """Wait until late submissions have come and gone."""

    def idle() -> bool:
        waiting = subprocess.run(["pgrep", "-f", late(folder)], capture_output=True).returncode == 0
        return not waiting and not any(c.command("squeue", "-h").stdout.strip() for c in clusters)

    processes.until(idle, "the end of all jobs", SECONDS)
