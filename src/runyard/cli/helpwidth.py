"""Help pages as wide as the terminal, however narrow that is: click's own stop at fifty columns."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import click

_LEAST, _CLICKS_LEAST = 20, 52
_BESIDE = 36
"""Columns that are kept for the text beside a list of terms, where there are as many."""


class Formatter(click.HelpFormatter):
    """Writes help pages.

    Example:
        >>> page = Formatter(width=38)
        >>> page.write_dl([("--quiet", "Print the command's own output only.")])
        >>> print(page.getvalue(), end="")
        --quiet  Print the command's own
                 output only.
    """

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        columns = shutil.get_terminal_size().columns
        if width is None and columns < _CLICKS_LEAST:
            width = max(columns - 2, _LEAST)
        super().__init__(indent_increment, width, max_width)

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write terms with what is said of each beside it; below it, where a term is long or there is no room."""
        room = max(self.width - _BESIDE, self.width // 3)
        super().write_dl(list(rows), min(col_max, room), col_spacing)


class Context(click.Context):
    """A context whose help page is as wide as the terminal, and which usage errors of its command name."""

    formatter_class = Formatter

    @contextmanager
    def scope(self, cleanup: bool = True) -> Iterator[click.Context]:
        """Make this the current context."""
        try:
            with super().scope(cleanup):
                yield self
        except click.UsageError as error:  # click's parser leaves the command out
            error.ctx = error.ctx or self
            raise
