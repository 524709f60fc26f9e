"""What the seed documents say about executors and launchers, where a block alone does not show it."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest
from dispositions import CODE, CONFIGS, TRACKED

import runyard as run
import seed_files
from runyard.home import runyard_home
from runyard.states import JobState
from seed_blocks import Executed, locals_of, preview, write

pytestmark = pytest.mark.seeds

WAITING = ("SkypilotExecutor", "DGXCloudExecutor", "LeptonExecutor", "KubeflowExecutor")
"""Rows of the table of packagers for executors that are not built yet: remove one when it is."""
NEEDED = {"DockerExecutor": {"container_image": "image"}}


def packager(name: str) -> run.Packager:
    made = {
        "PatternPackager": lambda: run.PatternPackager(include_pattern="src/**"),
        "HybridPackager": lambda: run.HybridPackager(sub_packagers={"code": run.GitArchivePackager(subpath="src")}),
    }
    return made.get(name, getattr(run, name))()


@pytest.mark.parametrize(
    ("document", "column"), [("000", "Supported Packagers"), ("002", "Packagers"), ("003", "Packagers")]
)
def test_the_packager_support_matrix(document: str, column: str, project: Path) -> None:
    """Every executor takes every packager that is named; ours take the others as well, the local one too."""
    rows = seed_files.table(document, "Executor")
    assert len(rows) >= 6
    for row in rows:
        kind, names = row["Executor"], row[column].replace("run.", "").split(", ")
        if kind in WAITING:
            with pytest.raises(AttributeError):
                getattr(run, kind)
            continue
        every = ["Packager", "GitArchivePackager", "PatternPackager", "HybridPackager"]
        assert set(names) <= {*every, "All packagers"}
        for name in every:
            executor = getattr(run, kind)(packager=packager(name), **NEEDED.get(kind, {}))
            text = preview(executor)
            assert f"({executor.info()})" in text
            assert ("# code: " in text) == (name != "Packager"), text


def test_executors_that_are_listed() -> None:
    text = seed_files.text_of("003")
    listed = text[text.index("Currently we support:") : text.index("A tuple of task")]
    names = [line.split("`")[1] for line in listed.splitlines() if line.startswith("- ")]
    assert len(names) == 6
    for name in names:
        if name.removeprefix("run.") not in WAITING:
            assert issubclass(getattr(run, name.removeprefix("run.")), run.Executor)


def test_the_docker_executor(project: Path) -> None:
    (executor,) = Executed(seed_files.block("003", 6)).executors()
    text = preview(executor)
    words = [
        "--gpus=all",
        "--runtime=nvidia",
        "--ipc=host",
        "--shm-size=30g",
        "--volume=/local/path:/path/in/container",
    ]
    assert all(word in text for word in [*words, " python:3.12 ", "PYTHONUNBUFFERED=1"]), text
    assert "# code:" not in text  # its packager ships nothing


def test_the_slurm_executor(project: Path) -> None:
    """The block calls its function by another name, and the function lacks its return: both are worked around here."""
    given = {
        "DEFAULT_IMAGE": "default-image",
        "GitArchivePackager": run.GitArchivePackager,
        "common_envs": lambda: {"TRANSFORMERS_OFFLINE": "1"},
        "mounts_for_your_hubs": lambda: ["/hub:/hub"],
        "your_slurm_cluster": lambda **kwargs: kwargs,
    }
    names = Executed(seed_files.block("003", 7), **given).names
    there = locals_of(names["your_slurm_executor"], **names["executor"])
    executor, local = there["executor"], there["local_tunnel"]
    words = ["account=your-account", "partition=your-partition", "ntasks-per-node=8", "gpus-per-node=8", "nodes=8"]
    words += ["time=00:30:00"]
    expected = [f"#SBATCH --{word}\n" for word in words]
    expected += ["--container-image=your-nemo-image", ",/hub:/hub ", "TRANSFORMERS_OFFLINE=1", "1 file"]
    text = preview(executor)
    assert all(word in text for word in expected), text
    # The folder for runs is given as a relative path: it lies in the home folder there, for every job the same.
    folder = 'job="$HOME"/directory-to-store-runs-on-the-slurm-cluster/experiments/'
    assert folder in text
    assert "# file: ~/directory-to-store-runs-on-the-slurm-cluster/experiments/" in text  # the sbatch file, to modify
    executor.tunnel = local  # already on the cluster
    assert f"job={runyard_home()}/experiments/" in preview(executor)
    assert locals_of(names["your_slurm_executor"])["executor"].container_image == "default-image"


@pytest.mark.parametrize("kind", ["afterok", "afterany", "afternotok", "after"])
def test_dependency_types(kind: str, project: Path) -> None:
    (executor,) = Executed(seed_files.block("003", 8)).executors()
    assert executor.dependency_type == run.SlurmExecutor().dependency_type == "afterok"
    executor.dependency_type = kind
    with run.Experiment("graph", executor=executor) as exp:
        first = exp.add(run.Script(inline="true"), name="first")
        exp.add(run.Script(inline="true"), name="second", dependencies=[first])
        text = exp.dryrun(log=False)
    # Only the scheduler knows numbers of jobs: a dry run names the task, and the submission says --dependency.
    assert text.count("# after: ") == text.count(f"# after: first ({kind})\n") == 1


@pytest.mark.parametrize(
    ("launcher", "command"),
    [
        (None, ""),
        ("default", ""),
        ("torchrun", "torch.distributed.run "),  # the module that the command torchrun starts
        (run.Torchrun(rdzv_port=1234), "torch.distributed.run "),
        ("ft", "ft_launcher "),
        (run.core.execution.FaultTolerance(max_restarts=2), "ft_launcher "),
    ],
)
def test_launchers(launcher: str | run.Launcher | None, command: str, project: Path) -> None:
    """The name that the page gives to one of them is found, too; and they work with a Script."""
    executor = run.SlurmExecutor(nodes=2, ntasks_per_node=2, launcher=launcher)
    text = preview(executor, run.Script("train.py", entrypoint="python"))
    assert [word in text for word in ("torch.distributed.run ", "ft_launcher ")].count(True) == bool(command)
    assert command in text
    assert run.SlurmExecutor().launcher is None


def test_metadata_is_kept_where_the_variable_says(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is another than the page's: ``~/.runyard``."""
    monkeypatch.delenv("RUNYARD_HOME")
    assert runyard_home() == home / ".runyard"
    monkeypatch.setenv("NEMORUN_HOME", str(home / "elsewhere"))
    assert runyard_home() == home / "elsewhere"
    run.run(run.Script(inline="true"), name="kept")
    assert [path.name for path in (home / "elsewhere" / "experiments").iterdir()] == ["kept"]


def test_a_function_finds_its_code_and_one_task_is_many_execution_units(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One configured task is executed locally and dry-run on other executors; its code's root is in its Python path."""
    write(project, "src/your_library/__init__.py")
    (project / "src/your_library/work.py").write_text(
        "import os, sys\n\ndef where(lr):\n    print('at', sys.path[0] == os.getcwd(), sorted(os.listdir()), lr)\n"
    )
    monkeypatch.syspath_prepend(str(project / "src"))
    task = run.Partial(importlib.import_module("your_library.work").where, lr=0.5)
    code = run.GitArchivePackager(subpath="src")
    result = run.run(task, executor=run.LocalExecutor(packager=code), name="unit", tail_logs=False)
    assert result.status is JobState.SUCCEEDED
    folders = ["data", "models", "utils", "your_library"]
    assert f"at True {folders} 0.5" in result.log_path.read_text()
    for executor in (run.DockerExecutor(container_image="i", packager=code), run.SlurmExecutor(packager=code)):
        assert "pytask.py" in preview(executor, task)
    assert os.getcwd() == str(project)


def test_what_the_pages_package_is_what_their_executors_get(project: Path) -> None:
    hybrid = Executed(seed_files.block("003", 5)).packagers()[0]
    text = preview(run.SlurmExecutor(packager=hybrid))
    assert f"; {len(CODE | CONFIGS)} files" in text
    assert f"; {len(TRACKED)} files" in preview(run.SlurmExecutor())  # the default packager is git's
