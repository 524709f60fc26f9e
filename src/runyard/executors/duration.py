"""Durations as schedulers and people write them."""

from __future__ import annotations

import re
from datetime import timedelta

from runyard.errors import ConfigError

_CLOCK = re.compile(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d+){0,2})\Z")
_UNITS = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|m|s)", re.IGNORECASE)
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def seconds(value: str | float | timedelta, where: str = "time") -> float:
    """Return a duration in seconds.

    Args:
        value: ``MM``, ``MM:SS``, ``HH:MM:SS``, ``D-HH``, ``D-HH:MM``, ``D-HH:MM:SS`` (as Slurm's
            ``--time``; a plain text number counts minutes, as there), ``"90s"``, ``"1h30m"``, a number of
            seconds, or a ``timedelta``.
        where: Name of the field, for the message.

    Raises:
        ConfigError: when the text is none of these.

    Example:
        >>> seconds("00:10:00"), seconds("1-12"), seconds("90s"), seconds(5)
        (600.0, 129600.0, 90.0, 5.0)

    Source: ``--time`` in Slurm's ``sbatch`` manual page.
    """
    total = _seconds(value, where)
    if not 0 < total < float("inf"):
        raise ConfigError(f"{where}={value!r} is not a positive duration", hint="give seconds, or HH:MM:SS")
    return total


def _seconds(value: str | float | timedelta, where: str) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (int, float)):
        return float(value)
    text = value.strip()
    if m := _CLOCK.match(text):
        parts = [int(p) for p in m["clock"].split(":")]
        if m["days"] is not None:
            hours, minutes, secs = (*parts, 0, 0)[:3]
            return int(m["days"]) * 86400.0 + hours * 3600.0 + minutes * 60.0 + secs
        if len(parts) == 3:
            return parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]
        return parts[0] * 60.0 + (parts[1] if len(parts) == 2 else 0)
    if text and not _UNITS.sub("", text).strip():
        return sum(float(n) * _SECONDS[u.lower()] for n, u in _UNITS.findall(text))
    raise ConfigError(f"{where}={value!r} is not a duration", hint='write "HH:MM:SS", "D-HH:MM:SS" or "90s"')


def clock(secs: float) -> str:
    """Return a duration as ``HH:MM:SS``, or ``D-HH:MM:SS``.

    Example:
        >>> clock(5), clock(90061)
        ('00:00:05', '1-01:01:01')
    """
    total = max(1, round(secs)) if secs > 0 else 0
    days, rest = divmod(total, 86400)
    text = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}-{text}" if days else text
