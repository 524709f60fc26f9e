"""What a function, a class or an object takes: names, annotations, defaults. Nothing is imported for it."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

MISSING: Any = inspect.Parameter.empty
"""Stands for what is not there: an annotation, a default, a value."""


@dataclass(frozen=True)
class Parameter:
    """One argument that something takes.

    Args:
        name: Its name.
        annotation: Its type, or ``MISSING``.
        default: Its default, or ``MISSING``.
        required: It must be given.
    """

    name: str
    annotation: Any
    default: Any
    required: bool


@dataclass(frozen=True)
class Signature:
    """What something takes.

    Args:
        parameters: Its arguments by name.
        extra: Annotation of further keywords (``**kwargs``); ``None`` where there are none.
    """

    parameters: Mapping[str, Parameter]
    extra: Any = None


def signature(target: Any) -> Signature:
    """Return what a function or a class takes, with annotations resolved as far as they can be.

    Example:
        >>> def train(model: "str", epochs: int = 10): ...
        >>> signature(train).parameters["model"]
        Parameter(name='model', annotation=<class 'str'>, default=<class 'inspect._empty'>, required=True)
    """
    try:
        return _signature(target)
    except TypeError:  # it cannot be hashed
        return _signature.__wrapped__(target)


@lru_cache(maxsize=1024)
def _signature(target: Any) -> Signature:
    try:
        found = inspect.signature(target)
    except (TypeError, ValueError):
        return Signature({}, extra=MISSING)  # a builtin that does not tell
    known = hints(target)
    parameters: dict[str, Parameter] = {}
    extra: Any = None
    for param in found.parameters.values():
        annotation = known.get(param.name, param.annotation)
        if param.kind is param.VAR_KEYWORD:
            extra = annotation
        elif param.kind in (param.POSITIONAL_OR_KEYWORD, param.KEYWORD_ONLY):
            default = _default(target, param)
            parameters[param.name] = Parameter(param.name, annotation, default, param.default is param.empty)
    return Signature(parameters, extra)


def _default(target: Any, param: inspect.Parameter) -> Any:
    """Return a parameter's default; a dataclass field's factory is called."""
    if param.default is param.empty or not (isinstance(target, type) and dataclasses.is_dataclass(target)):
        return param.default
    field = next((f for f in dataclasses.fields(target) if f.name == param.name), None)
    if field is None or field.default_factory is dataclasses.MISSING:
        return param.default
    return field.default_factory()


def hints(target: Any) -> dict[str, Any]:
    """Return the annotations of a function, a class or what a class takes; those that name nothing stay text."""
    plain = inspect.unwrap(target) if callable(target) and not isinstance(target, type) else target
    if isinstance(plain, type):
        of_class = _annotations(plain)
        return of_class if dataclasses.is_dataclass(plain) else of_class | _of_init(plain)
    return _annotations(plain)


def _of_init(kind: type) -> dict[str, Any]:
    init = inspect.getattr_static(kind, "__init__")
    if not inspect.isfunction(init):
        return {}
    keywords = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    taken = {param.name for param in inspect.signature(init).parameters.values() if param.kind in keywords}
    return {name: value for name, value in _annotations(init).items() if name in taken}


def _annotations(target: Any) -> dict[str, Any]:
    with contextlib.suppress(Exception):  # one annotation may name nothing; the others still count
        return typing.get_type_hints(target, include_extras=True)
    owners = reversed(target.__mro__) if isinstance(target, type) else (target,)
    return {
        name: _one_hint(owner, name, value)
        for owner in owners
        for name, value in inspect.get_annotations(owner).items()
    }


def _one_hint(owner: Any, name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    holder = types.SimpleNamespace(__annotations__={name: value})
    module = inspect.getmodule(owner)
    try:
        return typing.get_type_hints(holder, vars(module) if module else {}, include_extras=True)[name]
    except Exception:  # noqa: BLE001 - it stays what it is: text
        return value


def is_record(value: Any) -> bool:
    """Tell whether a value is an instance of a dataclass, or of a pydantic model: a Config can make it anew."""
    return not isinstance(value, type) and (dataclasses.is_dataclass(value) or is_model(value))


def is_model(value: Any) -> bool:
    """Tell whether a value is an instance of a pydantic model."""
    return hasattr(type(value), "__pydantic_fields__") and not dataclasses.is_dataclass(value)


def bare(annotation: Any) -> Any:
    """Return an annotation without what is only said about it: ``Annotated[int, ...]`` is ``int``."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if isinstance(annotation, typing.NewType):
        return bare(annotation.__supertype__)
    if isinstance(annotation, typing.TypeVar):
        return bare(annotation.__bound__) if annotation.__bound__ else Any
    return annotation


def configured(annotation: Any) -> tuple[str, Any]:
    """Return ``("Config" | "Partial" | "", what is configured)`` of an annotation such as ``run.Config[Model]``."""
    annotation = bare(annotation)
    origin = typing.get_origin(annotation) or annotation
    if isinstance(origin, type) and origin.__name__ in ("Config", "Partial", "Buildable") and _is_fiddles(origin):
        args = typing.get_args(annotation)
        return "Partial" if origin.__name__ == "Partial" else "Config", bare(args[0]) if args else MISSING
    return "", annotation


def _is_fiddles(kind: type) -> bool:
    return any(base.__module__.startswith("fiddle.") and base.__name__ == "Buildable" for base in kind.__mro__)


def members(annotation: Any) -> tuple[Any, ...]:
    """Return the types of a union, else the annotation alone."""
    annotation = bare(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def describe(annotation: Any) -> str:
    """Return an annotation as people write it.

    Example:
        >>> describe(typing.Optional[list[int]]), describe(typing.Literal["a", 1]), describe(MISSING)
        ('list[int] | None', "'a' | 1", 'any')
    """
    annotation = bare(annotation)
    if annotation in (MISSING, Any):
        return "any"
    if annotation is type(None) or annotation is None:
        return "None"
    if annotation is Ellipsis:
        return "..."
    if isinstance(annotation, (str, typing.ForwardRef)):
        return annotation if isinstance(annotation, str) else annotation.__forward_arg__
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " | ".join(map(repr, args))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(describe, args))
    if origin is collections.abc.Callable:
        return "callable"
    name = getattr(origin or annotation, "__name__", None) or str(annotation).replace("typing.", "")
    if args:
        return f"{name}[{', '.join(map(describe, args))}]"
    return str(name)
