"""What the fields of the executor do on a real cluster, as its jobs and ``scontrol`` see it.

Not shown here, because this cluster cannot: ``constraint`` (its nodes have no features), ``qos`` and ``account`` (see
``test_bad_input.py``), ``segment`` and ``network`` (no such topology), ``cpus_per_gpu``, ``mem_per_gpu``,
``gpus_per_task`` (no real GPUs), ``container_runtime="apptainer"`` (there is none), and that a ``signal`` comes
(up to half a minute late).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runyard as run
from runyard.backends.slurm import options
from runyard.executors.macros import ExecutorMacros
from runyard.executors.slurm import SlurmExecutor, SlurmJobDetails
from runyard.packagers import Packager
from runyard.shell import Raw
from runyard.states import JobState
from runyard.store import records
from runyard.store.db import Database
from slurm_cluster import Cluster

HOSTILE = [
    "a b  c",
    'it\'s "quoted"',
    "; touch injected; #",
    "$(touch injected) `touch injected` $HOME",
    "back\\slash\\",
    "a,b=c:d%e@f",
    "ünïcode — 日本語",
]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the launch, and a home of its own."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    return folder


def slurm(**fields: Any) -> SlurmExecutor:
    return SlurmExecutor(**{"packager": Packager(), "poll_seconds": 0.2, "time": 5, **fields})


class Launched:
    """Tasks of one experiment that have ended: their results, logs, and what ``scontrol`` said of their jobs."""

    def __init__(self, exp: run.Experiment, home: Path) -> None:
        self.id = exp.id
        self.results = exp.run(raise_on_failure=False)
        with Database(home) as db:
            self.rows = {row.name: row for row in records.jobs(db, exp.id)}

    def folder(self, task: str) -> Path:
        return Path(str(self.rows[task].request["folder"]))

    def number(self, task: str) -> str:
        return str((self.rows[task].handle or ("", "", ""))[2]).partition("|")[0]

    def log(self, task: str, member: str = "", name: str = "log") -> str:
        return (self.folder(task) / "attempts" / "1" / member / name).read_text()

    def ok(self, *tasks: str) -> None:
        for task in tasks or self.results:
            result = self.results[task]
            assert result.ok, f"{task}: {result.reason}\n{self.everything(task)}"

    def everything(self, task: str) -> str:
        logs = [*self.folder(task).glob("attempts/**/log"), *self.folder(task).glob("slurm.log")]
        return "".join(f"{p}:\n{p.read_text(errors='replace')}\n" for p in logs)


@pytest.fixture
def launched(work: Path, cluster: Cluster) -> Callable[..., Launched]:
    def launch(*tasks: tuple[str, Any, Any]) -> Launched:
        exp = run.Experiment("fields", clean_mode=True, enable_goodbye_message=False, skip_status_at_exit=True)
        for name, task, executor in tasks:
            exp.add(task, executor, name=name)
        return Launched(exp, work.parent / "home")

    return launch


def job_facts(cluster: Cluster, number: str) -> dict[str, str]:
    text = cluster.command("scontrol", "show", "job", "-o", number).stdout.splitlines()[0]
    found = re.findall(r"(?:^| )([A-Za-z/:]+)=(.*?)(?= [A-Za-z/:]+=|$)", text)
    return {name: value.rstrip() for name, value in found}


def env_of(text: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in text.split("\0") if "=" in line)


def test_resources(launched: Callable[..., Launched], cluster: Cluster, work: Path) -> None:
    prints = run.Script(inline="env -0")
    comment = " ".join(HOSTILE)
    got = launched(
        (
            "many",
            run.Script(inline='echo "rank $SLURM_PROCID of $SLURM_NTASKS on node $SLURM_NODEID"'),
            slurm(nodes=2, ntasks_per_node=2, cpus_per_task=3, mem="100M", partition="other"),
        ),
        (
            "one",
            prints,
            slurm(
                gpus_per_node=2,
                exclude=["n1", "n3"],
                comment=comment,
                job_name_prefix="it's my $(team), ",
                signal="B:USR1@45",
                time="00:03:00",
                exclusive=True,
                additional_parameters={"nice": 7, "spread_job": True, "hint": None, "W": None, "contiguous": False},
                setup_lines="export FROM_SETUP='a b'\nshopt -s extglob",
                srun_args=["--cpu-bind=none"],
                env_vars={f"V{i}": text for i, text in enumerate([*HOSTILE, "two\nlines"])},
            ),
        ),
        ("none", run.Script(inline="env -0"), slurm(additional_parameters={"export": "NONE"}, env_vars={"A": "1"})),
        ("memory", run.Script(inline="sleep 0.3"), slurm(memory_measure=True, mem_per_cpu=50, gres=["gpu:1"])),
        ("requeue", run.Script(inline="true"), slurm(retries=1, open_mode="truncate", dependency_type="singleton")),
    )
    got.ok()
    lines = got.log("many").splitlines()
    assert sorted(lines) == [f"{r}: rank {r} of 4 on node {r // 2}" for r in range(4)]
    facts = job_facts(cluster, got.number("many"))
    assert (facts["Partition"], facts["NumNodes"], facts["NumTasks"], facts["CPUs/Task"]) == ("other", "2", "4", "3")
    assert facts["MinMemoryNode"] == "100M"

    facts = job_facts(cluster, got.number("one"))
    assert facts["Comment"] == comment
    assert facts["JobName"] == f"it's my $(team), {got.id}.one"
    assert (facts["NodeList"], facts["ExcNodeList"]) == ("n2", "n[1,3]")
    assert (facts["TimeLimit"], facts["OverSubscribe"], facts["Nice"]) == ("00:03:00", "NO", "7")
    assert facts["Requeue"] == "0"
    env = env_of(got.log("one"))
    assert env["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert env["FROM_SETUP"] == "a b"
    assert [env[f"V{i}"] for i in range(len(HOSTILE) + 1)] == [*HOSTILE, "two\nlines"]

    env = env_of(got.log("none"))
    assert (env["A"], env["RUNYARD_TASK"]) == ("1", "none")

    head, *samples = (got.folder("memory") / "attempts/1/output/memory.csv").read_text().splitlines()
    assert head == "time,used_kb,available_kb"
    assert samples
    assert all(re.fullmatch(r"\d{10},\d+,\d+", s) for s in samples)
    facts = job_facts(cluster, got.number("memory"))
    assert facts["MinMemoryCPU"] == "50M"
    assert "gpu:1" in facts["TresPerNode"]

    facts = job_facts(cluster, got.number("requeue"))
    assert (facts["Requeue"], facts["Dependency"]) == ("1", "(null)")
    assert not list(work.glob("*injected*"))
    assert not list(got.folder("one").glob("*injected*"))


def test_containers(launched: Callable[..., Launched], work: Path) -> None:
    image = work / "my image, 1.sqsh"
    image.touch()
    prints = run.Script(inline="env -0")
    got = launched(
        (
            "full",
            prints,
            slurm(
                container_image=str(image),
                container_mounts=[f"{work}:/data dir:ro", "~/:/h"],
                container_env=["PATH", "X"],
                container_workdir=str(work),
            ),
        ),
        ("default", prints, slurm(container_image="nvcr.io/a/b:1", env_vars={"X": "1"})),
        ("bare", prints, slurm()),
    )
    got.ok()
    env = env_of(got.log("full"))
    assert env["STUB_PYXIS_IMAGE"] == str(image)
    mounts = env["STUB_PYXIS_MOUNTS"].split(",")
    assert mounts[-2:] == [f"{work}:/data dir:ro", f"{Path.home()}/:/h"]
    assert f"{got.folder('full').parent}:{got.folder('full').parent}" in mounts
    assert (env["STUB_PYXIS_ENV"], env["STUB_PYXIS_WORKDIR"]) == ("PATH,X", str(work))
    assert env["STUB_PYXIS_NO_MOUNT_HOME"] == "1"
    env = env_of(got.log("default"))
    assert f"{work}:{work}" in env["STUB_PYXIS_MOUNTS"].split(",")
    assert "X" in env["STUB_PYXIS_ENV"].split(",")
    assert "RUNYARD_OUTPUT_DIR" in env["STUB_PYXIS_ENV"].split(",")
    assert env["STUB_PYXIS_WORKDIR"] == str(work)
    assert not [name for name in env_of(got.log("bare")) if name.startswith("STUB_PYXIS")]


def test_groups(launched: Callable[..., Launched], work: Path) -> None:
    """In one allocation, and as components of a heterogeneous job; members run at the same time."""

    def meets(name: str, other: str) -> str:
        return (
            f'if [ "$SLURM_PROCID" = 0 ]; then touch {work}/{name}; fi\n'
            f"i=0; while [ ! -e {work}/{other} ]; do sleep 0.05; i=$((i+1)); [ $i -lt 400 ] || exit 9; done\n"
            'echo "$SLURMD_NODENAME $SLURM_JOB_ID [$STUB_PYXIS_IMAGE] $WHO $@"\n'
        )

    def members(one: str, two: str) -> list[run.Script]:
        args = [ExecutorMacros.group_host(0), ExecutorMacros.group_host(1)]
        return [
            run.Script(inline=meets(one, two), entrypoint="bash", args=args),
            run.Script(inline=meets(two, one), entrypoint="sh", args=args),
        ]

    shown = Raw("$SLURM_MASTER_NODE_HET_GROUP_0/$SLURM_MASTER_NODE_HET_GROUP_1")
    got = launched(
        (
            "together",
            members("a", "b"),
            [
                slurm(nodes=2, env_vars={"WHO": "server"}, container_image="x/y:1"),
                slurm(env_vars={"WHO": "client"}),
            ],
        ),
        (
            "apart",
            members("c", "d"),
            [
                slurm(
                    heterogeneous=True, nodes=2, additional_parameters={"nodelist": "n[1-2]"}, env_vars={"WHO": shown}
                ),
                slurm(additional_parameters={"nodelist": "n3"}, env_vars={"WHO": shown}, gpus_per_node=1),
            ],
        ),
        (
            "shared",
            members("e", "f"),
            [slurm(heterogeneous=True, het_group_indices=[0, 0]), slurm()],
        ),
    )
    got.ok()
    one, two = got.log("together", "bash"), got.log("together", "sh")
    nodes = [line.split()[1] for line in sorted(one.splitlines())]
    assert len(set(nodes)) == 2
    assert all("[x/y:1] server" in line for line in one.splitlines())
    assert "[] client" in two
    assert two.split()[1] == one.split()[2]
    assert one.split()[-2:] == [nodes[0], nodes[0]]

    one, two = got.log("apart", "bash"), got.log("apart", "sh")
    assert sorted(line.split()[1] for line in one.splitlines()) == ["n1", "n2"]
    assert two.split()[0] == "n3"
    for line in (*one.splitlines(), *two.splitlines()):
        assert line.endswith("n1/n3 n1 n3"), line


def test_a_failing_member_of_a_heterogeneous_job_fails_it(launched: Callable[..., Launched]) -> None:
    got = launched(
        (
            "pair",
            [run.Script(inline="sleep 100"), run.Script(inline="exit 5")],
            [slurm(heterogeneous=True), slurm()],
        ),
        ("ranks", run.Script(inline="[ $SLURM_PROCID != 2 ] || exit 6; sleep 100"), slurm(nodes=3)),
    )
    assert (got.results["pair"].status, got.results["pair"].exit_code) == (JobState.FAILED, 5)
    assert (got.results["ranks"].status, got.results["ranks"].exit_code) == (JobState.FAILED, 6)
    assert "task 2: Exited with exit code 6" in got.log("ranks")
    assert got.results["pair"].seconds is not None
    assert got.results["pair"].seconds < 20


class Site(SlurmJobDetails):
    stdout = property(lambda self: f"{self.folder}/%j.out")
    srun_stdout = property(lambda self: f"{self.folder}/%j-%t.txt")


def test_files(launched: Callable[..., Launched], work: Path, cluster: Cluster) -> None:
    talks = run.Script(inline='echo "out $SLURM_PROCID"; echo "err $SLURM_PROCID" >&2')
    got = launched(
        ("apart", talks, slurm(stderr_to_stdout=False)),
        ("ranks", talks, slurm(stderr_to_stdout=False, ntasks_per_node=2)),
        ("site", talks, slurm(job_details=Site("mine", str(work)))),
        ("array", run.Script(inline='echo "element $SLURM_ARRAY_TASK_ID"'), slurm(array="2-6:2%2")),
    )
    got.ok()
    assert (got.log("apart"), got.log("apart", name="err")) == ("out 0\n", "err 0\n")
    assert sorted(got.log("ranks").splitlines()) == ["0: out 0", "1: out 1"]
    assert sorted(got.log("ranks", name="err").splitlines()) == ["0: err 0", "1: err 1"]
    number = got.number("site")
    assert (work / f"{number}-0.txt").read_text() == "out 0\nerr 0\n"
    facts = job_facts(cluster, number)
    assert (facts["JobName"], facts["StdOut"]) == (f"mine.{got.id}.site", f"{work}/{number}.out")
    for i in (2, 4, 6):
        assert (got.folder("array") / f"attempts/1.{i}/log").read_text() == f"element {i}\n"

    def logs(*words: str) -> str:
        command = [sys.executable, "-m", "runyard", "experiment", "logs", got.id, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert sorted(logs("ranks", "--rank", "1").split()) == ["1", "1", "err", "out"]
    assert "out 0" in logs("apart")
    assert "err 0" in logs("apart")


def test_arguments_survive(launched: Callable[..., Launched], work: Path) -> None:
    texts = [*HOSTILE, "", "two\nlines", "-n", "*"]
    task = run.Script(inline="printf '%s\\0' \"$@\"", args=[*texts, Raw("$SLURM_JOB_NAME")])
    got = launched(("args", task, slurm()))
    got.ok()
    assert got.log("args").split("\0")[:-1] == [*texts, f"{got.id}.args"]
    assert not list(work.glob("*injected*"))


TEXT = st.text(st.sampled_from("ab '\"\\#$;,=-\t%`()|é"), max_size=12)


def test_sbatch_reads_what_was_written(cluster: Cluster) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.text(st.sampled_from("ab '\"\\#$;,=-\t%`()|é"), max_size=12))
    def survives(value: str) -> None:
        lines = ["#!/bin/sh", *options.header({"comment": value, "nice": 3}, "x"), "true\n"]
        said = cluster.command("sbatch", "-v", "--test-only", check=False, input="\n".join(lines)).stderr
        read = dict(re.findall(r"^sbatch: ([a-z]+) +: (.*)$", said, re.MULTILINE))
        assert (read["comment"], read["nice"]) == (value, "3"), said

    survives()
