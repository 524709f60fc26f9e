"""``run.cli.entrypoint`` and ``run.cli.factory``: decorators that register, and return the function as it is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, TypeVar, overload

from runyard.cli.entrypoints import registry
from runyard.cli.entrypoints.registry import KINDS, Entrypoint, Factory
from runyard.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])


@overload
def entrypoint(fn: F) -> F: ...
@overload
def entrypoint(
    fn: None = None,
    *,
    name: str | None = None,
    namespace: str | None = None,
    help: str | None = None,
    skip_confirmation: bool = False,
    enable_executor: bool = True,
    default_factory: Any = None,
    default_executor: Any = None,
    default_plugins: Any = None,
    type: str = "task",
    run_ctx_cls: Any = None,
) -> Callable[[F], F]: ...
def entrypoint(
    fn: Any = None,
    *,
    name: str | None = None,
    namespace: str | None = None,
    help: str | None = None,
    skip_confirmation: bool = False,
    enable_executor: bool = True,
    default_factory: Any = None,
    default_executor: Any = None,
    default_plugins: Any = None,
    type: str = "task",
    run_ctx_cls: Any = None,
) -> Any:
    """Make a function a command whose arguments are set as ``name=value``. The function itself stays as it is.

    Args:
        fn: The function.
        name: Name of the command; default: the function's.
        namespace: Group that the command belongs to, ``"llm"`` or ``"llm.tools"``.
        help: Its description; default: the function's docstring.
        skip_confirmation: Launch without asking.
        enable_executor: Offer an executor and the options of a launch; with ``False`` the function is
            simply called.
        default_factory: A factory (or its name) of the task, used when ``--factory`` is not given.
        default_executor: An executor, its Config, or a function that returns one.
        default_plugins: A plugin, a list of plugins, or a function that returns them.
        type: ``"task"``: the function is what runs in the job. ``"experiment"``: it runs here, and launches
            through its :class:`~runyard.cli.RunContext`. ``"sequential_experiment"`` and
            ``"parallel_experiment"``: it runs here and names the tasks; they are launched when it returns.
        run_ctx_cls: A subclass of ``RunContext`` with fields of your own, set as ``run.FIELD=value``.

    Raises:
        ConfigError: for an unknown ``type``, or a name that is taken.

    Example:
        >>> @entrypoint(name="fit", namespace="docs")
        ... def train(model: str, epochs: int = 10):
        ...     print(model, epochs)
        >>> train("small")
        small 10
    """
    if fn is None:
        given = {k: v for k, v in locals().items() if k != "fn"}
        return functools.partial(entrypoint, **given)
    entry = make_entrypoint(
        fn,
        name=name or "",
        namespace=namespace or "",
        help=help or "",
        kind=type,
        skip_confirmation=skip_confirmation,
        enable_executor=enable_executor,
        default_factory=default_factory,
        default_executor=default_executor,
        default_plugins=default_plugins,
        run_ctx_cls=run_ctx_cls,
    )
    registry.add_entrypoint(entry)
    setattr(fn, registry.MARK, entry)
    return fn


def make_entrypoint(fn: Any, *, name: str = "", kind: str = "task", **options: Any) -> Entrypoint:
    """Return the description of a function as a command, unregistered.

    Raises:
        ConfigError: when it is no function, or its type is unknown.
    """
    if not callable(fn):
        raise ConfigError(f"{fn!r} cannot be a command", hint="give a function: run.cli.main(train)")
    if inspect.iscoroutinefunction(fn) or inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise ConfigError(
            f"{fn.__qualname__} cannot be a command: it is async or a generator, and a call runs nothing of it",
            hint="give a plain function that runs it, for example with asyncio.run",
        )
    if kind not in KINDS:
        near = get_close_matches(str(kind), KINDS, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"entrypoint(type={kind!r}) is unknown", hint=f"{meant}one of {', '.join(KINDS)}")
    return Entrypoint(fn, name or getattr(fn, "__name__", "command"), kind=kind, **options)


@overload
def factory(fn: F) -> F: ...
@overload
def factory(
    fn: F,
    target: Any = None,
    *,
    target_arg: str | None = None,
    is_target_default: bool = False,
    name: str | None = None,
    namespace: str | None = None,
) -> F: ...
@overload
def factory(
    fn: None = None,
    target: Any = None,
    *,
    target_arg: str | None = None,
    is_target_default: bool = False,
    name: str | None = None,
    namespace: str | None = None,
) -> Callable[[F], F]: ...
def factory(
    fn: Any = None,
    target: Any = None,
    *,
    target_arg: str | None = None,
    is_target_default: bool = False,
    name: str | None = None,
    namespace: str | None = None,
) -> Any:
    """Register a function that configures something, so that a command line can name it: ``model=my_model``.

    It serves every argument annotated with what it returns (``-> Model``, ``-> run.Config[Model]``, a subclass
    too), and a whole entrypoint where it returns its Partial (``--factory my_recipe``). It may return a Config, a
    Partial or a dataclass; ``@run.autoconvert`` below it is as usual.

    Args:
        fn: The function.
        target: What it is for, where the return annotation does not say: a class, or an entrypoint's function.
        target_arg: It serves only this argument of ``target``.
        is_target_default: Use it when nothing is given.
        name: What it is called; default: the function's name.
        namespace: Tells it from others of the same name: ``namespace.name``.

    Raises:
        ConfigError: when nothing says what it makes, or its name is taken.

    Example:
        >>> @factory(name="unit")
        ... def unit(angle: float = 0.0) -> complex:
        ...     return complex(1.0, angle)
    """
    if fn is None:
        given = {k: v for k, v in locals().items() if k != "fn"}
        return functools.partial(factory, **given)
    if target_arg and target is None:
        raise ConfigError(
            f"factory(target_arg={target_arg!r}) lacks its target", hint="add target=, the function that takes it"
        )
    made = Factory(
        name or str(getattr(fn, "__name__", "")), fn, target, target_arg or "", is_target_default, namespace or ""
    )
    if target is None and "return" not in getattr(made.plain, "__annotations__", {}):
        raise ConfigError(
            f"nothing says what the factory {made.name!r} makes ({made.source})",
            hint="annotate what it returns: def my_model() -> Model, or give target=",
        )
    registry.add_factory(made)
    return fn


def resolve_factory(target: Any, name: str, namespace: str = "") -> Callable[..., Any]:
    """Return a registered factory.

    Args:
        target: What it makes: a class, or an entrypoint's function.
        name: Its name; ``namespace.name`` and ``module.name`` too.
        namespace: Preferred where several have the name.

    Raises:
        ConfigError: when there is none, with the nearest name.

    Example:
        >>> @factory(name="origin")
        ... def zero() -> complex:
        ...     return complex(0, 0)
        >>> resolve_factory(complex, "origin")()
        0j
    """
    found = registry.find(name, target, namespace=namespace)
    if found is None:
        from runyard.config.overrides.plain import meant
        from runyard.config.overrides.types import describe

        known = [f.full_name for f in registry.factories() if registry.fits(f, target)]
        what = describe(target)
        hint = meant(name, known, "factories") or f"none is registered for {what}: @run.cli.factory"
        raise ConfigError(f"no factory {name!r} makes a {what}", hint=hint)
    return found.fn


def list_factories(type_or_namespace: Any = None) -> list[Callable[..., Any]]:
    """Return the registered factories.

    Args:
        type_or_namespace: Only those that make this (a class, an entrypoint's function), or of this namespace.
    """
    wanted = type_or_namespace
    if isinstance(wanted, str):
        return [f.fn for f in registry.factories() if f.namespace == wanted]
    return [f.fn for f in registry.factories() if wanted is None or registry.fits(f, wanted)]


def list_entrypoints(namespace: str | None = None) -> dict[str, Any]:
    """Return the registered entrypoints: name → function, and namespace → the same for what is in it.

    Args:
        namespace: Only what is in this one.
    """
    tree: dict[str, Any] = {}
    for entry in registry.entrypoints():
        level = tree
        for part in filter(None, entry.namespace.split(".")):
            level = level.setdefault(part, {})
        level[entry.name] = entry.fn
    for part in filter(None, (namespace or "").split(".")):
        tree = tree.get(part, {})
    return tree
