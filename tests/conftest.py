"""Rules for the whole test suite."""

import os
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI=true, a live test that is skipped has failed: its system should have been there."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if os.environ.get("CI") == "true" and skipped and item.get_closest_marker("live"):
        report.outcome = "failed"
        report.longrepr = f"a live test was skipped, and CI=true: {report.longrepr}"
    return report
