"""The examples in docstrings hold."""

import doctest
import importlib
import pkgutil

import pytest

import runyard.cli.entrypoints
import runyard.config.overrides
from runyard.cli.entrypoints import registry

MODULES = [
    f"{package.__name__}.{found.name}"
    for package in (runyard.config.overrides, runyard.cli.entrypoints)
    for found in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "_factories", [])
    monkeypatch.setattr(registry, "_entrypoints", {})
    monkeypatch.setattr("sys.argv", ["test"])
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path))
    assert doctest.testmod(importlib.import_module(name)).failed == 0
