"""The grammar of overrides: ``model.layers[0].size*=2`` as data. Text in, data out; nothing is looked up or run.

::

    override  = path operator value
    path      = name { "." name | "[" number "]" | "[" key "]" }
    operator  = "=" | "+=" | "-=" | "*=" | "/=" | "//=" | "%=" | "|=" | "&="
    value     = "@" file [ ":" section ] | name "(" arguments ")" | list | tuple | set | dict | "text" | word

A value that is none of the bracketed forms is a word, whatever it contains: ``cmd=echo (hi`` is text.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from runyard.config.overrides.nodes import Call, File, Items, Node, Pairs, Text, Word
from runyard.errors import OverrideError

Key = str | int
DEEPEST = 40
"""So deep may brackets be nested."""

_NAME = r"[^\W\d]\w*"
_STEP = re.compile(rf"\.({_NAME})|\[(-?\d{{1,9}})\]|\[(?:'([^']*)'|\"([^\"]*)\"|({_NAME}))\]")
_HEAD = re.compile(_NAME)
_OPERATOR = re.compile(r"\s*((?://|[-+*/%|&])?=)")
_CALLED = re.compile(rf"{_NAME}(?:\.{_NAME})*(?=\()")
_KEYWORD = re.compile(rf"\s*({_NAME})\s*=(?!=)")
_FILE = re.compile(rf"@(?P<path>.*?)(?::(?P<section>{_NAME}(?:\.[\w-]+)*))?", re.DOTALL)
_CLOSING = {"[": "]", "(": ")", "{": "}"}


@dataclass(frozen=True)
class Override:
    """One change: what, how, and to which value.

    Args:
        path: Where: names, and numbers for places in a list.
        operator: ``=``, ``+=`` …
        value: As it was written.
        text: The whole override, for messages.
    """

    path: tuple[Key, ...]
    operator: str
    value: Node
    text: str

    @property
    def where(self) -> str:
        """The path as text."""
        return path_text(self.path)


def path_text(path: tuple[Key, ...]) -> str:
    """Return a path as it is written.

    Example:
        >>> path_text(("models", 0, "hidden-size"))
        "models[0]['hidden-size']"
    """
    out = ""
    for key in path:
        if isinstance(key, int):
            out += f"[{key}]"
        elif key.isidentifier():
            out += f".{key}" if out else key
        else:
            out += f"[{key!r}]"
    return out


def parse(text: str) -> Override:
    """Return one override.

    Raises:
        OverrideError: when it is none; the message says how to write it.

    Example:
        >>> found = parse("model.betas[1]*=0.5")
        >>> found.path, found.operator, found.value
        (('model', 'betas', 1), '*=', Word(raw='0.5'))
    """
    path, end = _path(text)
    found = _OPERATOR.match(text, end)
    if not path or not found:
        hint = f"write {path_text(path)}=VALUE" if path and end == len(text) else "write NAME=VALUE"
        raise OverrideError(f"{text!r} is no override", hint=hint)
    rest = text[found.end() :]
    if found[1] == "=" and rest.startswith("="):
        raise OverrideError(f"{text!r} compares, and changes nothing", hint=f"write {path_text(path)}{rest}")
    return Override(path, found[1], parse_value(rest), text)


def _path(text: str) -> tuple[tuple[Key, ...], int]:
    head = _HEAD.match(text)
    if not head:
        return (), 0
    path: list[Key] = [head[0]]
    end = head.end()
    while step := _STEP.match(text, end):
        name, number, *quoted = step.groups()
        path.append(int(number) if number is not None else next(p for p in (name, *quoted) if p is not None))
        end = step.end()
    return tuple(path), end


def parse_path(text: str) -> tuple[Key, ...]:
    """Return a path such as ``model.layers[0]``.

    Raises:
        OverrideError: when it is none.
    """
    path, end = _path(text)
    if not path or end != len(text):
        raise OverrideError(f"{text!r} is no path", hint="write NAME, NAME.FIELD or NAME[0]")
    return path


def parse_value(text: str) -> Node:
    """Return a value. Every text is one.

    Example:
        >>> parse_value("my_model(size=3, act='relu')").kwargs
        (('size', Word(raw='3')), ('act', Text(raw="'relu'", value='relu')))
        >>> parse_value("a (b")
        Word(raw='a (b')
    """
    reader = _Reader(text)
    try:
        node = reader.value("")
        reader.spaces()
        if reader.at == len(text) and not isinstance(node, Word):
            return node
    except _Unreadable:
        pass
    return Word(text)


class _Unreadable(Exception):
    """The text is not of the form that its beginning promised."""


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def spaces(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def here(self) -> str:
        return self.text[self.at : self.at + 1]

    def value(self, stops: str) -> Node:
        """Read one value, which ends at one of ``stops`` or at the end of the text."""
        self.spaces()
        start = self.at
        node = self.structured(start)
        if node is not None:
            after = self.at
            self.spaces()
            if not self.here() or self.here() in stops:
                return node
            if node.raw[:1] not in "'\"" or stops:  # a word may go on after a quotation, not after brackets
                raise _Unreadable
            self.at = after
        while self.here() and self.here() not in stops:
            self.at += 1
        raw = self.text[start : self.at]
        raw = raw.strip() if stops else raw
        if not raw and stops:
            raise _Unreadable
        return Word(raw)

    def structured(self, start: int) -> Node | None:
        mark = self.here()
        if mark and mark in "'\"":
            return self.quoted(start)
        if mark == "@":
            return self.file()
        if mark and mark in "[({":
            return self.nested(partial(self.brackets, mark, start))
        if called := _CALLED.match(self.text, self.at):
            return self.nested(partial(self.call, called[0], start))
        return None

    def nested(self, read: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _Unreadable
        node = read()
        self.depth -= 1
        return node

    def quoted(self, start: int) -> Node | None:
        mark = self.here()
        end = start + 1
        while end < len(self.text) and self.text[end] != mark:
            end += 2 if self.text[end] == "\\" else 1
        if end >= len(self.text):
            return None
        self.at = end + 1
        raw = self.text[start : self.at]
        return Text(raw, _unquoted(raw))

    def file(self) -> Node | None:
        end = self.at
        while end < len(self.text) and (self.text[end] not in ",)]}" or self.depth == 0):
            end += 1
        found = _FILE.fullmatch(self.text[self.at : end].rstrip())
        if not found or not found["path"]:
            return None
        self.at = end
        return File(found[0], found["path"], found["section"] or "")

    def brackets(self, mark: str, start: int) -> Node:
        close = _CLOSING[mark]
        self.at += 1
        items: list[Node] = []
        pairs: list[tuple[Node, Node]] = []
        comma = False
        while not self.ends(close):
            item = self.value(",:" + close if mark == "{" else "," + close)
            if mark == "{" and self.here() == ":":
                self.at += 1
                pairs.append((item, self.value("," + close)))
            else:
                items.append(item)
            comma = self.comma(close)
        raw = self.text[start : self.at]
        if items and pairs:
            raise _Unreadable
        if mark == "{" and not items:
            return Pairs(raw, tuple(pairs))
        if mark == "(" and len(items) == 1 and not comma:
            raise _Unreadable  # "(draft)" is text
        return Items(raw, "list" if mark == "[" else "tuple" if mark == "(" else "set", tuple(items))

    def call(self, name: str, start: int) -> Node:
        self.at += len(name) + 1
        args: list[Node] = []
        kwargs: list[tuple[str, Node]] = []
        while not self.ends(")"):
            if keyword := _KEYWORD.match(self.text, self.at):
                self.at = keyword.end()
                kwargs.append((keyword[1], self.value(",)")))
            elif kwargs:
                raise _Unreadable
            else:
                args.append(self.value(",)"))
            self.comma(")")
        return Call(self.text[start : self.at], name, tuple(args), tuple(kwargs))

    def ends(self, close: str) -> bool:
        """Go past the closing bracket, if it is next."""
        self.spaces()
        if not self.here():
            raise _Unreadable
        if self.here() != close:
            return False
        self.at += 1
        return True

    def comma(self, close: str) -> bool:
        """Go past a comma; without one the closing bracket must be next."""
        self.spaces()
        if self.here() == ",":
            self.at += 1
            return True
        if self.here() != close:
            raise _Unreadable
        return False


def _unquoted(raw: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" in a quotation is the user's business
        try:
            value = ast.literal_eval(raw)
        except (ValueError, SyntaxError, MemoryError):
            value = None
    return value if isinstance(value, str) else raw[1:-1]
