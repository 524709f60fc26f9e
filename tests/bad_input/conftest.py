"""A home folder of its own for every test, and a look at what a refused launch leaves behind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import processes
import runyard as run
from runyard.store import records
from runyard.store.db import Database


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = tmp_path / "home"
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("RUNYARD_HOME", str(home))
    monkeypatch.delenv("NEMORUN_HOME", raising=False)
    yield home
    processes.until(lambda: not processes.controllers(home), "the end of all controllers")


@pytest.fixture
def nothing_happens(home: Path) -> Callable[[], object]:
    """Give a context in which nothing may be recorded, started or left behind."""

    def seen() -> set[str]:
        return {str(p) for p in home.rglob("*") if "runyard.db" not in p.name and (p.is_file() or "draft" in p.name)}

    @contextmanager
    def watch() -> Iterator[None]:
        before = seen() if home.is_dir() else set()
        yield
        if home.is_dir():
            left = seen() - before
            assert not left, f"left behind: {left}"
            with Database(home) as db:
                assert not [e for e in records.experiments(db) if e.live]
        assert not processes.controllers(home)

    return watch


@pytest.fixture
def experiment() -> run.Experiment:
    return run.Experiment("bad-input", clean_mode=True, enable_goodbye_message=False, skip_status_at_exit=True)
