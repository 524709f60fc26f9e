"""What was decorated: entrypoints and factories. Importing this costs next to nothing; a job does it too."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from runyard.errors import ConfigError

Function = Callable[..., Any]
KINDS = ("task", "experiment", "sequential_experiment", "parallel_experiment")
MARK = "__runyard_entrypoint__"


@dataclass(frozen=True)
class Factory:
    """A function that configures something, under a name.

    Args:
        name: What it is called on a command line.
        fn: The function.
        target: What it makes: a class, or a function whose Partial it makes; ``None``: its return annotation says.
        arg: It serves this argument of ``target`` only.
        default: It is used when nothing is given.
        namespace: Tells it from others of its name: ``namespace.name``.
    """

    name: str
    fn: Function
    target: Any = None
    arg: str = ""
    default: bool = False
    namespace: str = ""

    @property
    def plain(self) -> Function:
        """The function without decoration."""
        plain: Function = inspect.unwrap(self.fn)
        return plain

    @property
    def where(self) -> str:
        """``module.name``, which also names it on a command line."""
        return f"{self.plain.__module__}.{self.plain.__qualname__}"

    @property
    def source(self) -> str:
        """File and line of its definition."""
        code = getattr(self.plain, "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else ""

    @property
    def full_name(self) -> str:
        """Namespace and name."""
        return f"{self.namespace}.{self.name}" if self.namespace else self.name

    def makes(self) -> Any:
        """Return the type that it makes."""
        if self.target is not None:
            return self.target
        from runyard.config.overrides.types import hints

        return hints(self.fn).get("return", Any)

    def clashes(self, other: Factory) -> bool:
        """Tell whether a command line could not tell the two apart."""
        same = (self.full_name, self.arg) == (other.full_name, other.arg) and self.target is other.target
        if not same or self.where == other.where:  # or it was defined anew, in a notebook
            return False
        return self.target is not None or _return(self.plain) == _return(other.plain)


@dataclass(frozen=True)
class Entrypoint:
    """A function as a command; see :func:`runyard.cli.entrypoint` for the fields."""

    fn: Function
    name: str
    namespace: str = ""
    help: str = ""
    kind: str = "task"
    skip_confirmation: bool = False
    enable_executor: bool = True
    default_factory: Any = None
    default_executor: Any = None
    default_plugins: Any = None
    run_ctx_cls: Any = None

    @property
    def full_name(self) -> str:
        """Namespace and name."""
        return f"{self.namespace}.{self.name}" if self.namespace else self.name


_factories: list[Factory] = []
_entrypoints: dict[tuple[str, str], Entrypoint] = {}


def add_factory(factory: Factory) -> None:
    """Register a factory; the same function registered again takes its own place.

    Raises:
        ConfigError: when another function has its name, for the same target.
    """
    for other in _factories:
        if factory.clashes(other):
            raise ConfigError(
                f"two factories are called {factory.full_name!r}: {other.source} and {factory.source}",
                hint="give one of them another name: @run.cli.factory(name=...), or a namespace",
            )
    key = (factory.where, factory.full_name, factory.arg)
    _factories[:] = [f for f in _factories if (f.where, f.full_name, f.arg) != key or f.target is not factory.target]
    _factories.append(factory)


def add_entrypoint(entry: Entrypoint) -> None:
    """Register an entrypoint.

    Raises:
        ConfigError: when another function has its name.
    """
    old = _entrypoints.get((entry.namespace, entry.name))
    if old and _place(old.fn) != _place(entry.fn):
        raise ConfigError(
            f"two entrypoints are called {entry.full_name!r}: {_place(old.fn)} and {_place(entry.fn)}",
            hint="give one of them another name: @run.cli.entrypoint(name=...), or a namespace",
        )
    _entrypoints[entry.namespace, entry.name] = entry


def factories() -> Iterator[Factory]:
    """Yield every factory, the earliest first."""
    return iter(tuple(_factories))


def entrypoints() -> Iterator[Entrypoint]:
    """Yield every entrypoint, the earliest first."""
    return iter(tuple(_entrypoints.values()))


def fits(factory: Factory, annotation: Any, owner: Any = None, arg: str = "") -> bool:
    """Tell whether a factory makes what is wanted.

    Args:
        factory: The factory.
        annotation: The type wanted.
        owner: The function or class that takes the argument.
        arg: The argument's name.
    """
    from runyard.config.overrides import types

    if factory.arg:
        return factory.arg == arg and owner is not None and same(factory.target, owner)
    if annotation in (types.MISSING, Any, object):
        return True
    _, wanted = types.configured(annotation)
    kind, made = types.configured(factory.makes())
    if made is types.MISSING or wanted is types.MISSING:  # a bare Partial or Config
        return kind == "Partial" if wanted is types.MISSING else False
    if isinstance(wanted, (str, typing.ForwardRef)):
        return types.describe(made) == types.describe(wanted).rpartition(".")[2]
    if isinstance(wanted, type) and isinstance(made, type):
        return issubclass(made, wanted)
    return same(made, wanted)


def find(name: str, annotation: Any, owner: Any = None, arg: str = "", namespace: str = "") -> Factory | None:
    """Return the factory of a name: ``name``, ``namespace.name`` or ``module.name``.

    Raises:
        ConfigError: when several fit equally well.
    """
    found = [f for f in _factories if name in (f.name, f.full_name, f.where) and fits(f, annotation, owner, arg)]
    preferences: tuple[Callable[[Factory], object], ...] = (
        lambda f: name in (f.full_name, f.where) and f.namespace,
        lambda f: f.arg,
        lambda f: f.namespace == namespace,
    )
    for better in preferences:
        found = [f for f in found if better(f)] or found
    if len(found) > 1:
        places = ", ".join(f"{f.full_name} ({f.where})" for f in found)
        raise ConfigError(f"several factories are called {name!r}: {places}", hint="write one of these in full")
    return found[0] if found else None


def _return(fn: Function) -> Any:
    return getattr(fn, "__annotations__", {}).get("return")


def same(left: Any, right: Any) -> bool:
    """Tell whether two targets are the same function or class, decorated or not."""
    if left is right or left == right:
        return True
    return callable(left) and callable(right) and inspect.unwrap(left) is inspect.unwrap(right)


def _place(fn: Function) -> str:
    return f"{getattr(fn, '__module__', '')}.{getattr(fn, '__qualname__', fn)}"
