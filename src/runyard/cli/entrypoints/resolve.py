"""From a command line's words to a task: its base, files, overrides, defaults, and what is missing."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runyard.cli.entrypoints.context import RunContext
from runyard.cli.entrypoints.contexts import context_parameter, set_context, split
from runyard.cli.entrypoints.lookup import Lookup
from runyard.cli.entrypoints.registry import Entrypoint
from runyard.config.encoder import is_buildable
from runyard.config.overrides import Override, Place, files, parse, parse_value, types
from runyard.config.overrides.coerce import coerce
from runyard.config.overrides.nodes import Call, File, from_data
from runyard.config.overrides.plain import is_class, meant
from runyard.errors import ConfigError, OverrideError

if TYPE_CHECKING:
    from runyard.config.core import Partial


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
        default = entry.default_factory
        if isinstance(default, str):
            return _from_factory(entry, default, sources, f"default_factory={default!r}")
        where = f"default_factory={getattr(default, '__name__', default)}"
        return _task_of(entry, default if is_buildable(default) else default(), where)
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
    if "=" in file:
        raise OverrideError(f"--yaml {path}: that is no file", hint="-y is --yaml; --yes launches without asking")
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

    folder = Path(os.path.expanduser(path))
    if folder.is_dir():
        found = sorted(file for file in folder.iterdir() if file.suffix in files.FORMS)
        named = [file for file in found if file.stem in ("task", "config")] or found
        if len(named) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise OverrideError(f"{path} has not one configuration but {names}", hint="name the file")
        path = str(named[0])
    try:
        data = files.read(path)
    except OverrideError as error:
        raise OverrideError(f"--load {path}: {error.message}", hint=error.hint) from error
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
    node = parse_value(text)
    name = node.name if isinstance(node, Call) else text.strip()
    if not isinstance(node, File) and sources.factory(name, wanted, place) is None:
        hint = meant(name, sources.names(wanted, place), "it has") or f"@run.cli.factory(target={entry.name}) makes one"
        raise OverrideError(f"{where}: {entry.name} has no factory {name!r}", hint=hint)
    return _task_of(entry, coerce(node, wanted, place, sources), where)


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
    raise OverrideError(f"{entry.name} lacks {listed}", hint=_how_to_give(path, param, owner, sources))


def _how_to_give(path: str, param: types.Parameter, owner: Any, sources: Lookup) -> str:
    """Return what could be written for an argument that is lacking."""
    options = [option for option in types.members(param.annotation) if option not in (types.MISSING, Any)]
    names = [name for option in options for name in sources.names(option, Place(path, "", owner, param.name))]
    if names:
        return f"write {path}={names[0]} (factories: {', '.join(names)})"
    for option in options:
        _, target = types.configured(option)
        if is_class(target):
            fields = list(types.signature(target).parameters) or ["FIELD"]
            return f"write {path}.{fields[0]}=VALUE, or {path}={target.__name__}({fields[0]}=VALUE)"
    return f"write {path}=VALUE"


def missing(node: Any, path: str = "") -> list[tuple[str, types.Parameter, Any]]:
    """Return the required arguments that are not set, with their paths, of a Config and all below it."""
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
