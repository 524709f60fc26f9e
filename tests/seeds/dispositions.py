"""What the tests do with each code block and command of the seed documents.

A block is known by the beginning of its document's name and its running number there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PROJECT = (
    "README.md",
    "train.py",
    "configs/data.yaml",
    "configs/model.yaml",
    "docs/index.md",
    "experiments/sweep.yaml",
    "experiments/transformer/fit.py",
    "ml_experiments/try.py",
    "models/transformer.py",
    "optional-subpath-from-toplevel-of-your-git-repo/go.py",
    "src/data/load.py",
    "src/models/net.py",
    "src/models/net_test.py",
    "src/utils/log.py",
    "tests/test_net.py",
    "utils/data_loader.py",
    "data/index.json",
    "data/processed/part-0.bin",
    "generated/artifacts/table.py",
    "generated/code.py",
)
"""The files of the project in which blocks are executed."""
IGNORED = ("data", "generated")
"""Its folders that git ignores."""

TRACKED = frozenset({".gitignore", *(name for name in PROJECT if name.split("/")[0] not in IGNORED)})


def inside(folder: str, key: str = "") -> frozenset[str]:
    """Return the files of a folder, by their paths in it; below ``key`` where there is one."""
    names = {name.removeprefix(f"{folder}/") for name in PROJECT if name.startswith(f"{folder}/")}
    return frozenset(f"{key}/{name}" if key else name for name in names)


def whole(*folders: str) -> frozenset[str]:
    """Return the files of folders, by their paths in the project."""
    return frozenset(name for name in PROJECT for folder in folders if name.startswith(f"{folder}/"))


SRC = whole("src")
TESTLESS = SRC - {"src/models/net_test.py"}
CONFIGS = frozenset({"configs/data.yaml", "configs/model.yaml"})
CODE = inside("src", "code")


@dataclass(frozen=True)
class Runs:
    """A Python block that is executed in the project.

    Args:
        given: Names that the block takes for given, with their values.
        ships: What each packager that the block makes ships, in order.
        shows: Words in the dry run of each executor that the block makes, in order. Each is dry-run with whatever its
            packager ships, and contacts nothing.
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    ships: tuple[frozenset[str] | None, ...] = ()
    shows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Test:
    """A block that has a test of its own.

    Args:
        name: The test.
    """

    __test__ = False
    name: str


@dataclass(frozen=True)
class Drawing:
    """Folders, files or a flow, drawn. Tests compare what ships with it."""


@dataclass(frozen=True)
class Profiles:
    """Profiles in TOML: every field that is written is found in the executor."""


@dataclass(frozen=True)
class Waits:
    """What cannot be executed before something is built: the test fails as soon as it is there.

    Args:
        names: Public names of Runyard, any of which ends the waiting.
    """

    names: tuple[str, ...]


def ships(*expected: frozenset[str] | None) -> Runs:
    """Return the disposition of a block that only makes packagers."""
    return Runs(ships=expected)


SKYPILOT, DGX, LEPTON = Waits(("SkypilotExecutor",)), Waits(("DGXCloudExecutor",)), Waits(("LeptonExecutor",))
KUBEFLOW = Waits(("KubeflowExecutor",))
RAY_RECIPES = Waits(("RayCluster",))

SLURM_GPU = ("#SBATCH --account=my_account", "#SBATCH --partition=gpu")
PYTORCH = ("pytorch/pytorch:latest",)

BLOCKS: dict[tuple[str, int], Runs | Test | Drawing | Profiles | Waits] = {
    ("000", 1): Runs(ships=(None,), shows=(PYTORCH,)),
    ("000", 2): Runs(ships=(TRACKED, inside("src")), shows=(SLURM_GPU,)),
    ("000", 3): Drawing(),
    ("000", 4): Test("test_a_drawn_project_ships_as_it_is_drawn"),
    ("000", 5): Drawing(),
    ("000", 6): Test("test_a_drawn_project_ships_as_it_is_drawn"),
    ("000", 7): Drawing(),
    ("000", 8): ships(inside("ml_experiments"), inside("src") | {"models/new_model.py"}),
    ("000", 9): Test("test_commit_your_changes"),
    ("000", 10): ships(inside("experiments/transformer"), TRACKED),
    ("000", 11): Test("test_one_package_of_a_large_repository"),
    ("000", 12): ships(frozenset({"train.py"}), SRC),
    ("000", 13): Test("test_pattern_examples"),
    ("000", 14): ships(TESTLESS | {"models/transformer.py"} | CONFIGS, SRC),
    ("000", 15): ships(frozenset({"experiments/transformer/fit.py"})),
    ("000", 16): ships(frozenset({"models/transformer.py", "utils/data_loader.py"})),
    ("000", 17): ships(whole("generated")),
    ("000", 18): Runs(ships=(CODE | CONFIGS,), shows=(("#SBATCH --account=my_account",),)),
    ("000", 19): Drawing(),
    ("000", 20): Test("test_a_drawn_project_ships_as_it_is_drawn"),
    ("000", 21): Drawing(),
    ("000", 22): ships(inside("src") | CONFIGS, CODE | CONFIGS),
    ("000", 23): ships(CODE | whole("experiments")),
    ("000", 24): ships(CODE | CONFIGS | {"data/processed/part-0.bin"}),
    ("000", 25): ships(inside("src", "source") | whole("generated")),
    ("000", 26): Test("test_choosing_a_packager"),
    ("000", 27): ships(TESTLESS | CONFIGS),
    ("000", 28): Runs(ships=(inside("src"),), shows=(PYTORCH,)),
    ("000", 29): Runs(ships=(inside("src"),), shows=(("(local)",),)),
    ("000", 30): Test("test_outside_a_repository"),
    ("000", 31): ships(SRC),
    ("000", 32): ships(whole("src/models")),
    ("000", 33): Test("test_looking_at_what_ships"),
    ("000", 34): Test("test_looking_at_what_ships"),
    ("000", 35): ships(inside("src")),
    ("000", 36): Test("test_the_complete_example"),
    ("002", 1): Drawing(),
    ("002", 2): Drawing(),
    ("002", 3): Drawing(),
    ("002", 4): Test("test_the_commands_that_are_described"),
    ("002", 5): ships(CODE | CONFIGS),
    ("003", 1): Drawing(),
    ("003", 2): Drawing(),
    ("003", 3): Drawing(),
    ("003", 4): Test("test_the_commands_that_are_described"),
    ("003", 5): ships(CODE | CONFIGS),
    ("003", 6): Test("test_the_docker_executor"),
    ("003", 7): Test("test_the_slurm_executor"),
    ("003", 8): Test("test_dependency_types"),
    ("003", 9): SKYPILOT,
    ("003", 10): DGX,
    ("003", 11): LEPTON,
    ("003", 12): KUBEFLOW,
    ("003", 13): KUBEFLOW,
    ("003", 14): KUBEFLOW,
    ("003", 15): KUBEFLOW,
    ("003", 16): Test("test_staging_in_a_config_map"),
    ("003", 17): KUBEFLOW,
    ("004", 1): Drawing(),
    ("004", 2): Test("test_the_quick_start_of_recipes"),
    ("004", 3): Profiles(),
    ("004", 4): Profiles(),
    ("004", 5): Profiles(),
    ("004", 6): Profiles(),
    ("004", 7): Profiles(),
    ("004", 8): Profiles(),
    ("004", 9): Profiles(),
    ("004", 10): Profiles(),
    ("004", 11): ships(CODE | CONFIGS | {"data/index.json"}),
    ("004", 12): Profiles(),
    ("004", 13): Test("test_overrides_of_recipes"),
    ("004", 14): RAY_RECIPES,
}

MECHANISM = Test("test_the_commands_that_are_described")
COMMANDS: dict[tuple[str, int, int], Test | Waits] = {
    ("000", 50, 1): MECHANISM,
    ("000", 54, 1): MECHANISM,
    ("000", 170, 1): MECHANISM,
    ("003", 55, 1): MECHANISM,
    ("003", 55, 2): MECHANISM,
    ("003", 58, 1): MECHANISM,
    ("003", 60, 1): MECHANISM,
    ("003", 217, 1): SKYPILOT,
    ("003", 217, 2): SKYPILOT,
    ("003", 498, 1): KUBEFLOW,
    ("003", 502, 1): KUBEFLOW,
    ("003", 503, 1): KUBEFLOW,
    ("003", 506, 1): KUBEFLOW,
    ("003", 507, 1): KUBEFLOW,
    ("003", 510, 1): KUBEFLOW,
    ("003", 511, 1): Test("test_the_config_map_packager_is_available"),
    ("003", 514, 1): KUBEFLOW,
    ("003", 515, 1): KUBEFLOW,
    ("003", 556, 1): KUBEFLOW,
    ("004", 83, 1): Test("test_a_recipe_uses_its_profile"),
    ("004", 171, 1): MECHANISM,
    ("004", 181, 1): MECHANISM,
}
"""Commands in running text, by document, line and running number in the line."""
