"""Scripts as people write them: without a guard, with arguments read at the top, launching what they define."""

import subprocess
import sys

import pytest

from runyard.store import records
from runyard.store.db import Database

UNGUARDED = """
import argparse
import runyard as run
parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, required=True)
parser.add_argument("--token")
args = parser.parse_args()
print("top", flush=True)
def task():
    print("n is", args.n, "token is", args.token)
run.run(run.Partial(task), executor=run.LocalExecutor(env_vars={"HF_TOKEN": "supersecretvalue"}))
print("after the launch")
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def launch(folder, text, *args, code=0):
    script = folder / "launch.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, str(script), *args], capture_output=True, text=True, timeout=120, cwd=folder, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def test_a_script_without_guard_launches_once_and_sees_its_arguments(tmp_path, home):
    out = launch(tmp_path, UNGUARDED, "--n", "3", "--token", "supersecretvalue")
    assert out.splitlines() == ["top", "top", "n is 3 token is ***", "after the launch"]
    with Database(home) as db:
        assert records.count(db) == 1
    found = [p for p in home.rglob("*") if p.is_file() and b"supersecretvalue" in p.read_bytes()]
    assert found == [], "a secret given as an argument of the launching script is stored"


def test_a_task_that_launches_itself_is_stopped(tmp_path, home):
    text = """
import runyard as run
def task():
    run.run(run.Partial(task), tail_logs=False)
if __name__ == "__main__":
    r = run.run(run.Partial(task), raise_on_failure=False)
    print("state", r.status)
"""
    assert "state FAILED" in launch(tmp_path, text)
    with Database(home) as db:
        assert records.count(db) == 5
    logs = "".join(p.read_text() for p in home.rglob("attempts/1/log"))
    assert "does the task launch itself?" in logs
