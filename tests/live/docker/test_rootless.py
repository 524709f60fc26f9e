"""An engine of an ordinary user: root in its containers is that user outside."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

import docker_images
import rootless_podman
from rootless_podman import Rootless

IMAGE = "localhost/rootless:latest"
LAUNCH = """
import sys
import runyard as run
from runyard.packagers import Packager

def double(x: int) -> None:
    open("/data/function", "w").write(str(2 * x))

def launched(name: str, task: object, **fields: object) -> None:
    executor = run.DockerExecutor(
        container_image={image!r}, network="none", packager=Packager(), volumes=["{folder}/work:/data"], **fields
    )
    done = run.run(task, executor, name=name, tail_logs=False, raise_on_failure=False)
    print("done:", name, done.status, done.reason, done.log_path.read_text())

launched("script", run.Script(inline="id -u; echo hi > /data/script; echo $HOME $USER"))
launched("function", run.Partial(double, 21))
launched("asked", run.Script(inline="echo hi > /data/asked"), user="root")
"""


@pytest.fixture(scope="module")
def podman() -> Iterator[Rootless]:
    if why := rootless_podman.missing():
        pytest.skip(why)
    import docker

    with rootless_podman.running() as engine:
        client = docker.DockerClient(base_url=engine.address, timeout=60)
        tar = docker_images.tar_of(engine.folder / "image.tar", docker_images.pythons()[sys.version_info[:2]])
        changes = ["ENV PATH=/usr/local/bin:/usr/bin:/bin"]
        client.api.import_image_from_file(str(tar), repository="localhost/rootless", tag="latest", changes=changes)
        client.close()
        yield engine


def test_files_belong_to_the_caller(podman: Rootless) -> None:
    """Those in mounted folders and those in the records, whether the user is left to us or root is asked for."""
    said = podman.python(LAUNCH.format(image=IMAGE, folder=podman.folder))
    states = [line.split()[1:3] for line in said.splitlines() if line.startswith("done:")]
    assert states == [[name, "SUCCEEDED"] for name in ("script", "function", "asked")], said
    work = podman.folder / "work"
    assert (work / "function").read_text() == "42"
    made = [work / name for name in ("script", "function", "asked")]
    found = [*made, *(podman.folder / "records").rglob("*")]
    assert len(found) > 20
    others = {str(path): path.lstat().st_uid for path in found if path.lstat().st_uid != podman.user.pw_uid}
    assert others == {}
