"""Where names and files in values come from. The command line brings its own; this is what it must offer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from runyard.errors import OverrideError


@dataclass(frozen=True)
class Place:
    """Where a value goes, for messages and for factories that belong to one argument.

    Args:
        path: The argument's path, ``model.layers``.
        text: What was typed, ``model.layers=x``.
        owner: The function or class that takes the argument.
        name: The argument's name there.
        text_too: The value may as well be plain text, so that nothing is imported to find out what it names.
    """

    path: str
    text: str = ""
    owner: Any = None
    name: str = ""
    text_too: bool = False

    def inside(self, step: str, owner: Any = None, name: str = "") -> Place:
        """Return the place of a part of the value."""
        return Place(f"{self.path}{step}", self.text, owner, name)


class Sources:
    """Factories and files. This one has no factories and reads no files.

    Example:
        >>> Sources().names(int, Place("epochs"))
        []
    """

    def factory(self, name: str, annotation: Any, place: Place) -> Callable[..., Any] | None:
        """Return the function called ``name`` that makes an ``annotation`` for a place, if there is one."""
        del name, annotation, place
        return None

    def names(self, annotation: Any, place: Place) -> Sequence[str]:
        """Return the names of all factories that fit."""
        del annotation, place
        return []

    def default(self, annotation: Any, place: Place) -> Callable[..., Any] | None:
        """Return the factory that is used when nothing is given."""
        del annotation, place
        return None

    def read(self, path: str, section: str) -> Any:
        """Return the content of a file, or of a section of it, as plain data.

        Raises:
            OverrideError: when it cannot be read; always, here.
        """
        del section
        raise OverrideError(f"no files are read here, and @{path} names one", hint="write the value itself")
