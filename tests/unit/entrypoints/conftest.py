"""A registry of each test's own."""

import pytest

from runyard.cli.entrypoints import registry


@pytest.fixture(autouse=True)
def _registry(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "_factories", [])
    monkeypatch.setattr(registry, "_entrypoints", {})
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
