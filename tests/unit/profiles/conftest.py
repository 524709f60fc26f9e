"""Profiles written into a file of their own, in an environment that is known."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from runyard.profiles.book import Book
from runyard.profiles.files import read
from runyard.profiles.load import Target, parse_overrides, resolve

Load = Callable[..., Target]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Resolve a profile of some TOML text: ``load(text, name, "run.nodes=8", mode=…, environ=…)``."""

    def run(text: str, name: str = "p", *overrides: str, mode: str = "run", **environ: str) -> Target:
        path = tmp_path / "env.toml"
        path.write_text(textwrap.dedent(text))
        environ = {"HOME": str(tmp_path)} | environ
        return resolve(name, mode, parse_overrides(list(overrides)), book=Book((read(path),)), environ=environ)

    return run
