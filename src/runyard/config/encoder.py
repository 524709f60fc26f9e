"""Turn a task into the JSON call tree that :mod:`runyard.runner.pytask` builds in the job."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import enum
import functools
import inspect
import json
import math
import os
import pathlib
import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from runyard.config import naming, values
from runyard.errors import ConfigError, SerializationError
from runyard.secrets import Secret, Unrecorded, is_credential, is_secret_argument, looks_secret

Node = Any
Arguments = tuple[list[tuple[str, Any]], dict[str, Any]]
"""Positional arguments, each with its place for messages (``.lr`` or ``[2]``), and keyword arguments."""

_REFERENCES = (
    type,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.ModuleType,
    types.MethodWrapperType,
)
_VARIABLE = re.compile(r"\w+\Z", re.ASCII)
_BIG = 2**1024  # beyond this, Python may refuse to read the decimal digits


def is_buildable(obj: object) -> bool:
    """Tell whether ``obj`` is a Fiddle buildable (Config, Partial), without importing Fiddle.

    Example:
        >>> is_buildable(len)
        False
    """
    buildable = getattr(sys.modules.get("fiddle"), "Buildable", None)
    return buildable is not None and isinstance(obj, buildable)


class Encoder:
    """Encode one task. After :meth:`task`, ``by_value`` holds what must be pickled, in order.

    ``secrets`` holds what is not in the tree then, by the name that stands in its place.

    Args:
        check: Refuse calls that lack a required argument.
        hide: Keep texts out of the tree that are taken for secrets; else only what is given as a ``Secret``.

    Raises:
        SerializationError: from its methods, naming the path of what cannot travel.
    """

    def __init__(self, *, check: bool = True, hide: bool = False) -> None:
        self.check = check
        self.hide = hide
        self.by_value: list[Any] = []
        self.secrets: dict[str, str | Secret] = {}
        self.uses_main: str | None = None
        self._nodes: dict[int, dict[str, Any]] = {}
        self._open: dict[int, str] = {}
        self._keep: list[Any] = []  # an id must not be used again while this encoder lives
        self._shared = 0

    def task(self, task: Any, root: str) -> dict[str, Any]:
        """Return the tree of a task: its top is always a call."""
        if is_buildable(task):
            self._refuse_factory(task, root)
        elif not isinstance(task, functools.partial) and not callable(task):
            raise ConfigError(
                f"{root} is {type(task).__name__}, which is no task",
                hint="give a run.Partial, a run.Config, a function or a run.Script",
            )
        with self._nesting(task, root):
            try:
                node: dict[str, Any] = simplify(self._call("$call", task, root, complete=True))
                return node
            except RecursionError:
                raise SerializationError(root, "is nested too deeply") from None

    # ------------------------------------------------------------ one value

    def encode(self, value: Any, path: str, name: str = "") -> Node:
        """Return the node of any value; ``name`` is that of the argument which it is, or which holds it in a list."""
        kind = type(value)
        if kind is str and self.hide and is_secret_argument(name, value):
            return self._hidden(value, path)
        if isinstance(value, Secret):
            return self._secret(value, path)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            return value if -_BIG < value < _BIG else {"$int": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"$float": repr(value)}
        if isinstance(value, enum.Enum):  # before its mix-in types
            return self._enum(value, path)
        if not self._tracked(value):
            return self._leaf(value, path)
        if id(value) in self._nodes:
            node = self._nodes[id(value)]
            if "$id" not in node:
                node["$id"] = self._shared
                self._shared += 1
            return {"$ref": node["$id"]}
        with self._nesting(value, path):
            node = self._composite(value, path, name)
        self._nodes[id(value)] = node
        return node

    def _tracked(self, value: Any) -> bool:
        if isinstance(value, (tuple, frozenset)):
            return len(value) > 0  # () is one object everywhere
        return (
            isinstance(value, (list, dict, set, functools.partial))
            or is_buildable(value)
            or _is_dataclass_instance(value)
            or values.full_name(type(value)) in values.TRACKED
        )

    @contextlib.contextmanager
    def _nesting(self, value: Any, path: str) -> Iterator[None]:
        if id(value) in self._open:
            raise SerializationError(path, f"contains itself (it is {self._open[id(value)]})", hint="break the cycle")
        self._open[id(value)] = path
        self._keep.append(value)
        yield
        del self._open[id(value)]

    def _composite(self, value: Any, path: str, name: str) -> dict[str, Any]:
        kind = type(value)
        if is_buildable(value):
            return self._buildable(value, path)
        if kind is functools.partial:
            return self._call("$partial", value, path, complete=False)
        if kind is list or (kind is tuple):
            return {f"${kind.__name__}": [self.encode(item, f"{path}[{i}]", name) for i, item in enumerate(value)]}
        if kind is dict:
            return {"$dict": [[self.encode(k, path), self._item(k, v, path, name)] for k, v in value.items()]}
        if kind is set or kind is frozenset:
            items = [self.encode(item, f"{path}{{{item!r}}}") for item in value]
            return {f"${kind.__name__}": sorted(items, key=json.dumps)}  # the same text in every process
        made = values.constructor(value)
        if made is not None:
            return self._new(made, path)
        if isinstance(value, tuple) and hasattr(value, "_fields") and hasattr(value, "_make"):
            items = [self.encode(getattr(value, field), f"{path}.{field}", field) for field in value._fields]
            return {"$tuple": items, "type": self.reference(kind, path)}
        if _is_dataclass_instance(value) and not isinstance(value, (list, dict, tuple, set, frozenset)):
            return self._dataclass(value, path)
        raise self._cannot(value, path)

    def _leaf(self, value: Any, path: str) -> Node:
        if value is types.NoneType:
            return {"$new": "builtins:type", "args": [None]}  # types.NoneType is newer than Python 3.8
        if isinstance(value, _REFERENCES) or naming.by_name(value) is not None or _lazy_name(value):
            return _named(self.reference(value, path))
        if isinstance(value, pathlib.Path) and type(value) is type(pathlib.Path()):
            return {"$path": str(value)}
        kind = type(value)
        if kind is bytes:
            return {"$bytes": base64.b64encode(value).decode()}
        if kind in (tuple, frozenset):
            return {f"${kind.__name__}": []}
        if value is Ellipsis or value is NotImplemented:
            return {"$name": f"builtins:{value!r}"}
        made = values.constructor(value)
        if made is not None:
            return self._new(made, path)
        name = naming.by_text(value)
        if name is not None:
            return {"$name": name}
        raise self._cannot(value, path)

    def _cannot(self, value: Any, path: str) -> SerializationError:
        what, hint = values.remedy(value)
        return SerializationError(path, f"{what} cannot travel to the job", hint=hint)

    def _new(self, made: values.Made, path: str) -> dict[str, Any]:
        target, args, kwargs = made
        node: dict[str, Any] = {"$new": target, "args": [self.encode(arg, path) for arg in args]}
        if kwargs:
            node["kwargs"] = kwargs
        return node

    def _enum(self, value: enum.Enum, path: str) -> Node:
        owner = self.reference(type(value), path)
        if value.name is not None and getattr(type(value), value.name, None) is value:
            return {"$name": f"{owner}.{value.name}"} if isinstance(owner, str) else {"$attr": value.name, "of": owner}
        return {"$new": owner, "args": [self.encode(value.value, path)]}  # a combination of flags

    def _dataclass(self, value: Any, path: str) -> dict[str, Any]:
        if type(value).__module__.partition(".")[0] == "runyard":
            raise self._cannot(value, path)
        fields = [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)]
        state = {name: getattr(value, name) for name in fields}
        state.update(getattr(value, "__dict__", {}))
        encoded = {name: self.encode(item, f"{path}.{name}", name) for name, item in state.items()}
        return {"$dataclass": self.reference(type(value), path), "state": encoded}

    # ------------------------------------------------------------ calls

    def _buildable(self, value: Any, path: str) -> dict[str, Any]:
        fiddle = sys.modules["fiddle"]
        self._refuse_factory(value, path)
        partial = isinstance(value, fiddle.Partial)
        return self._call("$partial" if partial else "$call", value, path, complete=not partial)

    def _refuse_factory(self, value: Any, path: str) -> None:
        if isinstance(value, sys.modules["fiddle"].ArgFactory):
            raise SerializationError(
                path, "is an ArgFactory, which cannot travel", hint="use run.Config or run.Partial"
            )

    def _call(self, directive: str, task: Any, path: str, *, complete: bool) -> dict[str, Any]:
        target, (positional, keywords) = unpack(task, path)
        if complete and self.check:
            _check_complete(target, positional, keywords, path)
        node: dict[str, Any] = {directive: self.reference(target, path)}
        node["args"] = [self.encode(item, path + place, place.lstrip(".")) for place, item in positional]
        node["kwargs"] = {name: self.encode(item, f"{path}.{name}", name) for name, item in keywords.items()}
        return node

    # ------------------------------------------------------------ secrets

    def _item(self, key: Any, value: Any, path: str, name: str) -> Node:
        """Return the node of a dictionary's value. Below a name that looks like a secret, other keys don't count."""
        own = type(key) is str and (looks_secret(key) or not looks_secret(name))
        return self.encode(value, f"{path}[{key!r}]", key if own else name)

    def _secret(self, secret: Secret, path: str) -> Node:
        if not _VARIABLE.match(secret.name):
            raise SerializationError(
                path, f"{secret!r} names no variable", hint="a name has letters, digits and underscores"
            )
        if isinstance(self.secrets.get(secret.name), str):
            raise SerializationError(path, f"{secret!r} has the name that another argument's text got")
        self.secrets[secret.name] = secret
        return {"$secret": secret.name, **({"at": secret.place} if isinstance(secret, Unrecorded) else {})}

    def _hidden(self, text: str, path: str) -> Node:
        """Return the node of a text that is not to be recorded: a variable that holds it here, or a name of its own."""
        known = [n for n, value in os.environ.items() if value == text and looks_secret(n) and _VARIABLE.match(n)]
        if known and is_credential(text):  # else it may be the same by chance
            return self._secret(Secret(min(known)), path)
        place = re.sub(r"\{.*\}", "{…}", path, flags=re.DOTALL)  # an item of a set is shown by its repr
        name = re.sub(r"\W+", "_", place, flags=re.ASCII).strip("_")
        while self.secrets.get(name, text) != text:
            name += "_"
        self.secrets[name] = text
        return {"$secret": name, "at": place}

    def reference(self, obj: Any, path: str) -> str | Node:
        """Return how the job finds a function, class or module: its name, or a node."""
        lazy = _lazy_name(obj)
        if lazy:
            return lazy
        owner = getattr(obj, "__self__", None)
        if isinstance(obj, (types.MethodType, types.BuiltinMethodType, types.MethodWrapperType)) and not isinstance(
            owner, (types.ModuleType, types.NoneType)
        ):
            return self._method(obj, owner, path)
        name = naming.by_name(obj)
        if name is not None:
            if name.startswith("__main__:"):
                self.uses_main = obj.__module__
            return name
        if isinstance(obj, (types.FunctionType, type)):
            return self._value(obj, path)
        if isinstance(obj, functools.partial) or is_buildable(obj) or _is_dataclass_instance(obj):
            return self.encode(obj, path)  # a callable object
        made = values.constructor(obj)
        if made is not None:
            return self._new(made, path)
        origin = getattr(obj, "__origin__", None)
        if isinstance(origin, type):
            return self.reference(origin, path)  # Trainer[int](...) calls Trainer
        raise self._cannot(obj, path)

    def _method(self, method: Any, owner: Any, path: str) -> str | Node:
        of = self.reference(owner, path) if isinstance(owner, type) else self.encode(owner, path)
        name = method.__name__
        return f"{of}.{name}" if isinstance(of, str) and isinstance(owner, type) else {"$attr": name, "of": _named(of)}

    def _value(self, obj: Any, path: str) -> Node:
        for index, known in enumerate(self.by_value):
            if known is obj:
                return {"$value": index}
        dump_by_value([obj], path)  # now, so that an error names its place
        self.by_value.append(obj)
        return {"$value": len(self.by_value) - 1}


def unpack(task: Any, path: str) -> tuple[Callable[..., Any], Arguments]:
    """Return what a Buildable, a functools.partial or a plain callable calls, and its arguments."""
    if is_buildable(task):
        return task.__fn_or_cls__, _buildable_arguments(task, path)
    if isinstance(task, functools.partial):
        positional = [(f"[{i}]", item) for i, item in enumerate(task.args)]
        return task.func, (positional, dict(task.keywords))
    return task, ([], {})


def _buildable_arguments(task: Any, path: str) -> Arguments:
    stored = {key: _untagged(value) for key, value in task.__arguments__.items()}
    last = max((key for key in stored if isinstance(key, int)), default=-1)
    positional: list[tuple[str, Any]] = []
    keywords: dict[str, Any] = {}
    for index, param in enumerate(task.__signature_info__.parameters.values()):
        if param.kind is param.VAR_POSITIONAL:
            positional += [(f"[{i}]", stored.pop(i)) for i in range(index, last + 1)]
            continue
        by_position = param.kind is param.POSITIONAL_ONLY or (
            param.kind is param.POSITIONAL_OR_KEYWORD and index <= last
        )
        key = index if param.kind is param.POSITIONAL_ONLY else param.name
        if key in stored:
            if by_position:
                positional.append((f".{param.name}", stored.pop(key)))
            else:
                keywords[param.name] = stored.pop(key)
        elif by_position and index < last:  # something stands behind it
            if param.default is param.empty:
                raise SerializationError(f"{path}.{param.name}", "has no value")
            positional.append((f".{param.name}", param.default))
    keywords.update((str(key), value) for key, value in stored.items())
    return positional, keywords


def _untagged(value: Any) -> Any:
    """Return what a Fiddle TaggedValue holds; anything else as it is."""
    if is_buildable(value) and type(value).__name__ == "TaggedValueCls" and "value" in value.__arguments__:
        return value.__arguments__["value"]
    return value


def _check_complete(target: Any, positional: list[tuple[str, Any]], keywords: dict[str, Any], path: str) -> None:
    """Find a missing or unknown argument before the job does."""
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return  # some builtins have none
    try:
        bound = signature.bind_partial(*(item for _, item in positional), **keywords)
    except TypeError as error:
        raise SerializationError(path, f"{naming.title(target)}(): {error}") from None
    for name, param in signature.parameters.items():
        given = name in bound.arguments or param.kind in (param.VAR_POSITIONAL, param.VAR_KEYWORD)
        if not given and param.default is param.empty:
            raise SerializationError(
                f"{path}.{name}",
                f"{naming.title(target)}() needs this argument, and it is not set",
                hint=f"set it, for example {path}.{name} = ...",
            )


def _lazy_name(obj: Any) -> str:
    """Return the name of something imported within ``lazy_imports()``, or ''."""
    if type(obj).__name__ == "ProxyObject" and type(obj).__module__.startswith("fiddle."):
        return str(obj.qualname) if ":" in obj.qualname else f"{obj.qualname}:"
    return ""


def _is_dataclass_instance(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type) and not is_buildable(value)


def _named(reference: str | Node) -> Node:
    return {"$name": reference} if isinstance(reference, str) else reference


def dump_by_value(objects: list[Any], path: str) -> bytes:
    """Pickle functions and classes by value.

    Raises:
        SerializationError: naming ``path`` when one holds on to something that cannot be pickled.
    """
    import cloudpickle

    try:
        pickled: bytes = cloudpickle.dumps(objects)
    except Exception as error:
        names = ", ".join(getattr(obj, "__qualname__", repr(obj)) for obj in objects)
        raise SerializationError(
            path,
            f"{names} is not importable, so it travels by value, and it cannot be pickled: {error}",
            hint="move it to the top level of a module, and pass what it uses as arguments",
        ) from error
    return pickled


def simplify(node: Node) -> Node:
    """Return a tree with unshared lists and plain dicts written as JSON's own."""
    if isinstance(node, list):
        return [simplify(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "$id" not in node:
        if "$list" in node:
            return [simplify(item) for item in node["$list"]]
        if "$dict" in node and all(type(key) is str and not key.startswith("$") for key, _ in node["$dict"]):
            return {key: simplify(value) for key, value in node["$dict"]}
    if "$dict" in node:
        return {**node, "$dict": [[simplify(key), simplify(value)] for key, value in node["$dict"]]}
    return {key: simplify(value) for key, value in node.items()}
