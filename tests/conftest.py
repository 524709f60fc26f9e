"""Rules for the whole test suite."""

import os
from collections.abc import Generator

import pytest
from xdist.scheduler import LoadScopeScheduling

NEVER_SKIPPED = ("live", "seeds")
"""Marks of tests that need something of the machine, which is always there where CI=true."""


class BySystem(LoadScopeScheduling):  # type: ignore[misc]
    """Spreads tests over processes; those that share a system (``live/slurm``, ``live/docker``) stay together."""

    def _split_scope(self, nodeid: str) -> str:
        folder = nodeid.partition("::")[0].split("/")[1:-1]
        return "/".join(folder) if len(folder) == 2 and folder[0] == "live" else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> BySystem:
    """Choose how the tests are spread when several run side by side."""
    return BySystem(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI=true, a live test that is skipped has failed: its system should have been there. So with the seeds."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    mark = next((name for name in NEVER_SKIPPED if item.get_closest_marker(name)), None)
    if os.environ.get("CI") == "true" and skipped and mark:
        report.outcome = "failed"
        report.longrepr = f"a {mark} test was skipped, and CI=true: {report.longrepr}"
    return report
