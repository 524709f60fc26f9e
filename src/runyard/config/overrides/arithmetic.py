"""``+=`` and its kin, on the values they make sense for."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from runyard.config.overrides.plain import Mismatch

_NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    "+=": operator.add,
    "-=": operator.sub,
    "*=": operator.mul,
    "/=": operator.truediv,
    "//=": operator.floordiv,
    "%=": operator.mod,
}
_BITS: dict[str, Callable[[Any, Any], Any]] = {"|=": operator.or_, "&=": operator.and_}


def combine(sign: str, old: Any, new: Any) -> Any:
    """Return what ``old sign new`` gives: numbers are calculated with, text is joined, containers grow and shrink.

    Raises:
        Mismatch: when the two do not go together.

    Example:
        >>> combine("*=", 256, 2), combine("+=", [1], [2]), combine("-=", [1, 2], [2])
        (512, [1, 2], [1])
    """
    try:
        result = _combine(sign, old, new)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise Mismatch(f"{old!r} {sign} {new!r}: {error}") from None
    if result is NotImplemented:
        raise Mismatch(f"{sign} does not work on {_kind(old)} and {_kind(new)}", "write NAME=VALUE")
    return result


def _combine(sign: str, old: Any, new: Any) -> Any:
    if _is_number(old) and _is_number(new):
        if sign in _BITS and not (isinstance(old, float) or isinstance(new, float)):
            return _BITS[sign](old, new)
        return _NUMBERS[sign](old, new) if sign in _NUMBERS else NotImplemented
    if isinstance(old, str) and isinstance(new, str) and sign == "+=":
        return old + new
    if isinstance(old, (list, tuple)):
        items = list(new) if isinstance(new, (list, tuple, set, frozenset)) else [new]
        if sign == "+=":
            return type(old)([*old, *items])
        return type(old)([item for item in old if item not in items]) if sign == "-=" else NotImplemented
    if isinstance(old, (set, frozenset)):
        return _sets(sign, old, new)
    if isinstance(old, dict):
        if isinstance(new, dict) and sign in ("|=", "+="):
            return {**old, **new}
        gone = new if isinstance(new, (list, tuple, set)) else [new]
        return {key: value for key, value in old.items() if key not in gone} if sign == "-=" else NotImplemented
    return NotImplemented


def _sets(sign: str, old: Any, new: Any) -> Any:
    other = set(new) if isinstance(new, (list, tuple, set, frozenset)) else {new}
    if sign in ("|=", "+="):
        return old | other
    if sign == "-=":
        return old - other
    return old & other if sign == "&=" else NotImplemented


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
