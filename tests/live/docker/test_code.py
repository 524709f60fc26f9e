"""Whatever packager takes the code: it runs in a container as it is on disk."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import runyard as run
from docker_engine import IMAGE, Engine
from runyard.packagers import Packager


@pytest.fixture(autouse=True)
def work(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    subprocess.run(["git", "init", "-q", "."], check=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "tool"\nversion = "1"\n')
    (folder / "tool.py").write_text("print('from the tree')\n")
    return folder


@pytest.mark.parametrize(
    "packager",
    [
        run.GitArchivePackager(),
        run.PatternPackager(include_pattern="*.py", relative_path="."),
        run.HybridPackager(sub_packagers={"": run.GitArchivePackager()}),
        Packager(),
    ],
    ids=lambda p: type(p).__name__,
)
def test_packager(packager: Packager, work: Path) -> None:
    executor = run.DockerExecutor(container_image=IMAGE, packager=packager, network="none")
    done = run.run(run.Script("tool.py", entrypoint="python"), executor, name="task", tail_logs=False)
    assert done is not None
    assert done.log_path.read_text() == "from the tree\n"


def test_ft_launcher(work: Path) -> None:
    """What the launcher starts is a stand-in in the code: the container gets its options, and the task after them."""
    (work / "ft_launcher").write_text('#!/bin/sh\necho "ft_launcher $*"\n')
    (work / "ft_launcher").chmod(0o755)
    executor = run.DockerExecutor(
        container_image=IMAGE,
        network="none",
        launcher="ft",
        ntasks_per_node=2,
        setup_lines='export PATH="$PWD:$PATH"',
    )
    done = run.run(run.Script("tool.py", entrypoint="python"), executor, name="task", tail_logs=False)
    assert done is not None
    log = done.log_path.read_text()
    assert log.startswith("ft_launcher ")
    assert "--nproc-per-node=2" in log.replace("_", "-")
    assert "tool.py" in log
