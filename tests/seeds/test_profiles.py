"""The profiles of the seed documents: what is written there is what the executor gets."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from dispositions import BLOCKS, CODE, CONFIGS, SRC, TRACKED, Profiles

import runyard as run
import seed_files
from runyard.errors import ProfileError
from runyard.executors import builtin_kinds
from runyard.profiles.book import RESERVED
from runyard.profiles.load import resolve
from seed_blocks import Executed, preview

pytestmark = pytest.mark.seeds

WRITTEN = [key for key, found in BLOCKS.items() if isinstance(found, Profiles)]
PACKAGERS = {
    "git": run.GitArchivePackager,
    "pattern": run.PatternPackager,
    "hybrid": run.HybridPackager,
    "none": run.Packager,
}
RECIPE_DEFAULTS = {"time", "nproc_per_node"}
"""Defaults that hold for recipes (test_recipes.py): a plain command has its executor's limit, and runs once a node."""
WAITING = ("skypilot", "dgxcloud")
"""Executors that the page names, and that are not built yet: remove one from here when it is."""


def runyard(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "runyard", *args], capture_output=True, text=True, check=False)


def inherited(sections: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a section with what it inherits, put together in the plainest way."""
    fields = dict(sections[name])
    parent = fields.pop("extends", None)
    return {**inherited(sections, parent), **fields} if parent else fields


def of_executor(executor: run.Executor, name: str) -> Any:
    """Return what an executor has for the word of a profile."""
    tunnel = getattr(executor, "tunnel", None)
    special = {
        "executor": lambda: executor.kind,
        "mounts": lambda: executor.container_mounts,  # type: ignore[attr-defined]
        "tunnel": lambda: tunnel.kind,
        "packager": lambda: {v: k for k, v in PACKAGERS.items()}[type(executor.packager)],
    }
    if name in special:
        return special[name]()
    if name in ("host", "user", "identity"):
        return getattr(tunnel, name)
    if name.startswith("packager_"):
        return getattr(executor.packager, name.removeprefix("packager_"))
    return getattr(executor, name)


@pytest.mark.parametrize("key", WRITTEN, ids=lambda key: f"{key[0]}-{key[1]}")
def test_the_profiles_of_a_block(key: tuple[str, int], project: Path) -> None:
    text = seed_files.block(*key).text
    (project / "env.toml").write_text(text)
    sections = {name: fields for name, fields in tomllib.loads(text).items() if name not in RESERVED}
    assert sections
    for name in sections:
        fields = inherited(sections, name)
        shown = runyard("profile", "show", name, "--resolved", "--json")
        assert shown.returncode == 0, shown.stderr
        assert json.loads(shown.stdout)["fields"] == fields
        for mode in ("run", "batch"):
            executor = run.load_profile(name, mode)
            expected = {k: v for k, v in fields.items() if not k.endswith("_partition")}
            if f"{mode}_partition" in fields:
                expected["partition"] = fields[f"{mode}_partition"]
            assert {field: of_executor(executor, field) for field in expected} == expected
            if not isinstance(executor.packager, run.HybridPackager):  # that one is configured in code
                assert "#SBATCH --nodes=" in preview(executor)


def test_the_packagers_of_profiles(project: Path) -> None:
    """Uncommitted work ships with git's packager, the default; the page's exclusion of it is a limit of its time."""
    (project / "late.py").write_text("")
    expected = {8: TRACKED | {"late.py"}, 9: SRC, 12: None}
    for number, files in expected.items():
        (project / "env.toml").write_text(seed_files.block("004", number).text)
        snapshot = run.load_profile("YOUR-CLUSTER").packager.snapshot()
        assert (None if snapshot is None else {entry.path for entry in snapshot}) == files
    (project / "env.toml").write_text(seed_files.block("004", 10).text)
    executor = run.load_profile("YOUR-CLUSTER")
    (executor.packager,) = Executed(seed_files.block("004", 11)).packagers()
    assert f"; {len(CODE | CONFIGS) + 1} files" in preview(executor)


def test_options_of_packagers() -> None:
    git = {row["Option"]: row["Default"] for row in seed_files.table("004", "Option", 1)}
    assert set(git) == {"subpath", "include_submodules", "include_pattern"}
    packager = run.GitArchivePackager()
    for name, default in git.items():
        assert getattr(packager, name) == {"-": "", "true": True}[default]
    pattern = run.PatternPackager(include_pattern="*")
    for row in seed_files.table("004", "Option", 2):
        assert hasattr(pattern, row["Option"])


def test_the_profile_reference(project: Path) -> None:
    """Every field has its place in a profile, and its default is the one of the table."""
    rows = {row["Field"]: row for row in seed_files.table("004", "Field")}
    assert len(rows) == 17
    (project / "env.toml").write_text('[plain]\n\n[cluster]\nexecutor = "slurm"\n')
    assert run.load_profile("plain").kind == json.loads(rows["executor"]["Default"])
    target = resolve("cluster")
    found = {
        "packager": "git",
        "nodes": target.executor.nodes,
        "mounts": target.executor.container_mounts,
        "tunnel": "local" if target.executor.tunnel is None else "ssh",
        "env_vars": list(target.executor.env_vars),
        "dry_run": target.dry_run,
        "detach": target.detach,
    }
    assert isinstance(target.executor.packager, run.GitArchivePackager)
    for name, value in found.items():
        assert value == json.loads(rows[name]["Default"]), name
    left = {name for name, row in rows.items() if row["Default"] != "-"} - {*found, "executor"}
    assert left == RECIPE_DEFAULTS
    given = {"int": "2", "bool": "true", "list": "[]", "str": '"x"'}
    special = {"executor": '"slurm"', "packager": '"git"', "time": '"1:00:00"', "tunnel": '"ssh"'}
    lines = [f"{name} = {special.get(name) or given[row['Type']]}" for name, row in rows.items()]
    (project / "env.toml").write_text("[all]\n" + "\n".join(lines) + "\n")
    for mode in ("run", "batch"):
        resolve("all", mode)


def test_executors_that_are_named() -> None:
    named = [row["Executor"] for row in seed_files.table("004", "Executor")]
    assert named == ["local", "docker", *WAITING]
    assert {"local", "docker", "slurm"} <= set(builtin_kinds())


@pytest.mark.parametrize("kind", WAITING)
def test_executors_that_are_not_built_yet(kind: str, project: Path) -> None:
    (project / "env.toml").write_text(f'[p]\nexecutor = "{kind}"\n')
    with pytest.raises(ProfileError, match="this Runyard has no such executor"):
        run.load_profile("p")


def test_run_waits_and_batch_returns(project: Path) -> None:
    """Attached, it streams the log and ends with the command's exit code; detached, it prints the id and is gone."""
    assert [row["Option"] for row in seed_files.table("004", "Option", 3)] == ["--run", "--batch"]
    (project / "env.toml").write_text("[here]\n")
    attached = runyard("run", "--run", "here", "--", "sh", "-c", "echo hello; exit 3")
    assert (attached.returncode, attached.stdout) == (3, "hello\n"), attached.stderr
    detached = runyard("run", "--batch", "here", "-n", "later", "--", "sh", "-c", "sleep 0.5; echo $MODE > done")
    assert detached.returncode == 0, detached.stderr
    id = detached.stdout.strip()
    assert id.startswith("later_")
    assert not (project / "done").exists()
    assert runyard("experiment", "wait", id).returncode == 0
    assert (project / "done").exists()
    (project / "env.toml").write_text(seed_files.block("004", 3).text)
    shown = runyard("run", "--run", "YOUR-CLUSTER", "run.nodes=8", "--dry-run", "--", "true")
    assert "#SBATCH --nodes=8\n" in shown.stdout, shown.stderr
