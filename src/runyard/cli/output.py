"""What a command prints: data on standard output, talk on standard error."""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def emit(text: str) -> None:
    """Print data."""
    sys.stdout.write(text + "\n")


def emit_json(value: Any) -> None:
    """Print data as JSON: indented for a person at a terminal, one line for a program."""
    emit(json.dumps(value, indent=2 if sys.stdout.isatty() else None))


def say(text: str) -> None:
    """Tell a person something."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def hush(text: str) -> None:
    """Say nothing, where another would :func:`say`."""


def age(seconds: float) -> str:
    """Return how long ago something was, roughly.

    Example:
        >>> age(3), age(200), age(90000)
        ('3 s ago', '3m ago', '1d ago')
    """
    if seconds < 60:
        return f"{max(0, int(seconds))} s ago"
    unit, length = next((u, n) for u, n in (("d", 86400), ("h", 3600), ("m", 60)) if seconds >= n)
    return f"{int(seconds // length)}{unit} ago"


def moment(at: float | None) -> str:
    """Return a time in the local zone, to the second."""
    return "-" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def count(number: int, noun: str) -> str:
    """Return a number with its noun.

    Example:
        >>> count(1, "task"), count(3, "task")
        ('1 task', '3 tasks')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"
