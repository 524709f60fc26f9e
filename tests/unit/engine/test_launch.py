"""A launch that is interrupted at an exact step of its code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

import runyard as run
from runyard.states import JobState
from runyard.store import records
from runyard.testing.conformance import Harness


@contextmanager
def interrupted(event: str, code: object) -> Iterator[None]:
    """Press Ctrl-C when a function is called, or returns."""

    def watch(frame: FrameType, seen: str, arg: object) -> None:
        if seen == event and frame.f_code is code:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(None)


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    monkeypatch.chdir(tmp_path)
    made = Harness(run.LocalExecutor, tmp_path)
    yield made
    made.end_everything()


def experiment(harness: Harness) -> run.Experiment:
    exp = harness.experiment(env_vars={"HF_TOKEN": "a-secret-value"})
    exp.add(harness.writes("${#HF_TOKEN}", "proof"), name="task")
    return exp


def test_before_the_record_nothing_has_happened(harness: Harness) -> None:
    with pytest.raises(KeyboardInterrupt), interrupted("call", records.create.__code__):
        experiment(harness).run(detach=True)
    assert run.Experiment.catalog(base_dir=harness.home) == []
    assert not list(harness.home.glob("experiments/*/*"))
    assert not list(harness.home.glob("secrets/*"))


def test_after_the_record_it_goes_on(harness: Harness) -> None:
    """The commit may take long, and an interrupt is heard when it is over: what is recorded has all it needs."""
    with pytest.raises(KeyboardInterrupt), interrupted("return", records.create.__code__):
        experiment(harness).run(detach=True)
    (id,) = run.Experiment.catalog(base_dir=harness.home)
    assert harness.until_ended(id) == {"task": JobState.SUCCEEDED}
    assert harness.lines("proof") == ["14"]
