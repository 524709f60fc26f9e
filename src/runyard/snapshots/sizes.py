"""Sizes in bytes, as people write and read them."""

from __future__ import annotations

import re

from runyard.errors import ConfigError

_UNITS = {
    "": 1,
    "b": 1,
    "k": 10**3,
    "kb": 10**3,
    "m": 10**6,
    "mb": 10**6,
    "g": 10**9,
    "gb": 10**9,
    "t": 10**12,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def parse_size(value: int | float | str | None, *, name: str = "size") -> int | None:
    """Return a size in bytes; ``None`` stays ``None`` (no limit).

    Args:
        value: A number of bytes, or text such as ``"500MB"``, ``"1.5 GiB"``.
        name: What the size is called in an error message.

    Raises:
        ConfigError: when the text is no size, or is negative.

    Example:
        >>> parse_size("500MB"), parse_size("1 KiB"), parse_size(None)
        (500000000, 1024, None)
    """
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return int(value)
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    unit = match.group(2).lower() if match else None
    if match is None or unit not in _UNITS:
        raise ConfigError(f"{name}: {value!r} is no size", hint="write for example 500MB, 1.5GiB, or bytes as a number")
    return int(float(match.group(1)) * _UNITS[unit])


def format_size(size: int) -> str:
    """Return a number of bytes for people, in decimal units.

    Example:
        >>> format_size(0), format_size(1234), format_size(499_982_794)
        ('0 B', '1.2 kB', '500 MB')
    """
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        # 999.5 would be rounded to 1000: the next unit reads better.
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:.1f} {unit}" if unit != "B" and value < 9.95 else f"{value:.0f} {unit}"
