"""A recipe in a container: the image of its block, its config, and its exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from docker_engine import IMAGE, Engine

TRAIN = f"""\
# /// script
# [tool.runspec]
# name = "nano/train"
# image = "{IMAGE}"
#
# [tool.runspec.config]
# dir = "./config"
# default = "default"
# ///
import os, sys
print(os.path.exists("/.dockerenv"), sys.argv[1], open(sys.argv[2]).read().split())
sys.exit(3)
"""


@pytest.mark.parametrize("words", [["--executor", "docker"], ["--run", "box"]])
def test_a_recipe_in_a_container(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    work = tmp_path / "work"
    (work / "config").mkdir(parents=True)
    (work / "train.py").write_text(TRAIN)
    (work / "config/default.yaml").write_text("iters: 10\n")
    (work / "env.toml").write_text('[box]\nexecutor = "docker"\n')
    subprocess.run(["git", "init", "-q"], cwd=work, check=True, timeout=60)
    done = subprocess.run(
        [sys.executable, "-m", "runyard", "run", "train.py", "iters=5", "run.network=none", *words],
        cwd=work, capture_output=True, text=True, timeout=200, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout == "True --config ['iters:', '5']\n"
