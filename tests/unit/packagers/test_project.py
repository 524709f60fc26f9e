"""ProjectPackager: the three rules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runyard.errors import ConfigError, PackagingError
from runyard.packagers.project import ProjectPackager

from .conftest import GitRepo, paths


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "site"
    for name in (
        "my_lib/__init__.py",
        "my_lib/sub/m.py",
        "my_lib/dataset/d.jsonl",
        "my_lib/__pycache__/x.pyc",
        "one.py",
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("raise SystemExit('must not be imported')\n")
    monkeypatch.syspath_prepend(str(place))
    return place


ALL = ["my_lib/__init__.py", "my_lib/dataset/d.jsonl", "my_lib/sub/m.py"]


def test_outside_any_repository(installed: Path, tmp_path: Path) -> None:
    assert paths(ProjectPackager(package="my_lib").snapshot(tmp_path)) == ALL
    assert "my_lib" not in sys.modules
    assert paths(ProjectPackager(package="my_lib", exclude_pattern="*.jsonl").snapshot(tmp_path)) == [ALL[0], ALL[2]]


def test_inside_another_repository(installed: Path, repo: GitRepo) -> None:
    snapshot = ProjectPackager(package="my_lib").snapshot(repo.path / "src")
    assert paths(snapshot) == sorted([".gitignore", "run.sh", "src/lib/a.py", "train.py", *ALL])
    assert snapshot is not None
    assert snapshot.info.commit == repo.git("rev-parse", "HEAD")


@pytest.mark.parametrize("home", ["", "src/"])
def test_inside_its_own_repository(installed: Path, tmp_path: Path, home: str) -> None:
    own = GitRepo(tmp_path / "own")
    own.write(f"{home}my_lib/__init__.py", "# own\n")
    own.write(f"{home}my_lib/dataset/local.jsonl", "{}")
    own.write(".gitignore", "*.jsonl\n")
    own.commit()
    plain = ProjectPackager(package="my_lib").snapshot(own.path)
    assert paths(plain) == [".gitignore", f"{home}my_lib/__init__.py"]
    with_data = ProjectPackager(package="my_lib", data_pattern="my_lib/dataset/**/*.jsonl my_lib/none/*").snapshot(
        own.path
    )
    assert f"{home}my_lib/dataset/local.jsonl" in paths(with_data)


def test_a_single_module(installed: Path, tmp_path: Path) -> None:
    assert paths(ProjectPackager(package="one").snapshot(tmp_path)) == ["one.py"]


def test_not_installed(tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match="package 'no_such_lib' is not installed") as caught:
        ProjectPackager(package="no_such_lib").snapshot(tmp_path)
    assert "pip install" in caught.value.hint


def test_package_must_be_a_name() -> None:
    with pytest.raises(ConfigError, match=r"package='a\.b'"):
        ProjectPackager(package="a.b")


def test_explain(installed: Path, repo: GitRepo) -> None:
    packager = ProjectPackager(package="my_lib")
    assert "installed package" in packager.explain(installed / "my_lib/sub/m.py", repo.path)
    assert "git repository" in packager.explain(repo.path / "train.py", repo.path)
    repo.write("x.log")
    assert "ignored by" in packager.explain(repo.path / "x.log", repo.path)


def test_the_base_packager_is_cheap_to_import() -> None:
    code = (
        "import sys; import dataclasses, importlib; before = set(sys.modules); import runyard.packagers.base; "
        "new = set(sys.modules) - before; print(*sorted(new & {'sqlite3', 'hashlib', 'subprocess', 'zlib'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
