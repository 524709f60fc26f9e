"""A recipe on a real cluster, over ssh: its config is where the script reads it, and its exit code comes back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runyard.config import toml
from runyard.tunnels import SSHTunnel

TRAIN = """\
# /// script
# [tool.runspec]
# name = "nano/train"
# env = {FROM_BLOCK = "yes"}
#
# [tool.runspec.config]
# dir = "./config"
# default = "default"
#
# [tool.runspec.resources]
# nodes = 2
# ///
import os, sys
print("iters", open(sys.argv[2]).read().split(), os.environ["FROM_BLOCK"], os.environ["SLURM_NNODES"], sys.argv[3:])
sys.exit(3)
"""


@pytest.fixture
def folder(over_ssh: SSHTunnel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git project with a recipe and a profile."""
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    work = tmp_path / "work"
    (work / "config").mkdir(parents=True)
    monkeypatch.chdir(work)
    profile = {
        "executor": "slurm",
        "nodes": 2,
        "ntasks_per_node": 2,
        "tunnel": "ssh",
        "host": over_ssh.host,
        "user": over_ssh.user,
        "port": over_ssh.port,
        "identity": over_ssh.identity,
        "remote_job_dir": over_ssh.job_dir,
        "ssh_config": over_ssh.config,
        "pre_command": over_ssh.pre_command,
    }
    (work / "env.toml").write_text(toml.dumps({"cluster": {k: v for k, v in profile.items() if v is not None}}))
    (work / "train.py").write_text(TRAIN)
    (work / "config/default.yaml").write_text("iters: 10\n")
    (work / "config/tiny.yaml").write_text("defaults: default\nlr: 1e-4\n")
    subprocess.run(["git", "init", "-q"], check=True, timeout=20)
    return work


def test_a_recipe_over_ssh(folder: Path) -> None:
    words = [sys.executable, "-m", "runyard", "run", "train.py", "-c", "tiny", "--run", "cluster", "iters=5"]
    done = subprocess.run(
        [*words, "run.nodes=1", "run.time=00:05:00", "--", "x y"],
        capture_output=True, text=True, timeout=150, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout == "iters ['iters:', '5', 'lr:', '0.0001'] yes 1 ['x y']\n"
    (record,) = (folder.parent / "home").glob("experiments/nano-train/*/train/job.yaml")
    assert "run.time" in record.read_text()
