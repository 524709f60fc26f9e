"""Turn what was written into a value of the type that an argument is annotated with. Never ``eval``.

Plain types are validated by pydantic (imported when the first value is). What pydantic does not know, a class of
the user's, is configured: by a factory's name, as ``Class(x=1)``, or as a mapping of its arguments.
"""

from __future__ import annotations

import collections.abc
import enum
import sys
import typing
from collections.abc import Callable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from runyard.config.overrides import types
from runyard.config.overrides.files import FORMS
from runyard.config.overrides.grammar import parse_value
from runyard.config.overrides.nodes import Call, Data, File, Items, Node, Pairs, Text, Word, from_data
from runyard.config.overrides.plain import (
    NONE_WORDS,
    Mismatch,
    guess,
    is_class,
    literal,
    make_dict,
    make_set,
    meant,
    member,
    plain_value,
    shown,
)
from runyard.config.overrides.sources import Place, Sources
from runyard.config.overrides.types import MISSING, bare, describe
from runyard.errors import ConfigError, OverrideError

_LISTS: dict[Any, Any] = {
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Iterable: list,
    collections.abc.Collection: list,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
} | {kind: kind for kind in (list, tuple, set, frozenset)}
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def coerce(node: Node, annotation: Any, place: Place, sources: Sources | None = None) -> Any:
    """Return the value that ``node`` stands for.

    Args:
        node: What was written.
        annotation: The type wanted; ``MISSING`` or ``Any`` take the value for what it looks like.
        place: Where it goes.
        sources: Factories and files.

    Raises:
        OverrideError: when it does not fit; names the argument, the value, the type and the nearest name.

    Example:
        >>> coerce(Word("1e6"), int, Place("steps"))
        1000000
    """
    try:
        return _Coercion(sources or Sources()).value(node, annotation, place)
    except Mismatch as error:
        raise refusal(place, str(error), error.hint) from error.__cause__


def refusal(place: Place, reason: str, hint: str = "") -> OverrideError:
    """Return the error for a value that cannot be used, which says where it stands."""
    shown = place.text if len(place.text) <= 200 else place.text[:200] + "…"
    where = f"{shown}: " if shown else ""
    inner = "" if place.path in place.text else f"{place.path}: "
    return OverrideError(f"{where}{inner}{reason}", hint=hint)


class _Coercion:
    """One coercion: the sources, and a method for each kind of type."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources

    def value(self, node: Node, annotation: Any, place: Place) -> Any:
        if isinstance(node, File):
            return self.value(from_data(self.read(node, place)), annotation, place)
        if isinstance(node, Data):
            return self.data(node, annotation, place)
        plain = bare(annotation)
        options = types.members(plain)
        if len(options) > 1:
            return self.union(node, options, annotation, place)
        if plain in (MISSING, Any, object) or isinstance(plain, (str, typing.ForwardRef)):
            return self.untyped(node, annotation, place)
        if plain in (None, type(None)):
            return self.none(node)
        origin = typing.get_origin(plain) or plain
        if origin is typing.Literal:
            return literal(node, plain)
        if origin is collections.abc.Callable or origin is type:
            return self.importable(node, plain, place)
        return self.of_class(node, annotation, plain, origin, place)

    def of_class(self, node: Node, annotation: Any, plain: Any, origin: Any, place: Place) -> Any:
        if isinstance(origin, type) and issubclass(origin, enum.Enum):
            return member(node, origin)
        made = self.by_factory(node, annotation, place)
        if made is not MISSING:
            return made
        if origin in _LISTS:
            return self.sequence(node, plain, origin, place)
        if origin in _MAPPINGS:
            return self.mapping(node, plain, place)
        kind, target = types.configured(plain)
        if kind or is_class(plain):
            return self.configured(node, plain, kind or "Config", target, place)
        return plain_value(node, annotation)

    def read(self, node: File, place: Place) -> Any:
        try:
            return self.sources.read(node.path, node.section)
        except OverrideError as error:
            if node.path.lower().endswith(tuple(FORMS)):
                raise refusal(place, error.message, error.hint) from None
            hint = f"{error.hint}; as text it stands in quotes: \"'{node.raw}'\"".removeprefix("; ")
            raise refusal(place, error.message, hint) from None

    # -- unions and untyped --------------------------------------------------------------------

    def union(self, node: Node, options: tuple[Any, ...], annotation: Any, place: Place) -> Any:
        place = replace(place, text_too=str in map(bare, options))
        errors: list[Mismatch | OverrideError] = []
        for option in sorted(options, key=lambda option: _rank(option, node)):
            try:
                return self.value(node, option, place)
            except (Mismatch, OverrideError) as error:
                if bare(option) not in (None, type(None)):
                    errors.append(error)
        if len(errors) == 1 and isinstance(errors[0], OverrideError):
            raise errors[0]  # it says which part of the value does not fit
        hint = next((error.hint for error in errors if error.hint), "")
        raise Mismatch(f"{shown(node)} is no {describe(annotation)}", hint)

    def untyped(self, node: Node, annotation: Any, place: Place) -> Any:
        made = self.by_factory(node, annotation, place)
        if made is not MISSING:
            return made
        if isinstance(node, Items):
            items = [self.value(item, MISSING, place.inside(f"[{i}]")) for i, item in enumerate(node.items)]
            return items if node.kind == "list" else tuple(items) if node.kind == "tuple" else make_set(items, set)
        if isinstance(node, Pairs):
            return make_dict(
                [(guess(k), self.value(v, MISSING, place.inside(f"[{guess(k)!r}]"))) for k, v in node.pairs]
            )
        return guess(node)

    def none(self, node: Node) -> None:
        if isinstance(node, Word) and node.raw.strip().lower() in NONE_WORDS:
            return
        raise Mismatch(f"{shown(node)} is not None")

    # -- containers ----------------------------------------------------------------------------

    def sequence(self, node: Node, plain: Any, origin: Any, place: Place) -> Any:
        kind = _LISTS[origin]
        opened = node.raw[:1] in ("[", "(", "{")
        if isinstance(node, Word) and "," in node.raw and not opened:
            node = parse_value(f"[{node.raw}]")
        if not isinstance(node, Items):
            hint = "close its brackets and quotes" if opened else f"write a list: [{node.raw}]"
            raise Mismatch(f"{shown(node)} is no {describe(plain)}", hint)
        args = typing.get_args(plain)
        if origin is tuple and args and Ellipsis not in args:
            if len(args) != len(node.items):
                raise Mismatch(f"{shown(node)} has {len(node.items)} items, and {describe(plain)} has {len(args)}")
            wanted: list[Any] = list(args)
        else:
            wanted = [args[0] if args else MISSING] * len(node.items)
        values = [
            self.part(item, want, place.inside(f"[{i}]"))
            for i, (item, want) in enumerate(zip(node.items, wanted, strict=True))
        ]
        return make_set(values, kind) if kind in (set, frozenset) else kind(values)

    def mapping(self, node: Node, plain: Any, place: Place) -> Any:
        if not isinstance(node, Pairs):
            raise Mismatch(f"{shown(node)} is no {describe(plain)}", "write {key: value}")
        key_type, value_type = typing.get_args(plain) or (MISSING, MISSING)
        pairs = []
        for key, value in node.pairs:
            made = self.part(key, key_type, place)
            pairs.append((made, self.part(value, value_type, place.inside(f"[{made!r}]"))))
        return make_dict(pairs)

    def part(self, node: Node, annotation: Any, place: Place) -> Any:
        """Return a part of a value; what does not fit is told with the part's own place."""
        try:
            return self.value(node, annotation, place)
        except Mismatch as error:
            raise refusal(place, str(error), error.hint) from error.__cause__

    # -- configured objects --------------------------------------------------------------------

    def by_factory(self, node: Node, annotation: Any, place: Place) -> Any:
        """Return what a factory makes, when the value names one; else ``MISSING``."""
        if isinstance(node, Call):
            name, call = node.name, node
        elif isinstance(node, Word) or (isinstance(node, Text) and node.raw == node.value):  # or text of a file
            name, call = node.raw.strip(), Call(node.raw, node.raw.strip(), (), ())
        else:
            return MISSING
        fn = self.sources.factory(name, annotation, place)
        return MISSING if fn is None else self.call(fn, call, place)

    def call(self, fn: Callable[..., Any], node: Call, place: Place) -> Any:
        """Call a factory, and return what it makes as a Config where it can be one."""
        kwargs = self.arguments(fn, node, place)
        try:
            return fn(**kwargs)
        except ConfigError:
            raise
        except Exception as error:
            raise Mismatch(f"the factory {node.name} failed: {type(error).__name__}: {error}") from error

    def arguments(self, target: Any, node: Call, place: Place) -> dict[str, Any]:
        """Return the arguments of a call, each of its own type."""
        taken = types.signature(target)
        names = list(taken.parameters)
        if len(node.args) > len(names):
            raise Mismatch(f"{node.name} takes {len(names)} arguments, not {len(node.args)}")
        given = [*zip(names, node.args, strict=False), *node.kwargs]
        return {name: self.argument(target, taken, name, value, place) for name, value in _once(given, node.name)}

    def argument(self, target: Any, taken: types.Signature, name: str, node: Node, place: Place) -> Any:
        param = taken.parameters.get(name)
        if param is None and taken.extra is None:
            title = getattr(target, "__name__", str(target))
            raise Mismatch(f"{title} takes no argument {name!r}", meant(name, taken.parameters, "it takes"))
        annotation = param.annotation if param else taken.extra
        return self.part(node, annotation, place.inside(f".{name}", target, name))

    def configured(self, node: Node, plain: Any, kind: str, target: Any, place: Place) -> Any:
        """Return a Config (or Partial) of a class or function."""
        from runyard.config.core import Config, Partial

        make: Any = Partial if kind == "Partial" else Config
        if isinstance(node, Call):
            found = _named(target, node.name)
            if found is not None:
                return make(found, **self.arguments(found, node, place))
        if isinstance(node, Pairs) and target is not MISSING:
            fields = tuple((str(guess(key)), value) for key, value in node.pairs)
            call = Call(node.raw, getattr(target, "__name__", "it"), (), fields)
            return make(target, **self.arguments(target, call, place))
        if kind == "Partial" and isinstance(node, (Word, Text)) and target is MISSING:
            return make(self.importable(node, collections.abc.Callable, place))
        if isinstance(node, Word) and (found := _named(target, node.raw.strip())) is not None:
            return make(found)
        if isinstance(node, Word) and "." in node.raw and node.raw.replace(".", "_").isidentifier():
            found = _loaded(node.raw)  # torch.bfloat16
            if isinstance(target, type) and isinstance(found, target):
                return found
        name = node.name if isinstance(node, Call) else node.raw
        known = self.sources.names(plain, place)
        what = describe(plain)
        hint = meant(name, known, "factories") or f"write {{field: value}}, or register a factory for {what}"
        raise Mismatch(f"{shown(node)} is no {what}", hint)

    def data(self, node: Data, annotation: Any, place: Place) -> Any:
        """Return what a file holds: a Config where it says ``_target_``, else a plain value that must fit."""
        if isinstance(node.value, dict):
            from runyard.config.serialize import from_data as build

            try:
                made = build(node.value)
            except ConfigError as error:
                raise Mismatch(error.message, error.hint) from error
            if not _fits(made, annotation):
                section = place.name if place.name in node.value else "SECTION"
                what = f"it holds a {node.value['_target_']}, no {describe(annotation)}"
                raise Mismatch(what, f"name a section of it: @FILE:{section}")
            return made
        options = types.members(annotation)
        if (node.value is None and {None, type(None)} & set(options)) or bare(annotation) in (MISSING, Any, object):
            return node.value
        if node.value is None:
            raise Mismatch(f"null is no {describe(annotation)}")
        if isinstance(node.value, (bool, int, float)):
            return self.value(Word(str(node.value)), annotation, place)
        return plain_value(node, annotation)

    # -- functions and classes by name ---------------------------------------------------------

    def importable(self, node: Node, plain: Any, place: Place) -> Any:
        """Return a function or class: a factory's result, a name of the owner's module, or ``pkg.mod.name``."""
        made = self.by_factory(node, plain, place)
        if made is not MISSING:
            return made
        if not isinstance(node, (Word, Text)):
            raise Mismatch(f"{shown(node)} is no {describe(plain)}", "write its name: package.module.name")
        found = _lookup(node.raw.strip() if isinstance(node, Word) else node.value, place)
        wanted = next(iter(typing.get_args(plain)), MISSING) if typing.get_origin(plain) is type else MISSING
        if typing.get_origin(plain) is type or plain is type:
            fits = isinstance(found, type) and (not isinstance(wanted, type) or issubclass(found, wanted))
        else:
            fits = callable(found)
        if not fits:
            raise Mismatch(f"{shown(node)} is no {describe(plain)}", "write its name: package.module.name")
        return found


def _fits(made: Any, annotation: Any) -> bool:
    """Tell whether what a file configures can be what is wanted, as far as classes and annotations say."""
    fn = made.__fn_or_cls__
    makes = fn if isinstance(fn, type) else types.configured(types.hints(fn).get("return", MISSING))[1]
    partial = type(made).__name__ == "Partial"
    for option in types.members(annotation):
        kind, wanted = types.configured(option)
        wanted = typing.get_origin(wanted) or wanted
        anything = wanted in (MISSING, Any, object, collections.abc.Callable) or getattr(wanted, "_is_protocol", False)
        if anything or not isinstance(wanted, type):
            return True
        if (not partial or kind == "Partial") and (not isinstance(makes, type) or issubclass(makes, wanted)):
            return True
    return False


def _once(pairs: list[tuple[str, Node]], title: str) -> Iterator[tuple[str, Node]]:
    seen: set[str] = set()
    for name, value in pairs:
        if name in seen:
            raise Mismatch(f"{title} gets {name!r} twice")
        seen.add(name)
        yield name, value


def _rank(option: Any, node: Node) -> int:
    """Return in which order a union's types are tried: the strict ones first, text last."""
    plain = bare(option)
    if plain in (None, type(None)):
        return 0
    origin = typing.get_origin(plain) or plain
    if origin is typing.Literal or (isinstance(origin, type) and issubclass(origin, enum.Enum)):
        return 1
    if origin in (int, bool, float) and not isinstance(node, Text):
        # "1" is an int before it is a bool or a float
        return {int: 2, float: 4, bool: 3}[origin]
    if origin is str:
        return 5 if isinstance(node, Text) else 8
    if plain in (Any, object):
        return 9
    return 6


def _named(target: Any, name: str) -> Any:
    """Return the class (or function) called ``name`` among ``target`` and its subclasses, or None."""
    if target is MISSING:
        return None
    name = name.rpartition(".")[2]
    stack = [target]
    while stack:
        found = stack.pop()
        if getattr(found, "__name__", None) == name:
            return found
        if isinstance(found, type):
            stack.extend(type.__subclasses__(found))
    return None


def _loaded(name: str) -> Any:
    """Return what a dotted name stands for, if its module is imported already; else None."""
    parts = name.replace(":", ".").split(".")
    for cut in range(len(parts) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(parts[:cut]))
        if found is not None:
            for part in parts[cut:]:
                found = getattr(found, part, None)
            return found
    return None


def _lookup(name: str, place: Place) -> Any:
    """Return what a dotted name stands for; a short one is looked up where the argument's owner is defined."""
    from runyard.config import naming

    if name.isidentifier():
        module = sys.modules.get(getattr(place.owner, "__module__", "") or "")
        found = getattr(module, name, None)
        if found is None:
            known = [key for key, value in vars(module or object).items() if callable(value) and key[0] != "_"]
            hint = meant(name, known, "it has") if get_close_matches(name, known, 1) else "write package.module.name"
            raise Mismatch(f"{name!r} is not defined in {getattr(module, '__name__', 'this script')}", hint)
        return found
    if place.text_too and (found := _loaded(name)) is None:
        raise Mismatch(f"{name!r} names nothing that is imported here")
    try:
        module_name, _, qualname = naming.find(name).partition(":")
    except ConfigError as error:
        raise Mismatch(error.message, error.hint) from error
    return naming.lookup(module_name, qualname)
