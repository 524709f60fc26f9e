"""A small TOML writer: what :mod:`tomllib` lacks."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from runyard.errors import SerializationError

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dumps(data: dict[str, Any]) -> str:
    """Return ``data`` (str keys; dicts, lists, strings, numbers, booleans, None) as a TOML document.

    ``None`` is written as ``{"$none" = true}``, ``{"$float": "nan"}`` as ``nan``.

    Example:
        >>> print(dumps({"lr": 0.1, "model": {"dim": 8}}), end="")
        lr = 0.1
        <BLANKLINE>
        [model]
        dim = 8
    """
    lines: list[str] = []
    _table(data, [], lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _table(data: dict[str, Any], place: list[str], lines: list[str]) -> None:
    nested = {key: value for key, value in data.items() if _is_table(value)}
    lines += [f"{_key(key)} = {_value(value)}" for key, value in data.items() if key not in nested]
    for key, value in nested.items():
        inner = [*place, _key(key)]
        lines += ["", f"[{'.'.join(inner)}]"]
        _table(value, inner, lines)


def _is_table(value: Any) -> bool:
    """Small directives such as ``{"$path" = "/tmp"}`` stay on one line."""
    return isinstance(value, dict) and bool(value) and not any(key.startswith("$") for key in value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SerializationError("config", f"TOML cannot hold the text {text!r}", hint="use JSON") from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if value is None:
        return '{"$none" = true}'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        if set(value) == {"$float"}:
            return str(value["$float"])
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    return str(value)
