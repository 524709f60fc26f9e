"""What the page on code packaging says of a library and the user's own repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import runyard as run
from seed_blocks import git, shipped, write

pytestmark = pytest.mark.seeds
PACKAGER = {"package": "nemo_skills", "data_pattern": "nemo_skills/dataset/**/*.jsonl"}
LIBRARY = {"nemo_skills/__init__.py", "nemo_skills/dataset/gsm8k/test.jsonl", "nemo_skills/pipeline/cli.py"}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library, installed for this Python."""
    write(tmp_path / "site", *LIBRARY, "nemo_skills/heavy.bin")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def test_inside_the_library_its_repository_ships(
    tmp_path: Path, installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data that git ignores ships with it."""
    top = tmp_path / "NeMo-Skills"
    write(top, *LIBRARY, "docs/page.md")
    (top / ".gitignore").write_text("*.jsonl\n")
    git(top, "init", "-q")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "all")
    monkeypatch.chdir(top / "docs")
    assert shipped(run.ProjectPackager(**PACKAGER)) == LIBRARY | {"docs/page.md", ".gitignore"}


def test_inside_another_repository_both_ship(project: Path, installed: None) -> None:
    """Only tracked files shipped there; ours ships what is not tracked and not ignored, too."""
    write(project, "notes.txt")
    found = shipped(run.ProjectPackager(**PACKAGER))
    assert found is not None
    assert found >= LIBRARY | {"train.py", "notes.txt", "nemo_skills/heavy.bin"}
    assert not any(name.startswith("data/") for name in found)
    assert "notes.txt" not in (shipped(run.ProjectPackager(**PACKAGER, ref="HEAD")) or ())


def test_outside_any_repository_the_library_ships_alone(
    tmp_path: Path, installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nowhere").mkdir()
    monkeypatch.chdir(tmp_path / "nowhere")
    assert shipped(run.ProjectPackager(**PACKAGER)) == LIBRARY | {"nemo_skills/heavy.bin"}


def test_experiments_share_code_and_it_can_be_used_again_and_cleaned(project: Path, home: Path) -> None:
    """Experiments of one script share their code; ours share it whoever launches; and cleaning is there."""
    with run.Experiment("shared", executor=run.LocalExecutor(packager=run.GitArchivePackager())) as exp:
        for name in ("one", "two"):
            exp.add(run.Script(inline="pwd"), name=name)
        results = exp.run()
    assert len({result.log_path.read_text() for result in results.values()}) == 1
    (project / "train.py").write_text("# changed\n")
    words = [sys.executable, "-m", "runyard", "run", "--reuse-code", "shared", "-q", "--", "cat", "train.py"]
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout) == (0, "# train.py\n"), again.stderr
    cleaned = subprocess.run(
        [sys.executable, "-m", "runyard", "code", "gc"], capture_output=True, text=True, check=False
    )
    assert cleaned.returncode == 0, cleaned.stderr
