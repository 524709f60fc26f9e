"""Allocations to work in."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from runyard.errors import SubmitError
from runyard.executors.slurm import SlurmExecutor
from runyard.tunnels import SSHTunnel
from slurm_cluster import Cluster


def test_commands_share_an_allocation(cluster: Cluster) -> None:
    """``srun`` makes an allocation where there is none, and uses it again."""
    executor = SlurmExecutor(nodes=2, time=5, env_vars={"COLOUR": "it's blue"}, comment='two "words"')
    done = executor.srun('echo "$SLURM_JOB_ID $COLOUR"; exit 0', hide=True)
    assert done.ok, done.stderr
    first, second = sorted(done.stdout.splitlines())
    number, colour = first.split(" ", 1)
    assert (first, colour) == (second, "it's blue")
    assert executor.alloc() == number
    assert 'Comment=two "words"' in cluster.command("scontrol", "show", "job", number).stdout
    assert executor.srun("exit 3", hide=True).exited == 3
    assert executor.alloc("another") != number


def test_a_shell_in_the_terminal(cluster: Cluster) -> None:
    """``bash`` gives the terminal to a shell on a node."""
    program = "import runyard as run, sys; sys.exit(run.SlurmExecutor(time=5).bash('shell'))"
    parent, child = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", program], stdin=child, stdout=child, stderr=child)
    os.close(child)
    try:
        os.write(parent, b"echo job-$SLURM_JOB_ID-$((40 + 2)); exit 7\n")
        said = b""
        while True:
            try:
                data = os.read(parent, 4096)
            except OSError:
                break
            if not data:
                break
            said += data
        assert process.wait(60) == 7, said
        assert b"-42" in said
    finally:
        process.kill()
        process.wait()
        os.close(parent)


def test_over_ssh(over_ssh: SSHTunnel, capfd: pytest.CaptureFixture[str]) -> None:
    executor = SlurmExecutor(time=5, tunnel=over_ssh)
    assert executor.srun("echo $((40 + 2))").stdout == "42\n"
    assert over_ssh.attach("echo attached; exit 5") == 5
    assert "attached" in capfd.readouterr().out


def test_what_slurm_refuses(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(SubmitError, match=r"partition"):
        SlurmExecutor(partition="nope").alloc()
