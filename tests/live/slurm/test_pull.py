"""Bringing results back from a real cluster: to another folder of its login node, and over ssh."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import runyard as run
from runyard.engine import pull
from runyard.errors import ConfigError
from runyard.executors.slurm import SlurmExecutor
from runyard.packagers import Packager
from runyard.store import records
from runyard.store.db import Database
from runyard.tunnels import LocalTunnel, SSHTunnel, Tunnel
from slurm_cluster import Cluster
from ssh_servers import Server

SECONDS = 60
HOSTILE = ["a b", "new\nline", "q'\"$(id)`", "\udcff\udcfe", "é", "-dash", "back\\nslash", "*", ".hidden"]
WRITE = r"""cd "$RUNYARD_OUTPUT_DIR"; mkdir d names
echo one > d/a; echo two > d/b; chmod 750 d/b; touch -d '2001-02-03 04:05:06.789' d/a
ln -s d/a last; ln -s "$PWD/d/b" whole; ln -s /etc/passwd out
cd names; for name in 'a b' 'new
line' 'q'\''"$(id)`' "$(printf '\377\376')" é -dash 'back\nslash' '*' .hidden; do printf x > "./$name"; done
"""


class Launched:
    """A task on the cluster that wrote files and goes on, until it is told to write more and to end."""

    def __init__(self, home: Path, tunnel: Tunnel, go: Path) -> None:
        self.go = go
        executor = SlurmExecutor(tunnel=tunnel, packager=Packager(), poll_seconds=0.2, time=5)
        self.exp = run.Experiment("pull", executor, base_dir=home, clean_mode=True, skip_status_at_exit=True)
        wait = f"until [ -e '{go}' ]; do sleep 0.05; done"
        more = "cd ../d; echo two+ > b; echo three > c; echo w > $RUNYARD_JOB_DIR/w"
        self.exp.add(run.Script(inline=f"{WRITE}\n{wait}\n{more}"), name="task")
        self.exp.run(detach=True)

    def pull(self, *patterns: str, **options: object) -> tuple[list[Path], int]:
        """Return what a pull returns, and how many files it brought."""
        with Database(self.exp.home) as db:
            (row,) = records.jobs(db, self.exp.id)
            done = pull.pull(db, row, list(patterns) or "**", **options)  # type: ignore[arg-type]
        return list(done.files), done.fetched

    def until_it_wrote(self) -> None:
        """Wait until all that it writes first is there."""
        deadline = time.monotonic() + SECONDS
        while sum(p.parent.name == "names" and p.stat().st_size == 1 for p in self.pull()[0]) < len(HOSTILE):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def end(self) -> None:
        self.go.touch()
        self.go.chmod(0o644)
        self.exp.wait(raise_on_failure=False)


@pytest.fixture
def launched(request: pytest.FixtureRequest, tmp_path: Path, cluster: Cluster) -> Iterator[Launched]:
    if request.param == "ssh":
        tunnel: Tunnel = request.getfixturevalue("over_ssh")
        go = Path(tunnel.job_dir).parent / "go"
    else:
        tunnel, go = LocalTunnel(job_dir=str(tmp_path / "elsewhere")), tmp_path / "go"
    made = Launched(tmp_path / "home", tunnel, go)
    yield made
    made.end()
    go.unlink()


@pytest.mark.parametrize("launched", ["local", "ssh"], indirect=True)
def test_a_task_is_pulled_from_while_it_runs_and_afterwards(launched: Launched, tmp_path: Path) -> None:
    exp = launched.exp
    launched.until_it_wrote()
    output = Path(exp.jobs[0].local_dir, "attempts/1/output")

    files, _ = launched.pull()
    assert files == sorted(output / p for p in ["d/a", "d/b", "last", "whole", *(f"names/{n}" for n in HOSTILE)])
    assert sorted(os.listdir(output / "names")) == sorted(HOSTILE)
    assert {(output / "names" / n).read_text() for n in HOSTILE} == {"x"}
    assert (os.readlink(output / "last"), os.readlink(output / "whole")) == ("d/a", "d/b")
    assert not os.path.lexists(output / "out"), "it would lead to a file of this machine"
    assert (output / "d/b").stat().st_mode & 0o777 == 0o750
    assert abs(time.mktime((2001, 2, 3, 4, 5, 6, 0, 0, -1)) + 0.789 - (output / "d/a").stat().st_mtime) < 1e-3
    assert launched.pull() == (files, 0), "nothing is brought twice"

    launched.end()
    after, brought = launched.pull()
    assert (len(after), brought) == (len(files) + 1, 2), "one file has changed, one is new"
    assert (output / "d/b").read_text() == "two+\n"
    assert exp.pull("task", "d/*") == [output / "d/a", output / "d/b", output / "d/c"]
    assert list(output.rglob(".ry-*")) == []

    copy = tmp_path / "copy"
    assert exp.pull("task", "last", into=copy) == [copy / "last"]
    assert (copy / "last").read_text() == "one\n", "a link that is named comes as what it leads to"
    with pytest.raises(ConfigError, match="did you mean names") as e:
        exp.pull("task", "nmaes/**")
    assert "working directory" in str(e.value)


@pytest.mark.parametrize("launched", ["ssh"], indirect=True)
def test_the_working_directory_over_ssh_in_one_session(launched: Launched, login: Server) -> None:
    launched.until_it_wrote()
    launched.end()
    own = Path(launched.exp.jobs[0].local_dir)
    sessions = login.sessions
    assert launched.pull("w") == ([own / "pulled" / "w"], 1)
    assert launched.pull("w", "*.sbatch") == ([own / "pulled" / "job.sbatch", own / "pulled" / "w"], 1)
    assert (own / "pulled" / "w").read_text() == "w\n"
    assert login.sessions == sessions, "the session that is there is used"


def test_a_folder_of_the_login_node_itself_needs_no_copy(tmp_path: Path, cluster: Cluster) -> None:
    """And the elements of an array have an output folder each."""
    executor = SlurmExecutor(packager=Packager(), poll_seconds=0.2, array="0-2")
    exp = run.Experiment("here", executor, base_dir=tmp_path, clean_mode=True, skip_status_at_exit=True)
    exp.add(run.Script(inline='echo $SLURM_ARRAY_TASK_ID > "$RUNYARD_OUTPUT_DIR/n"'), name="task")
    exp.run()
    attempts = Path(exp.jobs[0].local_dir, "attempts")
    assert exp.pull("task") == [attempts / f"1.{n}" / "output" / "n" for n in range(3)]
    copies = exp.pull("task", into=tmp_path / "copy")
    assert copies == [tmp_path / "copy" / f"1.{n}" / "n" for n in range(3)]
    assert [p.read_text() for p in copies] == ["0\n", "1\n", "2\n"]


def test_a_requeued_job_is_asked_for_its_newest_attempt(tmp_path: Path, over_ssh: SSHTunnel) -> None:
    """Also where the record does not know of it yet."""
    executor = SlurmExecutor(tunnel=over_ssh, packager=Packager(), poll_seconds=0.2, retries=1)
    exp = run.Experiment("again", executor, base_dir=tmp_path, clean_mode=True, skip_status_at_exit=True)
    inline = 'echo $RUNYARD_ATTEMPT > "$RUNYARD_OUTPUT_DIR/n"; [ $RUNYARD_ATTEMPT = 2 ]'
    exp.add(run.Script(inline=inline), name="task")
    exp.run()
    with Database(exp.home) as db:
        (row,) = records.jobs(db, exp.id)
        object.__setattr__(row.status, "attempt", 1)
        (path,) = pull.pull(db, row).files
    assert path == Path(exp.jobs[0].local_dir, "attempts/2/output/n")
    assert path.read_text() == "2\n"
    assert [p.read_text() for p in exp.pull("task", attempt=1)] == ["1\n"]
