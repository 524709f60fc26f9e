"""From a profile's name to its executor."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runyard.config.overrides import parse, parse_value, path_text, types
from runyard.config.overrides.nodes import Text, Word
from runyard.errors import ConfigError, OverrideError, ProfileError
from runyard.executors.base import Executor
from runyard.profiles import build, wandb
from runyard.profiles.book import Book, Profile, respelled
from runyard.profiles.files import open_book
from runyard.profiles.interpolate import Unfilled, fill
from runyard.profiles.translate import Layer, Words, combine, shared_words
from runyard.secrets import hide_known

MODES = ("run", "batch")
Beneath = Callable[[type[Executor], Mapping[str, Any]], Sequence[Layer]]
"""Gives layers below a profile, for the executor that it leads to."""
PREFIX = "run."
_TEXTS = frozenset({"env_vars", "executor", "launcher", "packager", "setup_lines", "startup_commands", "tunnel"})
"""Fields whose text is taken as it is typed: ``none`` is the name of a packager."""


@dataclass(frozen=True)
class Target:
    """Where a launch goes, and how.

    Args:
        profile: The profile, with everything it inherits, interpolations filled in.
        executor: Its executor.
        given: Fields that were given on the command line, as the executor calls them.
        dry_run: Only show what would be submitted.
        detach: Do not wait for the end.
        warnings: Lines for the user.
        origins: For each field that is not the executor's own default, where it was written.
    """

    profile: Profile
    executor: Executor
    given: frozenset[str] = frozenset()
    dry_run: bool = False
    detach: bool = False
    warnings: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)


def load_profile(
    name: str,
    mode: str = "run",
    overrides: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Executor:
    """Return the executor that a profile of ``env.toml`` describes.

    What is found in the project's ``env.toml`` counts before the user's own ``~/.config/runyard/env.toml``. Nothing is
    contacted. Warnings, for example about a token that is not there, go to standard error.

    Args:
        name: The profile: a section of the file.
        mode: ``"run"`` (attached) or ``"batch"`` (detached); chooses ``run_partition`` or ``batch_partition``.
        overrides: Fields that win over the profile's. Tables (``env_vars``) merge and ``mounts`` add up.
        defaults: Fields that the profile's win over, likewise.

    Raises:
        ProfileError: when there is no such profile, or something in it cannot be used; names file and field.

    Example:
        >>> import runyard as run
        >>> executor = run.load_profile("cluster", overrides={"nodes": 8})  # doctest: +SKIP
        >>> run.run(run.Script("train.py", entrypoint="python"), executor)  # doctest: +SKIP
    """
    target = resolve(name, mode, overrides, defaults)
    for line in target.warnings:
        print(f"warning: {line}", file=sys.stderr)
    return target.executor


def resolve(
    name: str,
    mode: str = "run",
    overrides: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    book: Book | None = None,
    environ: Mapping[str, str] | None = None,
    beneath: Beneath = lambda _, __: (),
) -> Target:
    """Return what :func:`load_profile` does, and what a launch has to know besides.

    Args:
        name: The profile.
        mode: ``"run"`` or ``"batch"``.
        overrides: Fields that win over the profile's; values may be parsed text (:func:`parse_overrides`).
        defaults: Fields that the profile's win over.
        book: The profiles; default: those that hold in the current folder.
        environ: Environment; default: this process's.
        beneath: See :func:`settle`.

    Raises:
        ProfileError: when the profile cannot be used.
    """
    if mode not in MODES:
        raise ConfigError(f"mode={mode!r} is unknown", hint='give "run" or "batch"')
    here = os.environ if environ is None else environ
    book = open_book(Path.cwd(), here) if book is None else book
    profile = filled(book.profile(name), here)
    return settle(profile, mode, overrides, defaults, _wandb_section(book, here), here, beneath)


def settle(
    profile: Profile,
    mode: str = "run",
    overrides: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    wandb_section: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    beneath: Beneath = lambda _, __: (),
) -> Target:
    """Return where a profile leads that is at hand already.

    Args:
        profile: The profile, variables filled in. One without a name stands for none.
        mode: ``"run"`` or ``"batch"``.
        overrides: Fields that win over the profile's.
        defaults: Fields that the profile's win over.
        wandb_section: The section ``[wandb]``; None forwards no tokens.
        environ: Environment; default: this process's.
        beneath: Gives further layers below the profile, the weakest first, once the executor's class, and the fields
            of the layers above, are known.

    Raises:
        ProfileError: when something in it cannot be used.
    """
    here = os.environ if environ is None else environ
    layers = [
        Layer(respelled(defaults or {}), lambda field: f"default {field}"),
        Layer(profile.fields, profile.where),
        Layer(respelled(overrides or {}), lambda field: f"{PREFIX}{field}" if field else profile.where()),
    ]
    kind, at = next(
        (
            (layer.fields["executor"], layer.where("executor"))
            for layer in reversed(layers)
            if "executor" in layer.fields
        ),
        ("local", profile.where()),
    )
    cls = build.executor_type(build.plain(kind), at)
    known = frozenset(types.signature(cls).parameters)
    layers[2] = replace(layers[2], fields=respelled(_below_env(overrides or {}, known)))
    given = combine(layers[2:], known, mode, here).fields
    above = {name: build.plain(value) for layer in layers for name, value in layer.fields.items()}
    words = combine([*beneath(cls, above), *layers], known, mode, here)
    env, warnings = words.fields.get("env_vars", {}), list[str]()
    if wandb_section is not None:
        env, warnings = wandb.environment(wandb_section, env, here)
    if env:
        words.fields["env_vars"] = hide_known(env, here)
    flags = {n: build.typed(v, bool, n, words.where(n)) for n, v in words.take("dry_run", "detach").items()}
    origins = {name: words.where(name) for name in words.fields}
    executor = _executor(cls, words, known)
    warnings += _not_mounted(executor)
    return Target(profile, executor, frozenset(given), **flags, warnings=tuple(warnings), origins=origins)


def _below_env(overrides: Mapping[str, Any], known: frozenset[str]) -> Mapping[str, Any]:
    """Return overrides with the fields among ``env_vars`` beside them: other tools write ``run.env.partition=x``."""
    env = overrides.get("env_vars")
    words = {*known, *shared_words(known)} - {"executor", "extends"}
    fields = {name: value for name, value in env.items() if name in words} if isinstance(env, Mapping) else {}
    if not fields:
        return overrides
    rest = {name: value for name, value in (env or {}).items() if name not in fields}
    parsed = {name: value if name in _TEXTS else parse_value(value) for name, value in fields.items()}
    return {**parsed, **overrides, "env_vars": rest}


def _not_mounted(executor: Executor) -> list[str]:
    """Return a warning where mounts would put folders elsewhere, and there is no container to do it in."""
    if getattr(executor, "container_image", "") is not None or not hasattr(executor, "container_mounts"):
        return []
    moved = [mount for mount in executor.container_mounts if len(set(mount.split(":")[:2])) > 1]
    return [f"nothing is mounted without a container (container_image): {', '.join(moved)}"] if moved else []


def filled(profile: Profile, environ: Mapping[str, str]) -> Profile:
    """Return a profile with its interpolations filled in.

    Raises:
        ProfileError: for a variable that is not set; names file and field.
    """
    try:
        fields = fill(profile.fields, environ)
    except Unfilled as e:
        where = profile.where(str(e.path[0]))
        raise ProfileError(f"{where}: {_dotted(e.path)}: {e.reason}", hint=e.hint) from e
    return Profile(profile.name, fields, profile.origins, profile.chain)


def _wandb_section(book: Book, environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        return dict(fill(book.section("wandb"), environ))
    except Unfilled as e:
        raise ProfileError(f"[wandb] {_dotted(e.path)}: {e.reason}", hint=e.hint) from e


def _executor(cls: type[Executor], words: Words, known: frozenset[str]) -> Executor:
    words.take("executor")
    ready: dict[str, Any] = words.take("env_vars")
    options = {n.removeprefix("packager_"): v for n, v in words.fields.items() if n.startswith("packager_")}
    words.take(*(f"packager_{n}" for n in options))
    if "packager" in words.fields or options:
        ready["packager"] = build.packager(words.fields.pop("packager", "git"), options, words.where)
    if "launcher" in words.fields:
        ready["launcher"] = build.launcher(words.fields.pop("launcher"), words.where("launcher"))
    if "tunnel" in known and (fields := words.take(*build.TUNNEL_FIELDS)):
        ready["tunnel"] = build.tunnel(fields, words.where)
    executor = build.make(cls, words.fields, words.where, shared_words(known), **ready)
    try:
        executor.validate()
    except ConfigError as e:
        raise ProfileError(f"{words.where(build.field_in(e, cls))}: {e.message}", hint=e.hint) from e
    return executor


def parse_overrides(texts: list[str]) -> dict[str, Any]:
    """Return overrides as they are typed (``run.nodes=8``, ``run.env.SEED=1``) as fields for :func:`resolve`.

    Raises:
        OverrideError: for one that is none; says how to write it.

    Example:
        >>> sorted(parse_overrides(["run.nodes=8", "run.env.SEED=1"]))
        ['env_vars', 'nodes']
    """
    fields: dict[str, Any] = {}
    for text in texts:
        found = parse(text.lstrip("+"))  # +KEY adds a key to a config; a field is there anyway
        path = found.path[1:]
        if found.operator != "=" or found.path[0] != "run" or not path or not all(isinstance(k, str) for k in path):
            raise OverrideError(f"{text!r} is no override of a profile", hint="write run.FIELD=VALUE")
        name, rest = ("env_vars" if path[0] == "env" else str(path[0])), path[1:]
        if name == "env_vars" and len(rest) != 1:
            raise OverrideError(f"{text!r} names no variable", hint="write run.env.NAME=VALUE")
        value: Any = found.value
        if name == "env_vars" or (name in _TEXTS and isinstance(value, (Word, Text))):
            value = value.value if isinstance(value, Text) else value.raw
        place, last = fields, name
        for key in rest:
            place = place.setdefault(last, {})
            if not isinstance(place, dict):
                raise OverrideError(f"{text!r}: {last} was given a value already", hint="give it once")
            last = str(key)
        place[last] = value
    return fields


def _dotted(path: tuple[Any, ...]) -> str:
    return path_text(tuple(path)) if path else "it"
