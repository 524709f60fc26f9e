"""Precedence: command line > profile > the config's ``run:`` > the block > defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runyard.errors import RunyardError
from runyard.profiles.load import Target, parse_overrides
from runyard.recipes.block import Recipe
from runyard.recipes.resolve import Asked, target
from runyard.secrets import Secret

RECIPE = Recipe(
    Path("train.py"), "nano3/pretrain", image="block:1", launcher="torchrun", nodes=2, gpus_per_node=4,
    setup=("echo block",), env={"A": "block", "B": "block"}, block={},
)  # fmt: skip
PROFILES = """
[empty]
executor = "slurm"
account = "a"

[full]
extends = "empty"
container = "profile:1"
nodes = 3
gpus_per_node = 6
time = "02:00:00"
mounts = ["/p:/p"]
env_vars = {A = "profile"}

[four]
extends = "empty"
ntasks_per_node = 4

[plain]
extends = "empty"
launcher = "none"

[laptop]
executor = "local"

[box]
executor = "docker"
"""


@pytest.fixture(autouse=True)
def _profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "env.toml").write_text(PROFILES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def to(profile: str, *typed: str, recipe: Recipe = RECIPE, kind: str | None = None, **section: Any) -> Target:
    return target(recipe, Asked(profile, "run", parse_overrides(list(typed)), kind, section, "tiny.yaml"))


TABLE = [
    # profile, config's run:, typed -> field, value, where it was written
    ("empty", {}, "", "time", "04:00:00", "default of recipes"),
    ("full", {}, "", "time", "02:00:00", "profile 'full'"),
    ("empty", {"time": "03:00:00"}, "", "time", "03:00:00", "tiny.yaml: run.time"),
    ("full", {"time": "03:00:00"}, "run.time=00:05:00", "time", "00:05:00", "run.time"),
    ("empty", {}, "", "nodes", 2, "train.py"),
    ("empty", {"nodes": 5}, "", "nodes", 5, "tiny.yaml: run.nodes"),
    ("full", {"nodes": 5}, "", "nodes", 3, "profile 'full'"),
    ("full", {"nodes": 5}, "run.nodes=8", "nodes", 8, "run.nodes"),
    ("empty", {}, "", "container_image", "block:1", "train.py"),
    ("empty", {"container": "config:1"}, "", "container_image", "config:1", "tiny.yaml"),
    ("full", {"container": "config:1"}, "", "container_image", "profile:1", "profile 'full'"),
    ("full", {}, "run.container=typed:1", "container_image", "typed:1", "run.container_image"),
    ("empty", {}, "", "ntasks_per_node", 4, "default of recipes"),
    ("full", {}, "", "ntasks_per_node", 6, "default of recipes"),
    ("empty", {}, "run.gpus_per_node=2", "ntasks_per_node", 2, "default of recipes"),
    ("four", {}, "", "ntasks_per_node", 4, "profile 'four'"),
    ("four", {}, "run.nproc_per_node=3", "ntasks_per_node", 3, "run.nproc_per_node"),
    ("empty", {}, "", "launcher", "torchrun", None),
    ("plain", {}, "", "launcher", None, None),
    ("plain", {}, "", "ntasks_per_node", 1, None),
    ("empty", {"launcher": "ft"}, "", "launcher", "ft", None),
    ("empty", {"env": {"container_image": "env:1"}}, "", "container_image", "env:1", "tiny.yaml"),
]


@pytest.mark.parametrize(("profile", "section", "typed", "field", "value", "where"), TABLE)
def test_precedence(
    profile: str, section: dict[str, Any], typed: str, field: str, value: Any, where: str | None
) -> None:
    found = to(profile, *typed.split(), **section)
    assert getattr(found.executor, field) == value
    if where:
        assert where in found.origins[field]


def test_without_gpus_there_are_eight_processes() -> None:
    bare = Recipe(Path("t.py"), "t", launcher="torchrun", block={})
    assert to("empty", recipe=bare).executor.ntasks_per_node == 8  # type: ignore[attr-defined]
    assert to("", recipe=bare).executor.ntasks_per_node == 1  # type: ignore[attr-defined]
    direct = Recipe(Path("t.py"), "t", block={})
    assert to("empty", recipe=direct).executor.ntasks_per_node == 1  # type: ignore[attr-defined]
    assert to("", recipe=direct).executor.time is None  # type: ignore[attr-defined]


def test_variables_merge_and_mounts_add_up() -> None:
    found = to("full", "run.env.C=typed", "run.mounts=[/t:/t]", env={"B": 1, "C": "config"}, mounts=["/c:/c"])
    env = found.executor.env_vars
    assert (env["A"], env["B"], env["C"]) == ("profile", "1", "typed")
    assert found.executor.container_mounts == ["/c:/c", "/p:/p", "/t:/t"]  # type: ignore[attr-defined]
    assert found.executor.setup_lines == "echo block"


def test_a_secret_of_the_config_travels_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hunter22")
    assert to("empty", env={"K": "${oc.env:HF_TOKEN}"}).executor.env_vars["K"] == Secret("HF_TOKEN")
    with pytest.raises(RunyardError, match="HF_TOKEN would be written"):
        to("empty", comment="${oc.env:HF_TOKEN}")


def test_what_this_machine_has_not_is_told() -> None:
    found = to("", partition="batch", nodes=4, data="x:latest")
    assert found.executor.kind == "local"
    told = "\n".join(found.warnings)
    assert "image block:1" in told
    assert "2 nodes" in told or "run.nodes = 4" in told
    assert "4 GPUs a node" in told
    assert "LocalExecutor has no run.partition" in told
    assert "data" not in told


def test_docker_gets_image_and_gpus() -> None:
    for found in (to("box"), to("", kind="docker")):
        assert found.executor.container_image == "block:1"  # type: ignore[attr-defined]
        assert found.executor.num_gpus == 4  # type: ignore[attr-defined]
        assert any("2 nodes" in line for line in found.warnings)


def test_the_config_can_name_the_executor() -> None:
    assert to("", executor="slurm", account="a").executor.kind == "slurm"
    assert to("", executor="slurm", kind="local").executor.kind == "local"


@pytest.mark.parametrize(
    ("profile", "typed", "section", "said"),
    [
        ("empty", "run.ndoes=8", {}, "did you mean 'nodes'"),
        ("empty", "", {"ndoes": 8}, "tiny.yaml: run.ndoes.*did you mean 'nodes'"),
        ("empty", "", {"nodes": "many"}, "tiny.yaml: run.nodes"),
        ("empyt", "", {}, "did you mean 'empty'"),
        ("", "run.nodes=8", {}, "^run.nodes: LocalExecutor.nodes=8: this machine is one node"),
        ("", "run.max_paralel=2", {}, "did you mean 'max_parallel'"),
        ("empty", "", {"env": "x"}, "run.env = 'x' is no table"),
    ],
)
def test_what_cannot_be_is_refused(profile: str, typed: str, section: dict[str, Any], said: str) -> None:
    with pytest.raises(RunyardError, match=f"(?s){said}"):
        to(profile, *typed.split(), **section)
