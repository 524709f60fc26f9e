"""Records that a person can read: plain JSON values written as YAML.

Scalars are written as JSON, which YAML contains, so any YAML reader gets back exactly what was
written and nothing needs guessing.
"""

from __future__ import annotations

import json
import re
from typing import Any

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*\Z")
_ODD = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")
"""What JSON leaves as it is, and YAML refuses or takes for the end of a line."""
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def dump(value: Any) -> str:
    r"""Return JSON-able data as YAML.

    Example:
        >>> print(dump({"title": "digits", "tasks": [{"name": "a"}, 1], "empty": {}}), end="")
        title: "digits"
        tasks:
        - name: "a"
        - 1
        empty: {}
    """
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        out = []
        for key, item in value.items():
            name = key if _PLAIN_KEY.match(key) and key.lower() not in _WORDS else _scalar(key)
            out += _nested(f"{name}:", item, "  ")
        return out
    if isinstance(value, (list, tuple)) and value:
        out = []
        for item in value:
            lines = _lines(item)
            out.append(f"- {lines[0]}")
            out += [f"  {line}" for line in lines[1:]]
        return out
    return [_scalar(value)]


def _nested(head: str, item: Any, indent: str) -> list[str]:
    if isinstance(item, str) and "\n" in item and _is_block(item):
        return [
            f"{head} |{'' if item.endswith(chr(10)) else '-'}",
            *(indent + li for li in item.rstrip("\n").split("\n")),
        ]
    if isinstance(item, (dict, list, tuple)) and item:
        shift = indent if isinstance(item, dict) else ""
        return [head, *(shift + line for line in _lines(item))]
    return [f"{head} {_scalar(item)}"]


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        return _float(value)
    return _ODD.sub(lambda m: f"\\u{ord(m[0]):04x}", json.dumps(value, ensure_ascii=False))


def _float(value: float) -> str:
    # YAML 1.1 reads 1e-05 as text: it wants the dot.
    text = json.dumps(value)
    text = {"NaN": ".nan", "Infinity": ".inf", "-Infinity": "-.inf"}.get(text, text)
    return text if "." in text else text.replace("e", ".0e")


def _is_block(text: str) -> bool:
    """Say whether a text survives as a literal block: printable, and neither odd edges nor trailing newlines."""
    body = text[:-1] if text.endswith("\n") else text
    return (
        not body.endswith("\n")
        and body[:1] not in ("", " ", "\n")
        and all(c == "\n" or c == "\t" or c.isprintable() for c in body)
        and not any(line.startswith("\t") for line in body.split("\n"))
    )
