"""No session outlives its test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runyard.tunnels import shells


@pytest.fixture(autouse=True)
def no_session_left() -> Iterator[None]:
    yield
    for shell in list(shells._shells.values()):
        shell.close()
    shells._shells.clear()
