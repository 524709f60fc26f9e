"""The profiles that Nemotron's page on execution shows work as they are written there."""

import pytest

import runyard as run
from runyard.errors import ProfileError
from runyard.profiles.load import Target

BASICS = """
    [wandb]
    project = "nemotron"
    entity = "YOUR-TEAM"

    [YOUR-CLUSTER]
    executor = "slurm"
    account = "YOUR-ACCOUNT"
    partition = "batch"
    nodes = 2
    ntasks_per_node = 8
    gpus_per_node = 8
    mounts = ["/lustre:/lustre"]
"""
INHERITANCE = """
    [base-slurm]
    executor = "slurm"
    account = "my-account"
    partition = "gpu"
    time = "04:00:00"

    [YOUR-CLUSTER]
    extends = "base-slurm"
    nodes = 4
    ntasks_per_node = 8
    gpus_per_node = 8

    [YOUR-CLUSTER-large]
    extends = "YOUR-CLUSTER"
    nodes = 16
    time = "08:00:00"
"""
SLURM = """
    [YOUR-CLUSTER]
    executor = "slurm"
    account = "my-account"
    partition = "gpu"
    nodes = 4
    ntasks_per_node = 8
    gpus_per_node = 8
    time = "04:00:00"
    mounts = ["/data:/data"]
"""
SSH = """
    [YOUR-CLUSTER]
    executor = "slurm"
    account = "my-account"
    partition = "gpu"
    nodes = 4
    tunnel = "ssh"
    host = "cluster.example.com"
    user = "username"
    identity = "~/.ssh/id_rsa"
"""
PARTITIONS = """
    [YOUR-CLUSTER]
    executor = "slurm"
    partition = "batch"           # Default
    run_partition = "interactive" # For --run (attached)
    batch_partition = "backfill"  # For --batch (detached)
"""
GIT = """
    [YOUR-CLUSTER]
    executor = "slurm"
    packager = "git"
    # ... other settings
"""
PATTERN = """
    [YOUR-CLUSTER]
    executor = "slurm"
    packager = "pattern"
    packager_include_pattern = "src/**/*.py"
"""
HYBRID = """
    [YOUR-CLUSTER]
    executor = "slurm"
    packager = "hybrid"
    # Configuration via code (see below)
"""
NONE = """
    [YOUR-CLUSTER]
    executor = "slurm"
    packager = "none"
"""
REFERENCE = """
    [everything]
    executor = "slurm"
    packager = "git"
    nproc_per_node = 8
    nodes = 1
    container_image = "nvcr.io/nvidia/nemo:25.07"
    mounts = []
    account = "a"
    partition = "p"
    run_partition = "r"
    batch_partition = "b"
    time = "04:00:00"
    tunnel = "local"
    host = "h"
    user = "u"
    env_vars = []
    dry_run = false
    detach = false
"""
CASES = [
    (BASICS, "YOUR-CLUSTER", {"account": "YOUR-ACCOUNT", "nodes": 2, "container_mounts": ["/lustre:/lustre"]}),
    (INHERITANCE, "base-slurm", {"time": "04:00:00", "nodes": 1}),
    (INHERITANCE, "YOUR-CLUSTER", {"account": "my-account", "time": "04:00:00", "nodes": 4, "gpus_per_node": 8}),
    (INHERITANCE, "YOUR-CLUSTER-large", {"account": "my-account", "time": "08:00:00", "nodes": 16, "partition": "gpu"}),
    (SLURM, "YOUR-CLUSTER", {"ntasks_per_node": 8, "container_mounts": ["/data:/data"]}),
    (SSH, "YOUR-CLUSTER", {"tunnel": run.SSHTunnel("cluster.example.com", "username", identity="~/.ssh/id_rsa")}),
    (PARTITIONS, "YOUR-CLUSTER", {"partition": "interactive"}),
    (GIT, "YOUR-CLUSTER", {"packager": run.GitArchivePackager()}),
    (PATTERN, "YOUR-CLUSTER", {"packager": run.PatternPackager(include_pattern="src/**/*.py")}),
    (HYBRID, "YOUR-CLUSTER", {"packager": run.HybridPackager()}),
    (NONE, "YOUR-CLUSTER", {"packager": run.Packager()}),
    (REFERENCE, "everything", {"ntasks_per_node": 8, "partition": "r", "tunnel": None, "env_vars": {}}),
]
WAITING = ("skypilot", "dgxcloud")
"""Executors that the page names, and that are not built yet: remove one from here when it is."""


@pytest.mark.parametrize(("text", "name", "fields"), CASES)
def test_the_page(load, text: str, name: str, fields: dict[str, object]) -> None:
    found: Target = load(text, name)
    assert isinstance(found.executor, run.SlurmExecutor)
    assert {field: getattr(found.executor, field) for field in fields} == fields


def test_its_wandb_section(load) -> None:
    env = load(BASICS, "YOUR-CLUSTER", WANDB_API_KEY="key").executor.env_vars
    assert env == {
        "WANDB_PROJECT": "nemotron",
        "WANDB_ENTITY": "YOUR-TEAM",
        "WANDB_API_KEY": run.Secret("WANDB_API_KEY"),
    }


def test_its_override(load) -> None:
    assert load(BASICS, "YOUR-CLUSTER", "run.nodes=8").executor.nodes == 8


def test_docker(load) -> None:
    text = '[box]\nexecutor = "docker"\ncontainer_image = "img"\nmounts = ["/data:/data"]\nshm_size = "8g"\n'
    found: Target = load(text, "box")
    assert isinstance(found.executor, run.DockerExecutor)
    assert found.executor.volumes == ["/data:/data"]
    assert (found.executor.container_image, found.executor.shm_size) == ("img", "8g")


@pytest.mark.parametrize("kind", WAITING)
def test_executors_that_are_not_built_yet(load, kind: str) -> None:
    with pytest.raises(ProfileError, match="this Runyard has no such executor"):
        load(f'[p]\nexecutor = "{kind}"\n')
