"""Real git repositories in a temporary folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


class GitRepo:
    """A repository to play with."""

    def __init__(self, path: Path, *init: str) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main", *init)

    def git(self, *args: str) -> str:
        done = subprocess.run(["git", *args], cwd=self.path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, name: str, text: str | bytes = "x\n", mode: int | None = None) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        if mode is not None:
            path.chmod(mode)
        return path

    def commit(self, message: str = "c") -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("RUNYARD_HOME", str(top / "records"))
    monkeypatch.setenv("HOME", str(top))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "T")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "t@example.org")
    # Submodules from local folders are refused by default since git 2.38.
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.file.allow")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "always")
    for name in [n for n in os.environ if n in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")]:
        monkeypatch.delenv(name)


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    """A repository with two commits, one of them tagged."""
    made = GitRepo(tmp_path / "repo")
    made.write("train.py", "print(1)\n")
    made.write("src/lib/a.py", "A = 1\n")
    made.write("run.sh", "#!/bin/sh\n", 0o755)
    made.write(".gitignore", "*.log\nout/\n")
    made.commit("first")
    made.git("tag", "v1")
    made.write("train.py", "print(2)\n")
    made.commit("second")
    return made


def paths(snapshot: object) -> list[str]:
    return [entry.path for entry in snapshot]  # type: ignore[attr-defined]
