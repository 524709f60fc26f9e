"""From the words that all profiles share to fields of one executor, and layers of them put together. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from runyard.errors import ProfileError
from runyard.profiles.book import overlay
from runyard.profiles.build import TUNNEL_FIELDS, Where, plain
from runyard.secrets import Secret, looks_secret

_MODES = ("run", "batch")
_MOUNTS = frozenset({"container_mounts", "volumes", "mounts"})


def shared_words(known: Collection[str]) -> tuple[str, ...]:
    """Return the words that a profile may use besides the fields of its executor."""
    words = ["executor", "extends", "packager", "env_vars", "startup_commands", "nproc_per_node", "dry_run", "detach"]
    if not _MOUNTS.isdisjoint(known):
        words.append("mounts")
    if not {"container_image", "image"}.isdisjoint(known):
        words.append("container")
    if "partition" in known:
        words += [f"{mode}_partition" for mode in _MODES]
    return (*words, *TUNNEL_FIELDS) if "tunnel" in known else tuple(words)


@dataclass(frozen=True)
class Layer:
    """Fields from one place: a recipe, a profile, or a command line.

    Args:
        fields: The fields.
        where: Says where each was written.
    """

    fields: Mapping[str, Any]
    where: Where


@dataclass(frozen=True)
class Words:
    """The fields of all layers together, as their executor calls them.

    Args:
        fields: Values by field.
        places: Where each was written.
        otherwise: Where a field stands that nobody wrote.
    """

    fields: dict[str, Any]
    places: dict[str, str]
    otherwise: str

    def where(self, name: str) -> str:
        """Return where a field was written."""
        return self.places.get(name, self.otherwise)

    def take(self, *names: str) -> dict[str, Any]:
        """Take fields out."""
        return {name: self.fields.pop(name) for name in names if name in self.fields}


def combine(layers: list[Layer], known: Collection[str], mode: str, environ: Mapping[str, str]) -> Words:
    """Return the fields of all layers together.

    Later layers win; tables (``env_vars`` among them) merge, and mounts add up.

    Args:
        layers: The weakest first.
        known: Fields that the executor has.
        mode: ``run`` or ``batch``, which chooses the partition.
        environ: Where ``env_vars = ["NAME"]`` takes values from.

    Raises:
        ProfileError: for fields that contradict each other, or have no meaning.
    """
    out = Words({}, {}, layers[-1].where(""))
    mounts: dict[str, str] = {}
    for layer in layers:
        fields = dict(layer.fields)
        if "mounts" in fields and "mounts" not in known:
            place = layer.where("mounts")
            mounts |= dict.fromkeys(_texts(fields.pop("mounts"), place), place)
        renamed = _renamed(fields, layer.where, known, mode, environ)
        out.places.update({name: layer.where(word) for name, (word, _) in renamed.items()})
        merged = overlay(out.fields, {name: value for name, (_, value) in renamed.items()})
        out.fields.clear()
        out.fields.update(merged)
    if mounts:
        target = next((n for n in ("container_mounts", "volumes") if n in known), "mounts")
        own = _texts(out.fields.get(target, []), out.where(target))
        out.places.setdefault(target, next(iter(mounts.values())))
        out.fields[target] = list(dict.fromkeys([*own, *mounts]))
    return out


def _renamed(
    fields: dict[str, Any], where: Where, known: Collection[str], mode: str, environ: Mapping[str, str]
) -> dict[str, tuple[str, Any]]:
    """Return one layer's values by the executor's names, each with the word that was written."""
    out: dict[str, tuple[str, Any]] = {}
    if "partition" in known:
        partitions = {m: fields.pop(f"{m}_partition") for m in _MODES if f"{m}_partition" in fields}
        if mode in partitions:
            fields.pop("partition", None)
            out["partition"] = (f"{mode}_partition", partitions[mode])
    lines: list[str] = []
    for word in ("setup_lines", "startup_commands"):
        if word in fields:
            lines += _texts(plain(fields.pop(word)), where(word))
            out["setup_lines"] = (word, "\n".join(lines))
    if "env_vars" in fields:
        out["env_vars"] = ("env_vars", environment(fields.pop("env_vars"), where("env_vars"), environ))
    if "nproc_per_node" in fields:
        out[_processes(fields, where, known)] = ("nproc_per_node", fields.pop("nproc_per_node"))
    for word, value in fields.items():
        same = _SAME.get(word, word)
        out[same if word not in known and same in known else word] = (word, value)
    return out


_SAME = {"container_image": "image", "nodes": "num_nodes"}
"""What some executors call a word that they don't know."""


def _processes(fields: Mapping[str, Any], where: Where, known: Collection[str]) -> str:
    """Return the field for ``nproc_per_node``: what a launcher starts on each node."""
    if "ntasks_per_node" not in fields:
        return next((n for n in ("ntasks_per_node", "nprocs_per_node") if n in known), "nproc_per_node")
    if "torchrun_nproc_per_node" in known and "torchrun_nproc_per_node" not in fields:
        return "torchrun_nproc_per_node"
    raise ProfileError(
        f"{where('nproc_per_node')}: nproc_per_node and ntasks_per_node are both given", hint="give one of them"
    )


def _texts(value: Any, where: str) -> list[str]:
    value = plain(value)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
        raise ProfileError(f"{where}: {value!r} is no list of texts", hint='write ["…", "…"]')
    return list(texts)


def environment(value: Any, where: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return ``env_vars`` by name.

    Args:
        value: A table, or a list of ``"NAME"`` (taken from here; a ``Secret`` where the name looks like one) and
            ``"NAME=VALUE"``. In a table ``{secret = "NAME"}`` takes another variable's value, secretly.
        where: For messages.
        environ: The environment here.

    Raises:
        ProfileError: for a name that is not set here, or a value that is no text.

    Example:
        >>> environment(["HF_TOKEN", "MODE=fast", "TEAM"], "here", {"TEAM": "us"})
        {'HF_TOKEN': Secret('HF_TOKEN'), 'MODE': 'fast', 'TEAM': 'us'}
    """
    if not isinstance(value, Mapping):
        return {name: _variable(name, setting, where, environ) for name, setting in _settings(value, where)}
    return {name: _value(name, plain(setting), where) for name, setting in value.items()}


def _settings(value: Any, where: str) -> list[tuple[str, str | None]]:
    parts = [text.partition("=") for text in _texts(value, where)]
    return [(name, setting if equals else None) for name, equals, setting in parts]


def _variable(name: str, setting: str | None, where: str, environ: Mapping[str, str]) -> Any:
    if setting is not None:
        return setting
    if looks_secret(name):
        return Secret(name)
    if name not in environ:
        raise ProfileError(
            f"{where}: env_vars names {name}, which is not set here", hint=f'export it, or write "{name}=VALUE"'
        )
    return environ[name]


def _value(name: str, setting: Any, where: str) -> Any:
    if isinstance(setting, (str, Secret)):
        return setting
    if isinstance(setting, (int, float)) and not isinstance(setting, bool):
        return str(setting)
    if isinstance(setting, Mapping) and set(setting) == {"secret"} and isinstance(setting["secret"], str):
        return Secret(setting["secret"])
    raise ProfileError(f"{where}: env_vars.{name} = {setting!r} is no text", hint=f'write {name} = "…"')
