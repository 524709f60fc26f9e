"""Apply overrides to a Config, a Partial or an object: nested places, lists, dicts, and places still empty.

Defaults are copied before they are changed. Below a Config everything that is set becomes a Config too; below an
ordinary object (an executor) Configs are built.
"""

from __future__ import annotations

import collections.abc
import copy
import dataclasses
import enum
import typing
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from runyard.config.encoder import is_buildable
from runyard.config.overrides import types
from runyard.config.overrides.arithmetic import combine
from runyard.config.overrides.coerce import coerce, refusal
from runyard.config.overrides.grammar import Key, Override, path_text
from runyard.config.overrides.nodes import Items, Node, Pairs, from_data
from runyard.config.overrides.plain import Mismatch, guess, is_class, meant
from runyard.config.overrides.sources import Place, Sources
from runyard.config.overrides.types import MISSING, bare, describe
from runyard.errors import OverrideError

_CLOSED = (int, float, str, bytes, type, enum.Enum, FunctionType, BuiltinFunctionType, MethodType, ModuleType)
"""Objects whose attributes are nobody's to set."""
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def apply(root: Any, overrides: Iterable[Override], sources: Sources | None = None, prefix: str = "") -> None:
    """Change ``root`` in place, in the order of the overrides.

    Args:
        root: A Config, a Partial, or an object whose class has annotations.
        overrides: The changes.
        sources: Factories and files.
        prefix: What stands before the paths in messages, ``"executor"``.

    Raises:
        OverrideError: when one cannot be applied; it names the argument and the nearest that exists.

    Example:
        >>> from runyard.config import Config
        >>> from runyard.config.overrides import parse
        >>> cfg = Config(complex, real=1.0)
        >>> apply(cfg, [parse("real+=2"), parse("imag=3")])
        >>> cfg
        <Config[complex(real=3.0, imag=3)]>
    """
    for override in overrides:
        _Change(override, sources or Sources(), prefix).run(root)


def assign(root: Any, name: str, data: Any, sources: Sources | None = None, text: str = "") -> None:
    """Set one argument from plain data, as a file has it.

    Raises:
        OverrideError: when it does not fit.
    """
    override = Override((name,), "=", from_data(data), text or name)
    apply(root, [override], sources)


class _Change:
    """One override on its way down to the place that it changes."""

    def __init__(self, override: Override, sources: Sources, prefix: str) -> None:
        self.override = override
        self.sources = sources
        self.prefix = prefix

    def run(self, root: Any) -> None:
        self.descend(root, MISSING, self.override.path, ())

    def place(self, done: tuple[Key, ...], owner: Any = None) -> Place:
        path = path_text((self.prefix, *done) if self.prefix else done)
        target = getattr(owner, "__fn_or_cls__", type(owner))
        name = done[-1] if done else ""
        return Place(path, self.override.text, target, name if isinstance(name, str) else "")

    def descend(self, owner: Any, annotation: Any, path: tuple[Key, ...], done: tuple[Key, ...]) -> Any:
        """Return ``owner`` with the rest of the path changed (the same object where it can be)."""
        key, rest, done = path[0], path[1:], (*done, path[0])
        if isinstance(owner, dict) and _args(annotation, *_MAPPINGS)[:1] == (str,):
            key = str(key)
        place = self.place(done, owner)
        inner = self.checked(owner, annotation, key, place)
        old = _current(owner, key)
        if rest:
            opened = self.open(old, inner, place, below_config=is_buildable(owner))
            value = self.descend(opened, inner, rest, done)
        else:
            value = self.changed(old, inner, place)
        return _put(owner, key, value, place)

    def checked(self, owner: Any, annotation: Any, key: Key, place: Place) -> Any:
        """Return the annotation of a place in ``owner``; refuse a place that it does not have."""
        try:
            return _annotation(owner, annotation, key)
        except Mismatch as error:
            raise refusal(place, str(error), error.hint) from None

    def open(self, value: Any, annotation: Any, place: Place, below_config: bool) -> Any:
        """Return something whose parts can be changed: a copy of a default, or a new Config where nothing is."""
        if value is MISSING or value is None:
            return self.fresh(value, annotation, place)
        if below_config and types.is_record(value):
            from runyard.config.convert import to_config

            return to_config(value)
        return value

    def fresh(self, value: Any, annotation: Any, place: Place) -> Any:
        """Return a new value for an empty place: what a default factory makes, or a Config of its type."""
        made = self.sources.default(annotation, place)
        if made is not None:
            return as_config(made())
        for option in types.members(annotation):
            kind, target = types.configured(option)
            origin = typing.get_origin(bare(option)) or bare(option)
            if origin in _MAPPINGS:
                return {}
            if target is not MISSING and (kind or is_class(target)):
                from runyard.config.core import Config, Partial

                return (Partial if kind == "Partial" else Config)(target)
        what = "has no value yet" if value is MISSING else "is None"
        text = describe(annotation)
        raise refusal(place, f"{place.path} {what}, so nothing in it can be set", f"set {place.path} first: a {text}")

    def changed(self, old: Any, annotation: Any, place: Place) -> Any:
        """Return the new value of the place itself."""
        node, sign = self.override.value, self.override.operator
        if sign == "=":
            return coerce(node, annotation, place, self.sources)
        if old is MISSING:
            raise refusal(place, f"{place.path} has no value yet, so {sign} has nothing to work on", "use = first")
        try:
            result = combine(sign, old, self.operand(node, annotation, old, place))
        except Mismatch as error:
            raise refusal(place, str(error), error.hint) from None
        if isinstance(result, (int, float)) and not isinstance(result, bool):
            return self.number(result, annotation, place)
        return result

    def number(self, result: float, annotation: Any, place: Place) -> Any:
        """Return the result of a calculation as the type that the place has."""
        if bare(annotation) in (MISSING, Any):
            return result
        return coerce(from_data(result), annotation, place, self.sources)

    def operand(self, node: Node, annotation: Any, old: Any, place: Place) -> Any:
        """Return the right side: an item or a list of items for a list, else a value like the old one."""
        if isinstance(old, (list, tuple, set, frozenset)):
            element = _element(annotation)
            items = node.items if isinstance(node, Items) else (node,)
            made = [
                coerce(item, element, place.inside(f"[{i}]", place.owner, place.name), self.sources)
                for i, item in enumerate(items)
            ]
            flat = not isinstance(node, Items) and isinstance(made[0], (list, tuple))  # a factory that makes a list
            return made[0] if flat else made
        if isinstance(old, dict) and isinstance(node, Pairs):
            return coerce(node, annotation, place, self.sources)
        if isinstance(old, str):
            return coerce(node, str, place, self.sources)
        return guess(node)


def as_config(value: Any) -> Any:
    """Return an instance of a dataclass or a pydantic model, or a list of such, as Configs; all else as it is."""
    if types.is_record(value) or isinstance(value, (list, tuple, dict)):
        from runyard.config.convert import to_config

        return to_config(value)
    return value


def _element(annotation: Any) -> Any:
    for option in types.members(annotation):
        args = typing.get_args(bare(option))
        if args:
            return args[0]
    return MISSING


def _args(annotation: Any, *kinds: type) -> tuple[Any, ...]:
    """Return what stands in brackets after the first of some types, which may be one of a union."""
    found = (bare(option) for option in types.members(annotation))
    return next((typing.get_args(option) for option in found if typing.get_origin(option) in kinds), ())


def _target(owner: Any) -> Any:
    return owner.__fn_or_cls__ if is_buildable(owner) else type(owner)


def _annotation(owner: Any, annotation: Any, key: Key) -> Any:
    """Return the annotation of a place in ``owner``.

    Raises:
        Mismatch: when there is no such place.
    """
    if isinstance(owner, (list, tuple)):
        if not isinstance(key, int):
            raise Mismatch(f"a {type(owner).__name__} has no {key!r}", f"write [0] to [{len(owner) - 1}]")
        if not -len(owner) <= key < len(owner):
            raise Mismatch(f"there is no item {key}: it has {len(owner)}", "NAME+=[VALUE] adds one")
        args = _args(annotation, type(owner))
        several = len(args) == len(owner) and Ellipsis not in args
        return args[key] if isinstance(owner, tuple) and several else _element(annotation)
    if isinstance(owner, dict):
        args = _args(annotation, *_MAPPINGS)
        return args[1] if len(args) == 2 else MISSING
    if isinstance(key, int):
        raise Mismatch(f"a {describe(_target(owner))} has no items", "write NAME.FIELD")
    return _field(owner, key)


def _field(owner: Any, key: str) -> Any:
    """Return the annotation of an argument or attribute.

    Raises:
        Mismatch: when there is none of that name.
    """
    target = _target(owner)
    title = getattr(target, "__name__", str(target))
    if isinstance(owner, _CLOSED) or (key.startswith("_") and not is_buildable(owner)):
        raise Mismatch(f"{title} has no field {key!r} to set", "write NAME=VALUE")
    taken = types.signature(target)
    if key in taken.parameters:
        return taken.parameters[key].annotation
    if is_buildable(owner):
        if taken.extra is None:
            raise Mismatch(f"{title} takes no argument {key!r}", meant(key, taken.parameters, "it takes"))
        return taken.extra
    if dataclasses.is_dataclass(owner):
        known = [field.name for field in dataclasses.fields(owner)]
        found = key in known
    else:
        known = [name for name in types.hints(target) if not name.startswith("_")]
        found = key in known or hasattr(owner, key)
    if not found:
        raise Mismatch(f"{title} has no field {key!r}", meant(key, known, "it has"))
    return types.hints(target).get(key, MISSING)


def _current(owner: Any, key: Key) -> Any:
    """Return what stands at a place: a value that may be changed (a default is copied), or ``MISSING``."""
    if isinstance(owner, (list, tuple)):
        assert isinstance(key, int)
        return owner[key]
    if isinstance(owner, dict):
        return owner.get(key, MISSING)
    assert isinstance(key, str)
    if not is_buildable(owner):
        return getattr(owner, key, MISSING)
    if key in owner.__arguments__:
        return owner.__arguments__[key]
    param = types.signature(owner.__fn_or_cls__).parameters.get(key)
    return copy.deepcopy(param.default) if param else MISSING


def _put(owner: Any, key: Key, value: Any, place: Place) -> Any:
    """Set a place, and return its owner: a copy where a tuple is changed."""
    if isinstance(owner, (list, tuple)):
        assert isinstance(key, int)
        items = list(owner)
        items[key] = as_config(value) if any(map(is_buildable, items)) else value
        return type(owner)(items)
    if isinstance(owner, dict):
        return {**owner, key: value}
    assert isinstance(key, str)
    if is_buildable(owner):
        setattr(owner, key, as_config(value))
        return owner
    try:
        setattr(owner, key, built(value))
    except (AttributeError, TypeError, ValueError) as error:
        raise OverrideError(f"{place.text}: {place.path} cannot be set: {error}") from None
    return owner


def built(value: Any) -> Any:
    """Return what a Config makes; anything else as it is."""
    if not (is_buildable(value) or (isinstance(value, (list, tuple)) and any(map(is_buildable, value)))):
        return value
    import fiddle as fdl

    return fdl.build(value)
