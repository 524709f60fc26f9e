"""Two clusters for the whole session, each started when a test first asks for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import slurm_cluster
from slurm_cluster import Cluster

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster without accounting."""
    yield from _cluster(accounting=False)


@pytest.fixture(scope="session")
def accounting_cluster() -> Iterator[Cluster]:
    """A cluster whose jobs ``sacct`` knows."""
    yield from _cluster(accounting=True)


def _cluster(*, accounting: bool) -> Iterator[Cluster]:
    if why := slurm_cluster.missing(accounting=accounting):
        pytest.skip(why)
    with slurm_cluster.running(accounting=accounting) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _own_cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clients find the cluster that a test asks for; it is whole again, and idle, after the test."""
    for name in os.environ:
        if name.startswith(slurm_cluster.SETTINGS):
            monkeypatch.delenv(name)
    names = [name for name in ("cluster", "accounting_cluster") if name in request.fixturenames]
    clusters: list[Cluster] = [request.getfixturevalue(name) for name in names]
    for cluster in clusters[:1]:
        monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    yield
    for cluster in clusters:
        cluster.reset()
