"""The scenarios that every backend passes, or declares that it cannot offer.

A plug-in's whole test file::

    import pytest
    from runyard.testing import conformance

    @pytest.fixture
    def harness(tmp_path):
        return conformance.Harness(MyExecutor, tmp_path)

    test_conformance = conformance.suite(unsupported={"group_succeeds": "the scheduler has no groups"})

Each scenario is one test, reported as passed, or as declared unsupported with its reason (an expected
failure that is not run). What a scenario asks for is its docstring; ``SCENARIOS`` holds all of them by name.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from runyard.testing.conformance import attempts, backend, code, graphs, groups, ledger, survival, tasks
from runyard.testing.conformance.harness import Harness, Scenario

__all__ = ["SCENARIOS", "Harness", "Scenario", "check", "suite"]

SCENARIOS: dict[str, Scenario] = {
    name: function
    for module in (tasks, code, attempts, graphs, groups, ledger, backend, survival)
    for name, function in module.SCENARIOS.items()
}


def check(name: str, harness: Harness) -> None:
    """Run one scenario in the harness's folder, and end whatever it leaves behind.

    Raises:
        AssertionError: saying what did not happen as it should.
    """
    with contextlib.chdir(harness.work):
        try:
            SCENARIOS[name](harness)
        finally:
            harness.end_everything()


def suite(unsupported: Mapping[str, str] | None = None) -> Callable[..., None]:
    """Return a pytest function with one test for each scenario; it needs a fixture named ``harness``.

    Args:
        unsupported: Scenarios that this backend cannot offer, each with the reason in words.

    Raises:
        ValueError: when a scenario declared unsupported does not exist.
    """
    pytest: Any = importlib.import_module("pytest")  # only people who test have it
    declared = dict(unsupported or {})
    if unknown := sorted(set(declared) - set(SCENARIOS)):
        raise ValueError(f"no such scenarios: {', '.join(unknown)}; known: {', '.join(SCENARIOS)}")

    def parameter(name: str) -> Any:
        if name not in declared:
            return pytest.param(name, id=name)
        reason = f"declared unsupported: {declared[name]}"
        return pytest.param(name, id=name, marks=pytest.mark.xfail(run=False, reason=reason))

    def test_conformance(scenario: str, harness: Harness) -> None:
        check(scenario, harness)

    parametrize = pytest.mark.parametrize("scenario", [parameter(name) for name in SCENARIOS])
    marked: Callable[..., None] = parametrize(test_conformance)
    return marked
