"""The examples in docstrings hold."""

import doctest
import importlib
import pkgutil

import pytest

import runyard
from runyard.cli.entrypoints import registry

MODULES = sorted(m.name for m in pkgutil.walk_packages(runyard.__path__, "runyard.") if m.name != "runyard.__main__")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "_factories", [])
    monkeypatch.setattr(registry, "_entrypoints", {})
    monkeypatch.setattr("sys.argv", ["test"])
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path))
    assert doctest.testmod(importlib.import_module(name)).failed == 0
