"""Secret arguments of functions on this machine: through attempts, in groups, in this process, and with reruns."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import runyard as run
from runyard.errors import ConfigError
from runyard.states import JobState
from runyard.testing.conformance import Harness

MODULE = """
import hashlib, os, pathlib, sys, time
seen = [name for name in os.environ if name.startswith("RUNYARD_ARG_")]

def prove(api_key, hf_token, shared, fails=False):
    assert not seen, "the module found it in the environment"
    attempt, shared = os.environ.get("RUNYARD_ATTEMPT", ""), pathlib.Path(shared)
    for value in (api_key, hf_token):
        print(value, hashlib.sha256(value.encode()).hexdigest(), flush=True)
    (shared / f"{hashlib.sha256(api_key.encode()).hexdigest()[:8]}.{attempt}").touch()
    while not (shared / "go").exists():
        time.sleep(0.02)
    sys.exit(3 if fails and attempt == "1" else 0)
"""
TYPED, OTHER, TAKEN = "hunter2hunter2", "correct-horse-battery", "hf_from_the_environment"


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "proving.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    monkeypatch.delitem(sys.modules, "proving", raising=False)
    monkeypatch.setenv("HERE_TOKEN", TAKEN)
    harness = Harness(run.LocalExecutor, tmp_path)
    yield harness
    harness.end_everything()


def task(harness: Harness, api_key: str, **more: object) -> run.Partial:
    from proving import prove  # type: ignore[import-not-found]

    return run.Partial(prove, api_key=api_key, hf_token=run.Secret("HERE_TOKEN"), shared=harness.shared, **more)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def holding(harness: Harness, *values: str) -> set[str]:
    """Return the files with a value, below the home; those that others can read, marked."""
    found = set()
    for path in harness.home.rglob("*"):
        with suppress(FileNotFoundError):  # its controller is at work: what is gone holds nothing any more
            if path.is_file() and any(value.encode() in path.read_bytes() for value in values):
                mark = " (open to others)" if stat.S_IMODE(path.stat().st_mode) & 0o077 else ""
                found.add(f"{path.relative_to(harness.home)}{mark}")
    return found


def test_they_are_in_the_secrets_file_alone_until_the_last_attempt_has_ended(harness: Harness) -> None:
    exp = harness.experiment(retries=1)
    exp.add(task(harness, TYPED, fails=True), name="single")
    exp.add([task(harness, TYPED), task(harness, OTHER)], harness.executor(), name="pair")
    shown = exp.dryrun(log=False)
    assert "RUNYARD_ARG_HERE_TOKEN=***" in shown
    exp.run(detach=True)
    reached = [f"{digest(TYPED)[:8]}.1", f"{digest(OTHER)[:8]}.1"]
    harness.until(lambda: all((harness.shared / name).exists() for name in reached), "the tasks' start")
    secrets = {f"secrets/{exp.id}/{name}" for name in ("single", "pair")}
    assert holding(harness, TYPED, OTHER, TAKEN) == secrets
    harness.go("go")
    assert harness.until_ended(exp.id) == dict.fromkeys(("single", "pair"), JobState.SUCCEEDED)
    harness.until(lambda: not (harness.home / "secrets" / exp.id).exists(), "the removal of the secrets")
    assert holding(harness, TYPED, OTHER, TAKEN) == set()
    assert not [value for value in (TYPED, OTHER, TAKEN) if value in shown]
    logs = {p.parent: p.read_text() for p in harness.home.rglob("attempts/*/**/log") if p.stat().st_size}
    assert len(logs) == 4, "two attempts of one task, one of each member of the group"
    for place, text in logs.items():
        given = OTHER if place.name.endswith("_1") else TYPED
        assert text == f"*** {digest(given)}\n*** {digest(TAKEN)}\n", place


def test_a_rerun_takes_them_anew(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.go("go")
    exp = harness.experiment()
    exp.add(task(harness, TYPED), name="train")
    exp.run()
    assert repr(harness.again(exp.id).tasks[0].hf_token) == "Secret('HERE_TOKEN')"
    before = {p.name for p in (harness.home / "experiments/conformance").iterdir()}
    with pytest.raises(ConfigError) as refused:
        harness.again(exp.id).reset().run()
    assert "train.api_key was not recorded" in str(refused.value)
    assert "export RUNYARD_ARG_train_api_key=" in str(refused.value)
    assert {p.name for p in (harness.home / "experiments/conformance").iterdir()} == before
    monkeypatch.setenv("RUNYARD_ARG_train_api_key", OTHER)
    monkeypatch.setenv("HERE_TOKEN", "hf_another_one")
    new = harness.again(exp.id).reset()
    new.clean_mode = True
    new.run()
    assert harness.text(new.id, "train") == f"*** {digest(OTHER)}\n*** {digest('hf_another_one')}\n"


def test_in_this_process_they_are_there_too(harness: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    harness.go("go")
    exp = harness.experiment()
    exp.add(task(harness, TYPED), name="train")
    with pytest.raises(SystemExit, match="0"):
        exp.run(direct=True)
    assert capsys.readouterr().out == f"{TYPED} {digest(TYPED)}\n{TAKEN} {digest(TAKEN)}\n"
    assert "RUNYARD_ARG_HERE_TOKEN" not in os.environ


def test_a_secret_that_stands_elsewhere_too_is_refused(harness: Harness) -> None:
    exp = harness.experiment()
    exp.add(task(harness, TYPED, fails=f"not with {TAKEN}"), name="train")
    with pytest.raises(ConfigError, match="the value of the secret HERE_TOKEN stands in an argument") as refused:
        exp.run()
    assert TAKEN not in str(refused.value)
    assert not list(harness.home.glob("experiments/*/*"))
