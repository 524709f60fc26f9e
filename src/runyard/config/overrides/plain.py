"""Values of plain types: what text looks like, literals, enums, and all that pydantic validates."""

from __future__ import annotations

import collections.abc
import enum
import typing
from collections.abc import Callable
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from runyard.config.overrides.nodes import Data, Items, Node, Pairs, Text, Word
from runyard.config.overrides.types import bare, describe

NONE_WORDS = frozenset({"none", "null"})
_BOOLS = {"true": True, "false": False}


class Mismatch(Exception):
    """A value that does not fit; ``hint`` says what would."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


def guess(node: Node) -> Any:
    """Return a value for what it looks like: a number, true, none, a list of such, else text.

    Example:
        >>> from runyard.config.overrides import parse_value
        >>> guess(parse_value("[1, 1e-3, true, null, relu, '1']"))
        [1, 0.001, True, None, 'relu', '1']
    """
    if isinstance(node, Word):
        return _word(node.raw.strip(), node.raw)
    if isinstance(node, Text):
        return node.value
    if isinstance(node, Data):
        return node.value
    if isinstance(node, Items):
        items = [guess(item) for item in node.items]
        return items if node.kind == "list" else tuple(items) if node.kind == "tuple" else make_set(items, set)
    if isinstance(node, Pairs):
        return make_dict([(guess(key), guess(value)) for key, value in node.pairs])
    return node.raw


def _word(text: str, otherwise: str) -> Any:
    low = text.lower()
    if low in _BOOLS:
        return _BOOLS[low]
    if low in NONE_WORDS:
        return None
    if text[:1].isdecimal() or text[:1] in "+-.":
        for read in (int, float):
            try:
                return read(text)
            except ValueError:
                continue
    return otherwise


def make_set(items: list[Any], kind: Callable[[list[Any]], Any]) -> Any:
    """Return a set of items; what cannot be in one is a Mismatch."""
    try:
        return kind(items)
    except TypeError as error:
        raise Mismatch(f"{error}: a set cannot hold it") from None


def make_dict(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return a dict of pairs; what cannot be a key is a Mismatch."""
    try:
        return dict(pairs)
    except TypeError as error:
        raise Mismatch(f"{error}: it cannot be a key") from None


def meant(name: str, known: collections.abc.Iterable[str], what: str = "there are") -> str:
    """Return a hint: the nearest known name, and all of them."""
    names = list(dict.fromkeys(known))
    if not names:
        return ""
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return (f"did you mean {near[0]!r}? " if near else "") + f"{what}: {listed}"


def shown(node: Node) -> str:
    """Return a value as messages show it."""
    raw = node.raw if len(node.raw) <= 80 else node.raw[:80] + "…"
    return raw if isinstance(node, Text) and raw[:1] in ("'", '"') else repr(raw)


def literal(node: Node, plain: Any) -> Any:
    """Return the option of a ``Literal`` that is meant."""
    options = typing.get_args(plain)
    value = guess(node)
    for option in options:
        if type(option) is type(value) and option == value:
            return option
    for option in options:
        if node.raw.strip() == str(getattr(option, "value", option)):
            return option
    raise Mismatch(f"{shown(node)} is none of {describe(plain)}", meant(node.raw, map(str, options), "one of"))


def member(node: Node, kind: type[enum.Enum]) -> enum.Enum:
    """Return the member of an enum that is meant, by its name or its value."""
    value = guess(node)
    text = value if isinstance(value, str) else node.raw.strip()
    name = text.removeprefix(f"{kind.__name__}.")
    for found, member in kind.__members__.items():
        if name == found:
            return member
    for member in kind:
        if member.value == value or str(member.value) == text:
            return member
    by_case = {found.lower(): member for found, member in kind.__members__.items()}
    if name.lower() in by_case:
        return by_case[name.lower()]
    raise Mismatch(f"{shown(node)} is no {kind.__name__}", meant(name, kind.__members__, "one of"))


@lru_cache(maxsize=512)
def _adapter(annotation: Any) -> Any:
    """Return pydantic's validator for a type; None where it knows none."""
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(annotation)
    except PydanticUserError:
        try:
            return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
        except Exception:  # noqa: BLE001 - a type that it cannot even look at
            return None
    except Exception:  # noqa: BLE001
        return None


def is_class(plain: Any) -> bool:
    """Tell whether a type is made by a call with arguments, and not read from text."""
    if not isinstance(plain, type) or plain.__module__ in ("builtins", "pathlib", "datetime", "decimal", "uuid"):
        return False
    if "__dataclass_fields__" in plain.__dict__ or hasattr(plain, "__pydantic_fields__"):
        return True
    if issubclass(plain, tuple) or typing.is_typeddict(plain):
        return False
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError

    try:
        TypeAdapter(plain)
    except PydanticSchemaGenerationError:
        return True
    except Exception:  # noqa: BLE001
        return True
    return False


def plain_value(node: Node, annotation: Any) -> Any:
    """Return a value that pydantic reads."""
    plain = bare(annotation)
    if plain is str and not isinstance(node, Data):
        return _checked(annotation, [node.value if isinstance(node, Text) else node.raw], node)
    value = guess(node)
    candidates = [value] if isinstance(node, (Items, Pairs, Data)) else [_text(node)]
    if isinstance(node, Word) and not isinstance(value, (str, bool)):
        candidates.append(value)
    return _checked(annotation, candidates, node)


def _text(node: Node) -> str:
    return node.value if isinstance(node, Text) else node.raw.strip()


def _checked(annotation: Any, candidates: list[Any], node: Node) -> Any:
    from pydantic import ValidationError

    if annotation is str and isinstance(candidates[0], str):
        return candidates[0]
    adapter = _adapter(annotation)
    what = describe(annotation)
    if adapter is None:
        raise Mismatch(f"{shown(node)}: values of type {what} cannot be given as text", "set it from Python")
    reason = kind = ""
    for value in candidates:
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            problem = error.errors()[0]
            reason, kind = problem["msg"], problem["type"]
        except Exception as error:  # noqa: BLE001 - a validator of the user's
            reason = f"{type(error).__name__}: {error}"
    simple = bare(annotation) is annotation and annotation in (int, float, bool)
    if simple:
        raise Mismatch(f"{shown(node)} is no {what}")
    constrained = bare(annotation) is not annotation and not kind.endswith(("_parsing", "_type"))
    raise Mismatch(f"{shown(node)} {'does not fit' if constrained else 'is no'} {what}: {reason}")
