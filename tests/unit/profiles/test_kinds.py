"""Profiles for kinds of executors other than Slurm."""

import pytest

import runyard as run
from runyard.errors import ProfileError
from runyard.profiles.load import Target


def test_docker(load) -> None:
    text = '[box]\nexecutor = "docker"\ncontainer_image = "img"\nmounts = ["/data:/data"]\nshm_size = "8g"\n'
    found: Target = load(text, "box")
    assert isinstance(found.executor, run.DockerExecutor)
    assert found.executor.volumes == ["/data:/data"]
    assert (found.executor.container_image, found.executor.shm_size) == ("img", "8g")


@pytest.mark.parametrize("kind", ["no-such", "skypilot "])
def test_executors_that_are_not_there(load, kind: str) -> None:
    with pytest.raises(ProfileError, match="this Runyard has no such executor"):
        load(f'[p]\nexecutor = "{kind}"\n')
