"""Images that the engine lacks come from a registry, at the launch and before anything is recorded."""

from __future__ import annotations

import base64
import io
import json
import os
import pty
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from docker_engine import IMAGE, Engine, until

USER, WORD = "somebody", "pass"
# That user and word, as `htpasswd -B` writes them.
AUTH = "somebody:$2b$05$ZqNFA.BMrMsh221h0N0lF.BKFBYOS6oyrGzY8HJAHEbq69iWAsiwW"
LAUNCH = [sys.executable, "-m", "runyard", "run", "--executor", "docker", "--packager", "none"]


@pytest.fixture(scope="module")
def registry(_engine: Engine) -> tuple[str, str]:
    """An open registry and one that asks for a password, with the same images."""
    return _engine.start_registry(5000), _engine.start_registry(5001, AUTH)


@pytest.fixture
def image(registry: tuple[str, str], engine: Engine) -> Iterator[str]:
    """An image that only the registry has."""
    name, layer = f"{registry[0]}/team/box", io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tarfile.TarInfo("only-here")
        info.size = 8 << 20
        tar.addfile(info, io.BytesIO(os.urandom(info.size)))
    with engine.client_closing() as client:
        container = client.containers.create(IMAGE, "true")
        container.put_archive("/", layer.getvalue())
        container.commit(name, "1")
        container.remove()
        said = list(client.images.push(name, "1", stream=True, decode=True))
        assert not [s for s in said if "error" in s], said[-1]
        client.images.remove(f"{name}:1")
        yield f"{name}:1"
        for left in (f"{name}:1", f"{registry[1]}/team/box:1"):
            with suppress(Exception):
                client.images.remove(left, force=True)


@pytest.fixture
def env(tmp_path: Path, engine: Engine) -> dict[str, str]:
    (tmp_path / "work").mkdir()
    return {
        **os.environ,
        **engine.env,
        "RUNYARD_HOME": str(tmp_path / "home"),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
    }


def launch(image: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [*LAUNCH, "--set", f"container_image={image}", "--", "sh", "-c", "echo it runs"]
    cwd = Path(env["RUNYARD_HOME"]).with_name("work")
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def recorded(env: dict[str, str]) -> list[Path]:
    return list(Path(env["RUNYARD_HOME"]).glob("experiments/*/*"))


def test_a_missing_image_is_pulled(image: str, env: dict[str, str]) -> None:
    """In a pipe these are two lines, and one more each five seconds; the second launch has the image."""
    first = launch(image, env)
    assert first.returncode == 0, first.stderr
    said = [x for x in first.stderr.splitlines() if "pull" in x]
    assert (said[0], said[-1]) == (f"pulling {image}", f"pulled {image}")
    assert all(x.startswith(f"pulling {image}: ") for x in said[1:-1])
    assert "it runs" in first.stdout
    assert "pull" not in launch(image, env).stderr


def test_progress_is_seen_on_a_terminal(image: str, env: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    command = [*LAUNCH, "--set", f"container_image={image}", "--", "true"]
    cwd = Path(env["RUNYARD_HOME"]).with_name("work")
    with subprocess.Popen(command, env={**env, "TERM": "xterm"}, cwd=cwd, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # the terminal's end
            while data := os.read(ours, 65536):
                shown += data
        assert process.wait(120) == 0, shown
    os.close(ours)
    assert b"\r\x1b[Kpulling " + image.encode() + b": " in shown
    assert b"of 2 layers" in shown
    assert b"\r\x1b[Kpulled " + image.encode() in shown


def test_two_launches_at_once(image: str, env: dict[str, str]) -> None:
    command = [*LAUNCH, "--set", f"container_image={image}", "--", "true"]
    cwd = Path(env["RUNYARD_HOME"]).with_name("work")
    with ExitStack() as stack:
        starting = [subprocess.Popen(command, env=env, cwd=cwd, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        both = [stack.enter_context(process) for process in starting]
        said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{open}/team/box:none", ["manifest unknown", "build it: docker build -t"]),
        ("{closed}/team/box:1", ["no basic auth", "docker login {closed}"]),
        ("127.0.0.1:5999/box:1", ["connection refused", "registry 127.0.0.1:5999 cannot be reached"]),
    ],
    ids=["no such tag", "no permission", "no registry"],
)
def test_it_cannot_be_had(
    given: str, words: list[str], image: str, registry: tuple[str, str], env: dict[str, str]
) -> None:
    names = {"open": registry[0], "closed": registry[1]}
    done = launch(given.format(**names), env)
    assert done.returncode == 2
    assert all(word.format(**names) in done.stderr for word in [given, *words]), done.stderr
    assert recorded(env) == []


def test_who_has_logged_in_may_pull(image: str, registry: tuple[str, str], env: dict[str, str]) -> None:
    folder = Path(env["DOCKER_CONFIG"])
    folder.mkdir()
    auth = base64.b64encode(f"{USER}:{WORD}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry[1]: {"auth": auth}}}))
    done = launch(f"{registry[1]}/team/box:1", env)
    assert done.returncode == 0, done.stderr


def test_interrupted(image: str, env: dict[str, str], engine: Engine) -> None:
    """Nothing is recorded and nothing runs; the next launch pulls as if there had been no other."""
    engine.pause("registry-5000")
    try:
        command = [*LAUNCH, "--set", f"container_image={image}", "--", "true"]
        cwd = Path(env["RUNYARD_HOME"]).with_name("work")
        log = cwd.with_name("log")
        with log.open("w") as out, subprocess.Popen(command, env=env, cwd=cwd, stderr=out) as process:
            try:
                until(lambda: "pulling" in log.read_text(), "the pull")
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 130, log.read_text()
            finally:
                process.kill()
    finally:
        engine.resume("registry-5000")
    assert "Traceback" not in log.read_text()
    assert recorded(env) == []
    assert launch(image, env).returncode == 0
