"""What the image's own Python must be: as old as 3.8, of the same minor version for functions by value, or none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import docker_images
import runyard as run
from docker_engine import IMAGE, Engine
from runyard.packagers import Packager

HERE = sys.version_info[:2]
PYTHONS = docker_images.pythons()
NOTEBOOK = """
import runyard as run

def double(x: int) -> None:
    import sys
    print("doubled:", 2 * x, "by", *sys.version_info[:2])

executor = run.DockerExecutor(container_image={image!r}, network="none")
done = run.run(run.Partial(double, 21), executor, name="task", tail_logs=False, raise_on_failure=False)
print("reason:", done.reason)
print(done.log_path.read_text())
"""


@pytest.fixture(autouse=True)
def work(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    subprocess.run(["git", "init", "-q", "."], check=True)
    (folder / "notes.md").write_text("code that ships\n")
    return folder


def image(engine: Engine, python: Path | None, tag: str) -> str:
    """Return an image with this Python, made when it is first asked for."""
    with engine.client_closing() as client:
        if not client.api.images(name=tag):
            tar = docker_images.tar_of(engine.folder / "other.tar", python)
            engine.add_image(tag, tar)
            tar.unlink()
    return tag


def of_version(engine: Engine, version: tuple[int, int]) -> str:
    return image(engine, PYTHONS[version], f"runyard-python:{version[0]}.{version[1]}")


def in_a_notebook(work: Path, image: str) -> str:
    """Define a function where no module is, in the standard input of an interpreter, and run it in a container."""
    done = subprocess.run(
        [sys.executable, "-"],
        input=NOTEBOOK.format(image=image),
        text=True,
        cwd=work,
        env=dict(os.environ),
        timeout=180,
        check=True,
        stdout=subprocess.PIPE,
    )
    return done.stdout


def test_project_packager(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library ships from where it is installed, beside the user's own repository."""
    library = work.parent / "installed" / "their_lib"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("NAME = 'from the library'\n")
    monkeypatch.syspath_prepend(str(library.parent))
    (work / "tool.py").write_text("import their_lib\nprint(their_lib.NAME)\n")
    packager = run.ProjectPackager(package="their_lib")
    executor = run.DockerExecutor(container_image=IMAGE, packager=packager, network="none")
    done = run.run(run.Script("tool.py", entrypoint="python"), executor, name="task", tail_logs=False)
    assert done is not None
    assert done.log_path.read_text() == "from the library\n"


def test_function_of_a_notebook(work: Path) -> None:
    assert f"doubled: 42 by {HERE[0]} {HERE[1]}" in in_a_notebook(work, IMAGE)


def test_function_of_a_notebook_needs_the_same_python(engine: Engine, work: Path) -> None:
    others = [version for version in PYTHONS if version != HERE]
    if not others:
        pytest.xfail("this machine has no Python of another version to put into an image")
    other = min(others)
    said = in_a_notebook(work, of_version(engine, other))
    assert "doubled" not in said
    assert f"pickled by Python {HERE[0]}.{HERE[1]}, and the job runs Python {other[0]}.{other[1]}" in said
    assert f"use Python {HERE[0]}.{HERE[1]} in the job" in said


def test_function_of_a_module_runs_on_the_oldest_python(
    engine: Engine, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but Python itself is in the image: no Runyard, and no other package."""
    oldest = min(PYTHONS)
    name = f"tool_of_{os.getpid()}"
    (work / f"{name}.py").write_text(
        "import sys\nfrom importlib.machinery import PathFinder\n"
        "def double(x, *, word='doubled'):\n"
        "    assert all(PathFinder.find_spec(n) is None for n in ('runyard', 'fiddle', 'cloudpickle'))\n"
        "    print(word, 2 * x, 'by', *sys.version_info[:2])\n"
    )
    monkeypatch.syspath_prepend(str(work))
    module = __import__(name)
    task = run.Partial(module.double, 21)
    executor = run.DockerExecutor(container_image=of_version(engine, oldest), network="none")
    done = run.run(task, executor, name="task", tail_logs=False, raise_on_failure=False)
    assert done is not None
    assert done.log_path.read_text() == f"doubled 42 by {oldest[0]} {oldest[1]}\n"
    assert done.ok


def test_an_image_without_python(engine: Engine, work: Path) -> None:
    executor = run.DockerExecutor(
        container_image=image(engine, None, "runyard-python:none"), packager=Packager(), network="none"
    )
    done = run.run(
        run.Script(inline="command -v python3 || echo there is none"), executor, name="script", tail_logs=False
    )
    assert done is not None
    assert done.log_path.read_text() == "there is none\n"
    task = run.Partial(os.getcwd)
    failed = run.run(task, executor, name="function", tail_logs=False, raise_on_failure=False)
    assert failed is not None
    assert (failed.status, failed.exit_code) == (run.JobState.FAILED, 127)
    log = failed.log_path.read_text()
    assert "the image has no python3" in log
    assert "container_image" in log
