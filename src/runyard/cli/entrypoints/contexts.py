"""The context of a command line: which overrides are for it, and executor, plugins and options that they set."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runyard.cli.entrypoints.context import RunContext
from runyard.cli.entrypoints.registry import Entrypoint
from runyard.config.overrides import Override, Place, types
from runyard.config.overrides.nodes import Items, Node, Pairs, Text
from runyard.config.overrides.plain import NONE_WORDS
from runyard.errors import OverrideError

OWN = ("executor", "plugins")
"""What stands for the context's field of that name, unless the function has such an argument."""


@dataclass(frozen=True)
class Words:
    """The overrides of a command line, told apart.

    Args:
        task: Changes of the function's arguments.
        context: Changes of the context, their paths relative to it.
    """

    task: tuple[Override, ...]
    context: tuple[Override, ...]


def context_parameter(entry: Entrypoint) -> str:
    """Return the name of the argument that gets the context; ``""`` when there is none."""
    return next((name for name, param in types.signature(entry.fn).parameters.items() if _context_class(param)), "")


def default_context(entry: Entrypoint) -> RunContext:
    """Return the context before any option: the default of the function's own argument, or one of its class."""
    name = context_parameter(entry)
    param = types.signature(entry.fn).parameters.get(name)
    if param is not None and isinstance(param.default, RunContext):
        return replace(param.default)
    made: RunContext = (entry.run_ctx_cls or (_context_class(param) if param else None) or RunContext)()
    return made


def _context_class(param: types.Parameter) -> type[RunContext] | None:
    if isinstance(param.default, RunContext):
        return type(param.default)
    classes = (option for option in types.members(param.annotation) if isinstance(option, type))
    return next((option for option in classes if issubclass(option, RunContext)), None)


def split(entry: Entrypoint, overrides: Iterable[Override]) -> Words:
    """Tell the changes of the context from those of the task."""
    taken = types.signature(entry.fn).parameters
    contexts = {context_parameter(entry), *({"run"} - set(taken))}
    task: list[Override] = []
    context: list[Override] = []
    for override in overrides:
        head, rest = override.path[0], override.path[1:]
        if head in contexts and rest:
            context.append(Override(rest, override.operator, override.value, override.text))
        elif head in OWN and head not in taken:
            context.append(override)
        else:
            task.append(override)
    return Words(tuple(task), tuple(context))


def set_context(entry: Entrypoint, ctx: RunContext, overrides: Sequence[Override]) -> None:
    """Apply ``executor=``, ``plugins=`` and ``run.FIELD=`` to the context, after the entrypoint's defaults.

    Raises:
        OverrideError: when one cannot be applied.
    """
    if overrides and not entry.enable_executor:
        raise OverrideError(
            f"{overrides[0].text}: {entry.name} runs in this process", hint="it has no executor, and is not launched"
        )
    if ctx.executor is None and entry.default_executor is not None:
        ctx.executor = _made(entry.default_executor)
    if not ctx.plugins and entry.default_plugins is not None:
        ctx.plugins = _several(_made(entry.default_plugins))
    for override in overrides:
        _set_in_context(entry, ctx, override)


def _set_in_context(entry: Entrypoint, ctx: RunContext, override: Override) -> None:
    from runyard.cli.entrypoints.lookup import Lookup
    from runyard.config.overrides.apply import apply, built
    from runyard.config.overrides.coerce import coerce

    head, rest = override.path[0], override.path[1:]
    place = Place(str(head), override.text)
    sources = Lookup(entry)
    if head == "executor" and not rest and override.operator == "=":
        from runyard.executors.base import Executor

        ctx.executor = None if _is_none(override) else built(coerce(override.value, Executor, place, sources))
        return
    if head == "executor" and ctx.executor is None:
        from runyard.executors.local import LocalExecutor

        ctx.executor = LocalExecutor()
    if head == "plugins" and not rest and override.operator in ("=", "+="):
        from runyard.plugin import Plugin

        wanted: Any = list[Plugin] if isinstance(override.value, Items) else Plugin
        found = [] if _is_none(override) else _several(built(coerce(override.value, wanted, place, sources)))
        ctx.plugins = found if override.operator == "=" else [*ctx.plugins, *found]
        return
    if head == "plugins" and rest and isinstance(rest[0], str):
        if len(ctx.plugins) != 1:
            raise OverrideError(
                f"{override.text}: there are {len(ctx.plugins)} plugins",
                hint="plugins[0].FIELD=VALUE sets a field of the first",
            )
        override = Override((head, 0, *rest), override.operator, override.value, override.text)
    if override.path[:2] == ("executor", "env_vars"):
        override = replace(override, value=_variables(override.value, whole=len(override.path) == 2))
    apply(ctx, [override], sources)


def _variables(node: Node, whole: bool) -> Node:
    """Return the value of a variable, or a table of them (the ``whole`` environment), in which all values are text."""
    if whole and isinstance(node, Pairs):
        return Pairs(node.raw, tuple((key, _variables(value, whole=False)) for key, value in node.pairs))
    return node if whole or isinstance(node, Text) else Text(node.raw, node.raw)


def _is_none(override: Override) -> bool:
    return override.value.raw.strip().lower() in NONE_WORDS


def _made(given: Any) -> Any:
    from runyard.config.overrides.apply import built

    is_function = callable(given) and not hasattr(given, "__dataclass_fields__")
    return built(copy.deepcopy(given() if is_function else given))


def _several(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]
