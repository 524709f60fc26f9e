"""A profile leads to a real cluster, over ssh: checked, run attached, and refused before anything is submitted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runyard.config import toml
from runyard.tunnels import SSHTunnel


@pytest.fixture
def folder(over_ssh: SSHTunnel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with profiles, and a home of its own."""
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    cluster = {
        "executor": "slurm",
        "packager": "none",
        "nodes": 1,
        "ntasks_per_node": 2,
        "time": "00:05:00",
        "tunnel": "ssh",
        "host": over_ssh.host,
        "user": over_ssh.user,
        "port": over_ssh.port,
        "identity": over_ssh.identity,
        "remote_job_dir": over_ssh.job_dir,
        "ssh_config": over_ssh.config,
        "pre_command": over_ssh.pre_command,
    }
    own = {"cluster": {k: v for k, v in cluster.items() if v is not None}}
    (tmp_path / "env.toml").write_text(
        toml.dumps(own | {"here": {}, "gone": {"extends": "cluster", "partition": "no-such"}})
    )
    return tmp_path


def runyard(*args: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "runyard", *args]
    return subprocess.run(words, capture_output=True, text=True, timeout=100, check=False, stdin=subprocess.DEVNULL)


def test_a_profile_over_ssh(folder: Path) -> None:
    done = runyard("profile", "check", "cluster")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a job could run" in done.stdout
    assert not (folder / "home" / "experiments").exists()

    done = runyard("profile", "check", "gone")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "partition" in done.stdout

    done = runyard("run", "--run", "cluster", "run.env.SEED=7", "--", "bash", "-c", "echo seed $SEED; exit 3")
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout.count("seed 7") == 1


def test_code_stored_on_a_cluster_is_shown_checked_and_cleaned(folder: Path, over_ssh: SSHTunnel) -> None:
    (folder / "project").mkdir()
    (folder / "project" / "data.txt").write_text("0123456789" * 100)
    root = Path(str(over_ssh.job_dir))
    done = runyard(
        "run",
        "--run",
        "cluster",
        "run.packager=pattern",
        "run.packager_include_pattern=project/*",
        "--quiet",
        "--",
        "cat",
        "project/data.txt",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (stored,) = [p for p in (root / "objects").rglob("*") if p.is_file()]
    assert stored.stat().st_nlink == 2, "the object, and its name in the code tree"

    done = runyard("code", "ls", "--profile", "cluster", "--json")
    assert json.loads(done.stdout) == {
        "place": f"{over_ssh.name}:{root}",
        "objects": 1,
        "bytes": 1000,
        "unused_objects": 0,
        "unused_bytes": 0,
    }
    stored.chmod(0o600)
    stored.write_text("damaged")
    done = runyard("code", "verify", "--profile", "cluster")
    assert (done.returncode, stored.name in done.stdout) == (1, True), done.stdout + done.stderr
    stored.write_text("0123456789" * 100)
    assert runyard("code", "verify", "--profile", "cluster").returncode == 0

    done = runyard("code", "gc", "--profile", "cluster", "--older-than", "1s", "--dry-run")
    assert "would remove 1 code tree" in done.stderr, done.stderr
    done = runyard("code", "gc", "--profile", "cluster", "--older-than", "1s")
    assert done.returncode == 0, done.stderr
    assert not list(root.glob("experiments/*/*/code/*"))
    assert list(root.glob("experiments/*/*/*/attempts/1/log")), "logs and outputs stay"
    assert stored.exists(), "what was sent within the hour stays: another launch may be about to link it"

    done = runyard("code", "gc", "--profile", "cluster", "--max-size", "1kB")
    assert (done.returncode, "--older-than" in done.stderr) == (2, True)
    done = runyard("code", "gc", "--profile", "here")
    assert (done.returncode, "leave --profile out" in done.stderr) == (2, True)
