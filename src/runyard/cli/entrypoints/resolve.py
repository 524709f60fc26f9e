"""From a command line's words to a task and a context: base, files, overrides, defaults, and what is missing."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runyard.cli.entrypoints.context import RunContext
from runyard.cli.entrypoints.lookup import Lookup
from runyard.cli.entrypoints.registry import Entrypoint
from runyard.config.overrides import Override, Place, files, parse, parse_value, types
from runyard.config.overrides.coerce import coerce
from runyard.config.overrides.nodes import Items, Node, Pairs, Text, Word, from_data
from runyard.config.overrides.plain import NONE_WORDS, meant
from runyard.errors import ConfigError, OverrideError

if TYPE_CHECKING:
    from runyard.config.core import Partial

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
    for name, param in types.signature(entry.fn).parameters.items():
        if isinstance(param.default, RunContext):
            return name
        for option in types.members(param.annotation):
            if isinstance(option, type) and issubclass(option, RunContext):
                return name
    return ""


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


def parse_words(entry: Entrypoint, words: Sequence[str]) -> list[Override]:
    """Return the overrides that a command line has.

    Raises:
        OverrideError: when a word is none; it says what was meant.
    """
    found = []
    for word in words:
        try:
            found.append(parse(word))
        except OverrideError as error:
            names = list(types.signature(entry.fn).parameters)
            if word in names:
                raise
            hint = error.hint if "=" in word else meant(word, names, "write NAME=VALUE with one of")
            raise OverrideError(error.message, hint=hint or error.hint) from None
    return found


# -- the context -------------------------------------------------------------------------------------


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
    from runyard.config.overrides.apply import apply, built

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
        override = replace(override, value=_as_text(override.value))
    apply(ctx, [override], sources)


def _as_text(node: Node) -> Node:
    """Return a value of the environment, where ``1`` is text."""
    if isinstance(node, Pairs):
        return Pairs(node.raw, tuple((key, _as_text(value)) for key, value in node.pairs))
    return Text(node.raw, node.raw) if isinstance(node, Word) else node


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


# -- the task ----------------------------------------------------------------------------------------


def resolve(entry: Entrypoint, ctx: RunContext, words: Sequence[str]) -> Partial[Any]:
    """Return the task that a command line describes; the context is set on the way.

    Raises:
        ConfigError: when something is unknown, does not fit, or is missing.
    """
    from runyard.config.overrides.apply import apply

    given = split(entry, [*_from_file(entry, ctx), *parse_words(entry, words)])
    set_context(entry, ctx, given.context)
    sources = Lookup(entry)
    task = _base(entry, ctx, sources)
    _fill(task, entry, sources)
    apply(task, given.task, sources)
    check_complete(entry, task, sources)
    return task


def check_names(entry: Entrypoint, overrides: Sequence[Override]) -> None:
    """Refuse arguments that the function does not take, and look no further.

    Raises:
        OverrideError: with the nearest name.
    """
    taken = types.signature(entry.fn)
    for override in overrides:
        name = str(override.path[0])
        if name not in taken.parameters and taken.extra is None:
            hint = meant(name, taken.parameters, "it takes")
            raise OverrideError(f"{override.text}: {entry.name} takes no argument {name!r}", hint=hint)


def _base(entry: Entrypoint, ctx: RunContext, sources: Lookup) -> Partial[Any]:
    """Return the task before any override: from a file, a factory, the default factory, or the function alone."""
    from runyard.config.core import Partial

    stated = _stated(ctx)
    if len(stated) > 1:
        raise OverrideError(f"{' and '.join(stated)} both give the task", hint="use one of them, and overrides")
    if ctx.factory is not None:
        return _from_factory(entry, ctx.factory, sources, f"--factory {ctx.factory}")
    if stated:
        path = ctx.load if ctx.load is not None else ctx.yaml
        return _task_of(entry, _whole(str(path)), f"{stated[0]} {path}")
    if entry.default_factory is not None:
        if isinstance(entry.default_factory, str):
            return _from_factory(entry, entry.default_factory, sources, f"default_factory={entry.default_factory!r}")
        return _task_of(entry, entry.default_factory(), f"default_factory={entry.default_factory.__name__}")
    made = sources.default(entry.fn, Place("--factory"))
    return _task_of(entry, made(), "the default factory") if made else Partial(entry.fn)


def _stated(ctx: RunContext) -> list[str]:
    """Return the options that state the whole task. Arguments in a YAML file are overrides."""
    found = [f"--{name}" for name in ("factory", "load") if getattr(ctx, name) is not None]
    if ctx.yaml is not None and "_target_" in _mapping(ctx.yaml):
        found.append("--yaml")
    return found


def _mapping(path: str) -> dict[str, Any]:
    file, _, section = path.partition(":")
    data = files.read(file, section)
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise OverrideError(f"{path} holds no arguments", hint="write NAME: VALUE, a line for each")
    return data


def _from_file(entry: Entrypoint, ctx: RunContext) -> list[Override]:
    """Return the arguments in the file of ``--yaml`` as overrides."""
    if ctx.yaml is None:
        return []
    data = _mapping(ctx.yaml)
    if "_target_" in data:
        return []
    pairs: list[tuple[tuple[str, ...], Any]] = []
    for key, value in data.items():
        if key == "run" and isinstance(value, dict) and key not in types.signature(entry.fn).parameters:
            pairs += [((key, str(name)), item) for name, item in value.items()]
        else:
            pairs.append(((key,), value))
    where = f"{ctx.yaml}: "
    return [Override(path, "=", from_data(value), where + ".".join(path)) for path, value in pairs]


def _whole(path: str) -> Any:
    """Return the configuration in a file, or in the only such file of a folder."""
    from runyard.config.serialize import from_data as build

    folder = Path(path).expanduser()
    if folder.is_dir():
        found = sorted(file for file in folder.iterdir() if file.suffix in files.FORMS)
        named = [file for file in found if file.stem in ("task", "config")] or found
        if len(named) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise OverrideError(f"{path} has not one configuration but {names}", hint="name the file")
        path = str(named[0])
    data = files.read(path)
    if not isinstance(data, dict) or "_target_" not in data:
        raise OverrideError(f"{path} holds no whole task: it has no _target_", hint=f"arguments alone: --yaml {path}")
    try:
        return build(data)
    except ConfigError as error:
        raise OverrideError(f"{path}: {error.message}", hint=error.hint) from error


def _from_factory(entry: Entrypoint, text: str, sources: Lookup, where: str) -> Partial[Any]:
    from runyard.config.core import Partial

    place = Place("--factory", where)
    wanted: Any = Partial[entry.fn]  # type: ignore[name-defined]
    found = coerce(parse_value(text), wanted, place, sources)
    return _task_of(entry, found, where)


def _task_of(entry: Entrypoint, found: Any, where: str) -> Partial[Any]:
    """Return what a factory or a file gives as a Partial of the entrypoint's function."""
    import fiddle as fdl

    from runyard.config.core import Partial

    if not isinstance(found, fdl.Buildable):
        hint = f"it must give run.Partial({entry.name}, …)"
        raise OverrideError(f"{where} gives a {type(found).__name__}", hint=hint)
    made, wanted = found.__fn_or_cls__, entry.fn
    if made is not wanted and _title(made) != _title(wanted):
        raise OverrideError(f"{where} configures {_title(made)}, not {_title(wanted)}", hint="use one for this command")
    task = copy.deepcopy(found) if isinstance(found, Partial) else fdl.cast(Partial, found)
    if made is not wanted:
        fdl.update_callable(task, wanted)
    return task


def _title(fn: Any) -> str:
    return f"{getattr(fn, '__module__', '')}.{getattr(fn, '__qualname__', fn)}"


def _fill(task: Partial[Any], entry: Entrypoint, sources: Lookup) -> None:
    """Set the arguments whose default is a Config (nothing else would build it), or comes from a factory."""
    from runyard.config.core import nested
    from runyard.config.overrides.apply import as_config

    for name, param in types.signature(entry.fn).parameters.items():
        if name in task.__arguments__:
            continue
        if not param.required:
            if next(nested(param.default), None) is not None:
                setattr(task, name, copy.deepcopy(param.default))
        elif made := sources.default(param.annotation, Place(name, name, entry.fn, name)):
            setattr(task, name, as_config(made()))


def check_complete(entry: Entrypoint, task: Partial[Any], sources: Lookup) -> None:
    """Refuse a task that lacks arguments, nested ones too.

    Raises:
        OverrideError: naming each with its type, and what could be written.
    """
    skipped = context_parameter(entry)
    lacking = [(path, param, owner) for path, param, owner in missing(task) if path != skipped]
    if not lacking:
        return
    listed = ", ".join(f"{path} ({types.describe(param.annotation)})" for path, param, _ in lacking)
    path, param, owner = lacking[0]
    names: list[str] = []
    for option in types.members(param.annotation):
        if option not in (types.MISSING, Any):
            names += sources.names(option, Place(path, "", owner, param.name))
    hint = f"write {path}={names[0]} (factories: {', '.join(names)})" if names else f"write {path}=VALUE"
    raise OverrideError(f"{entry.name} lacks {listed}", hint=hint)


def missing(node: Any, path: str = "") -> list[tuple[str, types.Parameter, Any]]:
    """Return the required arguments that are not set, with their paths, of a Config and all below it."""
    from runyard.config.encoder import is_buildable

    found: list[tuple[str, types.Parameter, Any]] = []
    if is_buildable(node):
        if type(node).__name__ != "Partial" or not path:
            taken = types.signature(node.__fn_or_cls__).parameters
            for name, param in taken.items():
                if param.required and name not in node.__arguments__:
                    found.append((f"{path}.{name}" if path else name, param, node.__fn_or_cls__))
        items = [(f"{path}.{key}" if path else str(key), value) for key, value in node.__arguments__.items()]
    elif isinstance(node, dict):
        items = [(f"{path}[{key!r}]", value) for key, value in node.items()]
    elif isinstance(node, (list, tuple)):
        items = [(f"{path}[{i}]", value) for i, value in enumerate(node)]
    else:
        return found
    for place, value in items:
        found += missing(value, place)
    return found
