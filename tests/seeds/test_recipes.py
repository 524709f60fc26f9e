"""The commands of document 004 on recipes, executed with ``--dry-run`` on a program that has the recipes they name."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import seed_files
from seed_blocks import git, write

pytestmark = pytest.mark.seeds

PRETRAIN = """\
# /// script
# [tool.runspec]
# name = "nano3/pretrain"
# image = "a/image"
# run.launch = "torchrun"
# config.dir = "config"
# config.default = "default"
# ///
"""
PROGRAM = """\
import runyard as run

app = run.cli.App("nemotron")
app.group("nano3").recipe("recipes/pretrain.py")
app()
"""


@pytest.fixture
def program(project: Path) -> Path:
    """The project, with the program ``nemotron`` and the profiles that the document begins with."""
    write(project, "nemotron.py", "recipes/pretrain.py", "recipes/config/default.yaml", "recipes/config/tiny.yaml")
    (project / "nemotron.py").write_text(PROGRAM)
    (project / "recipes/pretrain.py").write_text(PRETRAIN)
    (project / "recipes/config/default.yaml").write_text("train: {train_iters: 100}\n")
    (project / "recipes/config/tiny.yaml").write_text("defaults: default\ntrain: {train_iters: 2}\n")
    (project / "env.toml").write_text(seed_files.block("004", 3).text)
    git(project, "add", "-A")
    return project


def dry_run(command: str) -> str:
    """Return what a command of the document would submit."""
    uv, run, name, *words = shlex.split(command)
    assert (uv, run, name) == ("uv", "run", "nemotron")
    words += ["--dry-run"] if "--dry-run" not in words else []
    words = [sys.executable, "nemotron.py", *words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def lines_of(number: int) -> list[str]:
    return [line for line in seed_files.block("004", number).text.splitlines() if line.startswith("uv run ")]


def test_the_quick_start_of_recipes(program: Path) -> None:
    attached, detached, preview = (dry_run(line) for line in lines_of(2))
    assert [line.rpartition(" ")[0].split()[-1] for line in lines_of(2)[:2]] == ["--run", "--batch"]
    for text in (attached, detached, preview):
        assert "#SBATCH --nodes=2\n" in text
        assert "#SBATCH --account=YOUR-ACCOUNT\n" in text
        assert "train_iters: 2\n" in text, "of the config tiny"
        assert "/lustre:/lustre" in text
        assert "torchrun" in text or "torch.distributed.run" in text
    assert not (program.parent / "home" / "records").exists(), "a dry run writes nothing"


def test_a_recipe_uses_its_profile(program: Path) -> None:
    text = dry_run(seed_files.commands("004")[83, 1])
    assert "#SBATCH --partition=batch\n" in text
    assert "#SBATCH --gpus-per-node=8\n" in text
    assert "train_iters: 100\n" in text, "of the config that is used when none is named"


def test_overrides_of_recipes(program: Path) -> None:
    iterations, nodes = (dry_run(line) for line in lines_of(13))
    assert "train_iters: 5000\n" in iterations
    assert "#SBATCH --nodes=2\n" in iterations
    assert "train_iters: 100\n" in nodes
    assert "#SBATCH --nodes=8\n" in nodes


def test_the_defaults_of_recipes(program: Path) -> None:
    """The reference's defaults that hold for recipes only: a time limit, and processes on a node."""
    rows = {row["Field"]: row["Default"] for row in seed_files.table("004", "Field")}
    (program / "env.toml").write_text('[plain]\nexecutor = "slurm"\n')
    text = dry_run("uv run nemotron nano3 pretrain --run plain")
    assert f"#SBATCH --time={rows['time'].strip(chr(34))}\n" in text
    assert f"--nproc-per-node={rows['nproc_per_node']}" in text.replace("nproc_per_node", "nproc-per-node")
