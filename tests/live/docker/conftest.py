"""One engine for the whole session, started when a test first asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import docker_engine
from docker_engine import Engine

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def _engine() -> Iterator[Engine]:
    if why := docker_engine.missing():
        pytest.skip(why)
    with docker_engine.running(Engine) as engine:
        engine.add_image()
        yield engine


@pytest.fixture
def engine(_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine with an image, that clients find; it is whole again, and empty, after the test."""
    for name, value in _engine.env.items():
        monkeypatch.setenv(name, value)
    yield _engine
    _engine.reset()
