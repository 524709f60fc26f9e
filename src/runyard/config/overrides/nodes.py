"""What a value written on a command line consists of, before anything is known of its type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Node:
    """A value as it was written.

    Args:
        raw: Its text.
    """

    raw: str


@dataclass(frozen=True)
class Word(Node):
    """Bare text: a number, a name, a path, or any other text."""


@dataclass(frozen=True)
class Text(Node):
    """Text in quotes.

    Args:
        value: What stands between them.
    """

    value: str


@dataclass(frozen=True)
class Items(Node):
    """``[a, b]``, ``(a, b)`` or ``{a, b}``."""

    kind: Literal["list", "tuple", "set"]
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Pairs(Node):
    """``{key: value}``."""

    pairs: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True)
class Call(Node):
    """``name(a, b=1)``: a factory or a class, with arguments."""

    name: str
    args: tuple[Node, ...]
    kwargs: tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class File(Node):
    """``@file.yaml`` or ``@file.yaml:section``."""

    path: str
    section: str


@dataclass(frozen=True)
class Data(Node):
    """A value that is no text: it was read from a file."""

    value: Any


def from_data(value: Any) -> Node:
    """Return plain data, as a file has it, as a node.

    Example:
        >>> from_data([1, "relu"]).items[1].value
        'relu'
    """
    raw = repr(value)
    if isinstance(value, str):
        return Text(value, value)
    if isinstance(value, (list, tuple)):
        return Items(raw, "tuple" if isinstance(value, tuple) else "list", tuple(map(from_data, value)))
    if isinstance(value, dict) and "_target_" not in value:
        return Pairs(raw, tuple((from_data(key), from_data(item)) for key, item in value.items()))
    return Data(raw, value)
