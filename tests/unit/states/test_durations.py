"""Time limits as people and schedulers write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.errors import ConfigError
from runyard.executors.duration import clock, seconds


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10", 600),
        ("10:30", 630),
        ("01:00:00", 3600),
        ("1-0", 86400),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("1-12:30:15", 131415),
        ("90s", 90),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("2d 3h", 183600),
        (" 5m ", 300),
        (5, 5),
        (0.5, 0.5),
        (timedelta(minutes=2), 120),
    ],
)
def test_durations(text: object, wanted: float) -> None:
    assert seconds(text) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", " ", "soon", "1:2:3:4", "1-", "-1", "1h-", "h", "5 apples", 0, -1, "0s", "00:00", "nan", timedelta(0)]
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ConfigError, match=r"LocalExecutor\.time"):
        seconds(text, "LocalExecutor.time")  # type: ignore[arg-type]


@given(st.integers(1, 10**7))
def test_a_clock_is_read_back(secs: int) -> None:
    assert seconds(clock(secs)) == secs
