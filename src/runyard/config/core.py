"""``Config`` and ``Partial``: Fiddle's, with the methods that Runyard adds. Importing this imports Fiddle."""

from __future__ import annotations

import copy
import difflib
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Generic, Self, TypeVar

import fiddle as fdl
from fiddle._src import casting, signatures

from runyard.config.secret_values import masked
from runyard.errors import ConfigError

T = TypeVar("T")


class UnknownArgument(ConfigError, AttributeError):
    """An argument that the configured function or class does not take."""


def unknown_argument(target: Any, name: str, known: Any) -> UnknownArgument:
    """Return the error for an argument that ``target`` does not take; it names the nearest it takes."""
    title = getattr(target, "__qualname__", str(target))
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"it takes: {', '.join(names) or 'nothing'}"
    return UnknownArgument(f"{title} takes no argument {name!r}", hint=hint)


class _Methods:
    """What Config and Partial have in common."""

    def __init__(self, fn_or_cls: Any, /, *args: Any, bind_args: bool = True, **kwargs: Any) -> None:
        later: dict[str, Any] = {}
        if not callable(fn_or_cls) and not isinstance(fn_or_cls, fdl.Buildable):
            raise ConfigError(f"{fn_or_cls!r} cannot be configured", hint="give a function or a class")
        known = _parameters(fn_or_cls)
        for name in kwargs if known is not None else ():
            if name not in (known or ()):
                if bind_args:
                    raise unknown_argument(fn_or_cls, name, known)
                later[name] = kwargs[name]
        try:
            checked = {name: value for name, value in kwargs.items() if name not in later}
            super().__init__(fn_or_cls, *args, **checked)  # type: ignore[call-arg]
        except TypeError as error:
            raise ConfigError(str(error)) from None
        except ValueError as error:  # a Buildable, or a builtin without a signature
            raise ConfigError(f"cannot configure {fn_or_cls!r}: {error}") from None
        for name, value in later.items():
            self._arguments_set_value(name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except AttributeError:
            info = self.__signature_info__
            raise unknown_argument(self.__fn_or_cls__, name, info.valid_param_names) from None

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)  # type: ignore[misc]
        except AttributeError as error:
            if name.startswith("__") or name in self.__signature_info__.valid_param_names:
                raise
            near = difflib.get_close_matches(name, self.__signature_info__.valid_param_names, n=1)
            if not near:
                raise
            raise AttributeError(f"{error} Did you mean {near[0]!r}?") from None

    def __repr__(self) -> str:
        return str(fdl.Buildable.__repr__(masked(self)))

    def clone(self) -> Self:
        """Return a deep copy; what was shared within is shared within the copy."""
        return copy.deepcopy(self)

    def walk(self, **changes: Callable[[Any], Any]) -> Self:
        """Change every attribute of a name, here and in all nested Configs, in place.

        Args:
            changes: Attribute name → a function that gets the Config holding the attribute and returns
                the new value. A value that is not callable is set as it is.

        Example:
            >>> cfg = Config(dict, lr=1, child=Config(dict, lr=2))
            >>> cfg.walk(lr=lambda cfg: cfg.lr * 10).child.lr
            20
        """
        for node in nested(self):
            for name, change in changes.items():
                if has_value(node, name):
                    setattr(node, name, change(node) if callable(change) else change)
        return self

    def broadcast(self, **values: Any) -> Self:
        """Set an attribute here and on every nested Config that takes it, in place.

        Example:
            >>> cfg = Config(complex, imag=1.0)
            >>> cfg.broadcast(real=2.0, other=3).real
            2.0
        """
        for node in nested(self):
            for name, value in values.items():
                if name in node.__signature_info__.valid_param_names or name in node.__arguments__:
                    setattr(node, name, value)
        return self

    def diff(self, other: Any) -> str:
        """Return what differs from ``other``, one line per argument; ``""`` when nothing does.

        ``-`` stands for ``other`` (the old one), ``+`` for this one.
        """
        from runyard.config.show import diff_text

        return diff_text(other, self)

    def _repr_svg_(self) -> str | None:
        from runyard.config.show import svg

        return svg(self)

    def _repr_html_(self) -> str | None:
        from runyard.config.show import has_graphviz, html_tree

        return None if has_graphviz() else html_tree(self)


class Config(_Methods, fdl.Config[T], Generic[T]):  # type: ignore[misc]
    """An object to be made in the job: a class (or function) and its arguments, which stay editable.

    Args:
        fn_or_cls: What makes the object.
        args, kwargs: Its arguments; Configs may be nested, and a Config used twice is built once.
        bind_args: Refuse unknown arguments at once (otherwise only when it is built).

    Raises:
        ConfigError: for an argument that ``fn_or_cls`` does not take.

    Example:
        >>> cfg = Config(complex, 1.0)
        >>> cfg.imag = 2.0
        >>> fdl.build(cfg)
        (1+2j)
    """


class Partial(_Methods, fdl.Partial[T], Generic[T]):  # type: ignore[misc]
    """A function to be called in the job: like :class:`Config`, but built into a ``functools.partial``.

    Example:
        >>> fdl.build(Partial(int, base=2))("101")
        5
    """


for _pair in itertools.permutations((Config, Partial, fdl.Config, fdl.Partial, fdl.ArgFactory), 2):
    casting.register_supported_cast(*_pair)


def _parameters(target: Any) -> list[str] | None:
    """Return the names that ``target`` takes as keywords; None when it takes any."""
    if isinstance(target, fdl.Buildable):
        raise ConfigError(
            "a Config of a Config", hint="use cfg.clone(), or fdl.cast(run.Partial, cfg) to change its type"
        )
    try:
        parameters = signatures.get_signature(target).parameters.values()
    except (TypeError, ValueError):
        return None  # the constructor reports it
    if any(param.kind is param.VAR_KEYWORD for param in parameters):
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def nested(root: Any) -> Iterator[Any]:
    """Yield every Buildable in ``root``, itself included, parents first, each once."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) in seen or not isinstance(node, (fdl.Buildable, list, tuple, dict)):
            continue
        seen.add(id(node))
        if isinstance(node, fdl.Buildable):
            yield node
            children = list(node.__arguments__.values())
        else:
            children = list(node.values() if isinstance(node, dict) else node)
        stack.extend(reversed(children))


def has_value(node: Any, name: str) -> bool:
    """Tell whether ``node`` has an argument ``name`` that can be read: set, or with a default."""
    try:
        return name in node.__arguments__ or (
            name in node.__signature_info__.valid_param_names and getattr(node, name, node) is not node
        )
    except ValueError:  # a dataclass field's default_factory
        return False
