"""Importing Runyard stays cheap, counted in modules: time is measured in benchmarks, never in a test."""

import subprocess
import sys

import pytest

BUDGET = 150
HEAVY = {
    "cloudpickle",
    "docker",
    "fiddle",
    "jinja2",
    "kubernetes",
    "omegaconf",
    "pydantic",
    "ray",
    "rich",
    "torch",
    "yaml",
}


def modules_after(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after a statement, and had not before."""
    code = f"import sys; old = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - old))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    ["import runyard", "from runyard import Experiment, Script, LocalExecutor", "import runyard.cli.root"],
)
def test_an_import_loads_few_modules_and_no_heavy_library(statement: str) -> None:
    loaded = modules_after(statement)
    assert len(loaded) <= BUDGET, f"{len(loaded)} modules: {sorted(loaded)}"
    assert not {name.split(".")[0] for name in loaded} & HEAVY


def test_listing_the_public_names_imports_nothing() -> None:
    names = "import runyard; dir(runyard), runyard.__all__"
    assert modules_after(names) == modules_after("import runyard")
