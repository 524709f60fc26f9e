"""Colours and widths for a terminal; plain text everywhere else."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from typing import TextIO

_CODES = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "dim": "2",
    "bold": "1",
}
_NARROWEST = 12
LABEL_COLOURS = ("cyan", "magenta", "blue", "yellow", "green")


def is_terminal(stream: TextIO) -> bool:
    """Say whether a stream is a terminal that understands control codes."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False


def has_colour(stream: TextIO) -> bool:
    """Say whether to colour what goes to a stream (``NO_COLOR`` and ``FORCE_COLOR`` are honoured)."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or is_terminal(stream)


def paint(text: str, style: str, on: bool) -> str:
    """Return ``text`` in a style (``"red"``, ``"dim"`` …) when ``on``."""
    return f"\033[{_CODES[style]}m{text}\033[0m" if on and style else text


def width() -> int:
    """Return the terminal's width in columns."""
    try:
        return int(os.environ.get("COLUMNS", "0")) or os.get_terminal_size(2).columns
    except (ValueError, OSError):
        return 100


def fitting(stream: TextIO) -> int:
    """Return how many columns fit into a line of a stream; 0 where that is no terminal, and lines have no end."""
    try:
        return width() if stream.isatty() else 0
    except (AttributeError, ValueError):
        return 0


def look(stream: TextIO) -> tuple[bool, int]:
    """Return whether a stream has colours, and how many columns (:func:`fitting`): how a table is shown there."""
    return has_colour(stream), fitting(stream)


def duration(seconds: float | None) -> str:
    """Return a duration as people read it.

    Example:
        >>> duration(0.42), duration(65), duration(7300), duration(None)
        ('0.4 s', '1m 05s', '2h 01m', '-')
    """
    if seconds is None:
        return "-"
    if seconds < 59.95:
        return f"{max(seconds, 0):.1f} s"
    minutes, secs = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {secs:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours < 48 else f"{hours // 24}d {hours % 24:02d}h"


def table(
    header: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    on: bool = False,
    styles: dict[str, str] | None = None,
    fit: int = 0,
) -> str:
    """Return rows as aligned columns under a header.

    Args:
        header: The columns' names.
        rows: The cells.
        on: Colour the cells that are found in ``styles``.
        styles: Styles by text.
        fit: Columns that the terminal has; what is too long in the last column goes on below. 0: there is no end.

    Example:
        >>> print(table(("name", "value"), [("a", "one two three four")], fit=18))
        name  value
        a     one two
              three four
    """
    cells = [header, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    before = sum(widths[:-1]) + 2 * (len(header) - 1)
    out = []
    for n, row in enumerate(cells):
        first, *more = _folded(row[-1], max(fit - before, _NARROWEST)) if fit else [row[-1]]
        parts = []
        for i, cell in enumerate(row):
            text = first if i == len(row) - 1 else cell.ljust(widths[i])
            style = "bold" if n == 0 else (styles or {}).get(cell, "")
            parts.append(paint(text, style, on and bool(style)))
        out += ["  ".join(parts).rstrip(), *(" " * before + line for line in more)]
    return "\n".join(out)


def _folded(text: str, columns: int) -> list[str]:
    if len(text) <= columns:
        return [text]
    return textwrap.wrap(text, columns, replace_whitespace=False, break_on_hyphens=False)
