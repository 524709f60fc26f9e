"""A project that holds everything the seed documents speak of, and nobody's settings."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import seed_files
from seed_blocks import git, write

sys.path.insert(0, str(Path(__file__).parent))  # the table of what happens to each block

from dispositions import IGNORED, PROJECT


@pytest.fixture(autouse=True)
def _documents() -> None:
    if why := seed_files.missing():
        pytest.skip(why)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder; records go to ``records`` in it."""
    top = tmp_path / "home"
    top.mkdir()
    monkeypatch.setenv("HOME", str(top))
    monkeypatch.setenv("RUNYARD_HOME", str(top / "records"))
    for name in ("NEMORUN_HOME", "XDG_CONFIG_HOME", "WANDB_API_KEY", "GIT_DIR", "RUNYARD_PROFILES"):
        monkeypatch.delenv(name, raising=False)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "T")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "t@example.org")
    return top


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with a branch ``feature/new-model``; generated files and data are ignored. Tests run in it."""
    top = tmp_path / "project"
    write(top, *PROJECT)
    (top / ".gitignore").write_text("".join(f"/{name}/\n" for name in IGNORED))
    git(top, "init", "-q", "-b", "main")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "first")
    git(top, "checkout", "-qb", "feature/new-model")
    write(top, "src/models/new_model.py")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "new model")
    git(top, "checkout", "-q", "main")
    monkeypatch.chdir(top)
    return top
