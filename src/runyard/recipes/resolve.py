"""Where a recipe goes: command line > profile > the config's ``run:`` section > the script's block > defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from runyard import executors
from runyard.config.overrides import types
from runyard.errors import ConfigError
from runyard.executors.base import Executor
from runyard.executors.local import LocalExecutor
from runyard.profiles import load
from runyard.profiles.book import Profile, respelled
from runyard.profiles.interpolate import Unfilled, fill
from runyard.profiles.load import Target
from runyard.profiles.translate import Layer, shared_words
from runyard.recipes.block import Recipe

TIME = "04:00:00"
PROCESSES = 8
"""What a recipe gets through a profile when nobody says otherwise: its time limit, and processes a node."""

_PROCESS_FIELDS = frozenset({"ntasks_per_node", "nprocs_per_node", "nproc_per_node"})
_IMAGES = frozenset({"container_image", "image"})
_NODES = frozenset({"nodes", "num_nodes"})
_DIRECT = (None, "none", "direct", "default")


@dataclass(frozen=True)
class Asked:
    """What says where a recipe goes, besides the recipe.

    Args:
        profile: Name of the profile, or empty.
        mode: ``run`` or ``batch``.
        overrides: Fields from the command line, as :func:`~runyard.profiles.load.parse_overrides` returns them.
        kind: Kind of the executor where there is no profile; None for this machine.
        section: The config's ``run:`` section.
        config: Where that stands, for messages.
    """

    profile: str = ""
    mode: str = "run"
    overrides: Mapping[str, Any] | None = None
    kind: str | None = None
    section: Mapping[str, Any] | None = None
    config: str = ""


def target(recipe: Recipe, asked: Asked) -> Target:
    """Return where a recipe goes, with lines for the user about what it cannot have there.

    Raises:
        ConfigError: when something that was asked for cannot be used; says where it was written.
    """
    section = _section(asked)
    defaults = {"executor": section.pop("executor")} if "executor" in section else {}
    notes = list(recipe.notes)

    def beneath(cls: type[Executor], above: Mapping[str, Any]) -> Sequence[Layer]:
        known = frozenset(types.signature(cls).parameters)
        own = Layer(_usable(section, cls, known, asked.config, notes), lambda field: f"{asked.config}: run.{field}")
        block = Layer(_of_block(recipe, cls, known, {**own.fields, **above}, notes), lambda _: f"{recipe.path}")
        given = {**block.fields, **own.fields, **above}
        return [
            Layer(
                _defaults(given, known, recipe.gpus_per_node) if asked.profile else {}, lambda _: "default of recipes"
            ),
            block,
            own,
        ]

    if asked.profile:
        found = load.resolve(asked.profile, asked.mode, asked.overrides, defaults, beneath=beneath)
    else:
        if asked.kind:
            defaults = {"executor": asked.kind}
        found = load.settle(Profile("", {}), asked.mode, asked.overrides, defaults, beneath=beneath)
    given = found.given | section.keys()
    return replace(found, given=frozenset(given), warnings=(*found.warnings, *notes))


def _section(asked: Asked) -> dict[str, Any]:
    """Return the fields of the config's ``run:`` section, in one spelling."""
    section = asked.section or {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"{asked.config}: run is {section!r}", hint="write fields of the executor below run:")
    fields = dict(section)
    # Below `env` stand variables, and also fields: other tools keep the executor's there.
    env = fields.pop("env", None) or {}
    if not isinstance(env, Mapping):
        raise ConfigError(f"{asked.config}: run.env = {env!r} is no table", hint="write NAME: VALUE below it")
    variables = {k: _text(v) for k, v in env.items() if k == k.upper()}
    fields = {k: v for k, v in env.items() if k != k.upper()} | fields
    if variables:
        own = fields.get("env_vars", {})
        if isinstance(own, list):
            own = dict(str(text).partition("=")[::2] for text in own)
        fields["env_vars"] = {**own, **variables}
    if isinstance(fields.get("env_vars"), Mapping):
        fields["env_vars"] = {k: _text(v) for k, v in fields["env_vars"].items()}
    try:
        return respelled(fill(fields, os.environ))
    except Unfilled as e:
        raise ConfigError(f"{asked.config}: run.{'.'.join(map(str, e.path))}: {e.reason}", hint=e.hint) from e


def _text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _usable(
    section: Mapping[str, Any], cls: type[Executor], known: frozenset[str], where: str, notes: list[str]
) -> dict[str, Any]:
    """Return the fields that this executor has. A typo is refused, what others have is told, the rest is ignored."""
    words = {*known, *shared_words(known), "nodes", "time"}
    out, elsewhere = {}, []
    for name, value in section.items():
        packager = name.startswith("packager_")
        if name in words or packager:
            if name not in ("nodes", "time") or _has(name, known):
                out[name] = value
        elif name in _everywhere():
            elsewhere.append(name)
        elif near := get_close_matches(name, sorted(words | _everywhere()), n=1, cutoff=0.8):
            raise ConfigError(f"{where}: run.{name} is no field of {cls.__name__}", hint=f"did you mean {near[0]!r}?")
    if elsewhere:
        notes.append(f"{where}: {cls.__name__} has no {', '.join(f'run.{n}' for n in elsewhere)}; left out")
    if cls.kind == LocalExecutor.kind and out.get("nodes", 1) != 1:
        notes.append(f"{where}: run.nodes = {out.pop('nodes')}: this machine is one node")
    return out


def _has(name: str, known: frozenset[str]) -> bool:
    return not known.isdisjoint(_NODES if name == "nodes" else {name})


def _everywhere() -> frozenset[str]:
    """Return the fields of all executors that Runyard itself brings."""
    fields: set[str] = set()
    for kind in executors.builtin_kinds():
        known = frozenset(types.signature(executors.executor_class(kind)).parameters)
        fields |= {*known, *shared_words(known)}
    return frozenset(fields - {"experiment_id"})


def _of_block(
    recipe: Recipe, cls: type[Executor], known: frozenset[str], above: Mapping[str, Any], notes: list[str]
) -> dict[str, Any]:
    """Return what a script's block asks for, as fields; what cannot be had with this executor is told."""
    here = cls.kind == LocalExecutor.kind
    out: dict[str, Any] = {}
    if recipe.image and not _IMAGES.isdisjoint(known):
        out["container_image"] = recipe.image
    elif recipe.image:
        notes.append(f"{recipe.name} asks for the image {recipe.image}; {cls.__name__} runs it without")
    if recipe.nodes is not None and _has("nodes", known) and not (here and recipe.nodes > 1):
        out["nodes"] = recipe.nodes
    elif recipe.nodes and recipe.nodes > 1 and "nodes" not in above:
        notes.append(f"{recipe.name} asks for {recipe.nodes} nodes; {cls.__name__} gives it one")
    gpus = recipe.gpus_per_node
    if gpus is not None:
        field = next((n for n in ("gpus_per_node", "num_gpus") if n in known), "")
        if field:
            out |= {field: gpus} if gpus else {}
        elif gpus:
            notes.append(f"{recipe.name} asks for {gpus} GPUs a node; none are reserved (--gpus N reserves some)")
    if recipe.launcher:
        out["launcher"] = recipe.launcher
    if recipe.setup:
        out["setup_lines"] = list(recipe.setup)
    if recipe.env:
        out["env_vars"] = dict(recipe.env)
    return out


def _defaults(given: Mapping[str, Any], known: frozenset[str], gpus: int | None) -> dict[str, Any]:
    """Return the defaults that hold for recipes launched through a profile."""
    out: dict[str, Any] = {"time": TIME} if "time" in known else {}
    launcher = given.get("launcher")
    kind = launcher.get("kind") if isinstance(launcher, Mapping) else getattr(launcher, "kind", launcher)
    if kind not in _DIRECT and not known.isdisjoint(_PROCESS_FIELDS):
        gpus = given.get("gpus_per_node", given.get("num_gpus", gpus))
        out["nproc_per_node"] = gpus if isinstance(gpus, int) and gpus > 0 else PROCESSES
    return out
