"""Show a call tree to a person, without importing anything that it names."""

from __future__ import annotations

from typing import Any

from runyard.secrets import MASK, looks_secret

WIDTH = 88


def summary(document: dict[str, Any]) -> str:
    """Return a call tree as text: on one line when it fits, else indented.

    Text of an argument whose name looks like a secret's is blotted out.

    Args:
        document: The tree, or the whole content of ``call.json``.

    Example:
        >>> summary({"$call": "train:main", "args": [], "kwargs": {"lr": 0.1, "out": {"$path": "/tmp"}}})
        "train.main(lr=0.1, out=Path('/tmp'))"
        >>> summary({"$call": "train:main", "kwargs": {"api_token": "abc", "max_tokens": "8"}})
        "train.main(api_token=***, max_tokens='8')"
    """
    if "task" in document and "version" in document:
        document = document["task"]
    return _text(document, 0)


def _text(node: Any, indent: int) -> str:
    if isinstance(node, list):
        return _join("[", [("", item) for item in node], "]", indent)
    if not isinstance(node, dict):
        return repr(node)
    kind = next((key for key in node if key.startswith("$") and key != "$id"), None)
    if kind is None:
        return _join("{", [(f"{key!r}: ", value) for key, value in node.items()], "}", indent)
    mark = f"#{node['$id']}=" if "$id" in node else ""  # what "<same as #0>" refers to
    return mark + _directive(kind, node[kind], node, indent)


def _directive(kind: str, content: Any, node: dict[str, Any], indent: int) -> str:
    if kind in ("$call", "$partial", "$new"):
        parts = [("", item) for item in node.get("args", ())]
        parts += [(f"{name}=", item) for name, item in node.get("kwargs", {}).items()]
        mark = "partial " if kind == "$partial" else ""
        return _join(f"{mark}{_target(content, kind == '$new')}(", parts, ")", indent)
    if kind == "$dataclass":
        return _join(f"{_target(content)}(", [(f"{k}=", v) for k, v in node["state"].items()], ")", indent)
    if kind == "$dict":
        return _join("{", [(f"{_text(key, indent)}: ", value) for key, value in content], "}", indent)
    if kind in ("$tuple", "$list", "$set", "$frozenset"):
        start, end = {"$tuple": ("(", ")"), "$list": ("[", "]")}.get(kind, ("{", "}"))
        name = _target(node["type"]) if "type" in node else ""
        return _join(name + start, [("", item) for item in content], end, indent)
    return _small(kind, content, node)


def _small(kind: str, content: Any, node: dict[str, Any]) -> str:
    if kind == "$name":
        return _target(content)
    if kind == "$path":
        return f"Path({content!r})"
    if kind == "$attr":
        return f"{_text(node['of'], 0)}.{content}"
    if kind == "$bytes":
        return f"bytes({len(content) * 3 // 4})"
    if kind == "$secret":
        return MASK if "at" in node else f"Secret({content!r})"
    if kind == "$ref":
        return f"<same as #{content}>"
    return f"<by value #{content}>" if kind == "$value" else str(content)


def _target(target: Any, short: bool = False) -> str:
    if not isinstance(target, str):
        return _text(target, 0)
    module, _, qualname = target.partition(":")
    return (
        qualname if qualname and (short or module in ("__main__", "builtins")) else f"{module}.{qualname}".rstrip(".")
    )


def _hidden(label: str, part: Any) -> bool:
    return isinstance(part, str) and bool(part) and looks_secret(label.rstrip("=: ").strip("'\""))


def _join(start: str, parts: list[tuple[str, Any]], end: str, indent: int) -> str:
    """Write ``start label+part, … end`` on one line, or one part a line."""
    texts = [label + (MASK if _hidden(label, part) else _text(part, indent + 2)) for label, part in parts]
    line = start + ", ".join(texts) + end
    if len(line) + indent <= WIDTH and "\n" not in line:
        return line
    pad = " " * (indent + 2)
    return start + "\n" + "".join(f"{pad}{text},\n" for text in texts) + " " * indent + end
