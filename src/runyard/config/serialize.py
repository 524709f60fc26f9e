"""Configs as YAML, TOML and JSON, both ways.

All three write the same thing: ``_target_`` names what is called, ``_partial_: true`` makes it a
Partial, ``_args_`` holds positional arguments, ``_call_: false`` means the function itself. Values
that the format lacks (tuples, paths …) are written as in the call tree: ``{$tuple: [1, 2]}``.
Reading imports what is named and never evaluates anything.
"""

from __future__ import annotations

import json
from typing import Any

from runyard.config import naming, toml
from runyard.config.core import Partial
from runyard.config.decoder import Decoder
from runyard.config.encoder import Encoder, is_buildable
from runyard.config.formats import parse, yaml_class
from runyard.errors import ConfigError, SerializationError
from runyard.runner.pytask import CannotStart, directive

_RESERVED = ("_target_", "_partial_", "_args_", "_call_")


def to_json(buildable: Any) -> str:
    """Return a Config or Partial as JSON; shared Configs stay shared through ``$id`` and ``$ref``.

    Raises:
        SerializationError: when an argument has no form in text.

    Example:
        >>> from runyard.config import Config
        >>> from_json(to_json(Config(complex, real=1))) == Config(complex, real=1)
        True
    """
    return json.dumps(_plain(_tree(buildable)), indent=2, ensure_ascii=False) + "\n"


def from_json(text: str) -> Any:
    """Return the Config or Partial that :func:`to_json` wrote, or a person.

    Raises:
        ConfigError: when the text is no JSON, or names something unknown.
    """
    return from_data(parse(text, "json"))


def to_toml(buildable: Any) -> str:
    """Return a Config or Partial as TOML, where ``None`` is ``{"$none" = true}``.

    Raises:
        SerializationError: when an argument has no form in text.
    """
    return toml.dumps(_plain(_tree(buildable)))


def from_toml(text: str) -> Any:
    """Return the Config or Partial that :func:`to_toml` wrote, or a person.

    Raises:
        ConfigError: when the text is no TOML, or names something unknown.
    """
    return from_data(parse(text, "toml"))


def to_yaml(buildable: Any) -> str:
    """Return a Config or Partial as YAML; what is shared is written once, with an anchor.

    Raises:
        SerializationError: when an argument has no form in text.

    Example:
        >>> from runyard.config import Config
        >>> print(to_yaml(Config(complex, real=1)), end="")
        _target_: builtins.complex
        real: 1
    """
    import yaml

    plain = _share(_plain(_tree(buildable)), {})
    return str(yaml.dump(plain, Dumper=yaml_class("SafeDumper"), sort_keys=False, allow_unicode=True))


def from_yaml(text: str) -> Any:
    """Return the Config or Partial that :func:`to_yaml` wrote, or a person. ``1e-5`` is a number here.

    Raises:
        ConfigError: when the text is no YAML, or names something unknown.
    """
    return from_data(parse(text, "yaml"))


# ---------------------------------------------------------------- writing


def _tree(buildable: Any) -> dict[str, Any]:
    if not is_buildable(buildable):
        raise ConfigError(f"{type(buildable).__name__} is no Config or Partial", hint="wrap it in run.Config(...)")
    encoder = Encoder(check=False)
    tree = encoder.task(buildable, "config")
    if encoder.by_value:
        names = ", ".join(item.__qualname__ for item in encoder.by_value)
        raise SerializationError(
            "config", f"{names} has no importable name", hint="define it at the top level of a module"
        )
    if isinstance(buildable, _partial_type()):
        tree = {"$partial" if key == "$call" else key: value for key, value in tree.items()}
    return tree


def _partial_type() -> Any:
    return Partial.__mro__[2]  # Fiddle's own, which users may hold as well


def _plain(node: Any) -> Any:
    """Return a call tree's node in the form for people."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    kind = directive(node)
    if kind is None:
        if not any(key in node for key in _RESERVED):
            return {key: _plain(value) for key, value in node.items()}
        return {"$dict": [[key, _plain(value)] for key, value in node.items()]}
    shared = {"$id": node["$id"]} if "$id" in node else {}
    if kind == "name":
        return {"_target_": node["$name"].replace(":", ".").rstrip("."), "_call_": False}
    called = node["$" + kind]
    kwargs = node.get("kwargs", {})
    if kind in ("call", "partial") and isinstance(called, str) and not any(key in kwargs for key in _RESERVED):
        result: dict[str, Any] = {"_target_": called.replace(":", "."), **shared}
        if kind == "partial":
            result["_partial_"] = True
        if node.get("args"):
            result["_args_"] = _plain(node["args"])
        return {**result, **{key: _plain(value) for key, value in kwargs.items()}}
    if kind == "dict":
        return {**node, "$dict": [[_plain(key), _plain(value)] for key, value in called]}
    return {key: _plain(value) for key, value in node.items()}


def _share(node: Any, seen: dict[int, Any]) -> Any:
    """Return ``node`` with ``$id`` and ``$ref`` turned into the same Python object, for YAML's anchors."""
    if isinstance(node, list):
        return [_share(item, seen) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return seen[node["$ref"]]
    if set(node) == {"$float"}:
        return float(node["$float"])
    number = node.get("$id")
    made: Any = {key: _share(value, seen) for key, value in node.items() if key != "$id"}
    if number is not None:
        if set(made) == {"$list"}:
            made = made["$list"]
        elif set(made) == {"$dict"} and all(_simple_key(pair[0]) for pair in made["$dict"]):
            made = dict(made["$dict"])
        seen[number] = made
    return made


def _simple_key(key: Any) -> bool:
    return type(key) is str and not key.startswith("$") and key not in _RESERVED


# ---------------------------------------------------------------- reading


def from_data(data: Any) -> Any:
    """Return the Config or Partial that plain data describes, as :func:`from_yaml` and its kin read it from text.

    Raises:
        ConfigError: when it has no ``_target_``, or names something unknown.
    """
    reader = _Reader()
    try:
        tree = reader.node(data, "config")
        loaded = Decoder(tree, None, None).build(tree, "config")
    except CannotStart as error:
        raise ConfigError(str(error)) from None
    except Exception as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"this configuration cannot be read: {error!r}") from error
    if not is_buildable(loaded):
        raise ConfigError(
            "there is no _target_ at the top", hint="name what to call: _target_: package.module.function"
        )
    return loaded


class _Reader:
    """Turn parsed data into a call tree. Objects that appear twice (YAML's aliases) become shared nodes."""

    def __init__(self) -> None:
        self.nodes: dict[int, dict[str, Any]] = {}
        self.open: set[int] = set()
        self.next_id = 0

    def node(self, data: Any, path: str) -> Any:
        if not isinstance(data, (dict, list)):
            return Encoder().encode(data, path) if data is not None else None
        known = self.nodes.get(id(data))
        if known is not None:
            if "$id" not in known:
                self.next_id -= 1  # the file's own ids count upwards
                known["$id"] = self.next_id
            return {"$ref": known["$id"]}
        if id(data) in self.open:
            raise ConfigError(f"{path} contains itself")
        self.open.add(id(data))
        made = self.container(data, path)
        if isinstance(made, dict) and "$ref" not in made and "$name" not in made:
            self.nodes[id(data)] = made
        return made

    def container(self, data: Any, path: str) -> Any:
        if isinstance(data, list):
            return {"$list": [self.node(item, f"{path}[{i}]") for i, item in enumerate(data)]}
        if "_target_" in data:
            return self.call(data, path)
        if data == {"$none": True}:
            return None
        if any(isinstance(key, str) and key.startswith("$") for key in data):
            directive(data)  # refuses unknown ones
            return {key: self.inside(key, value, path) for key, value in data.items()}
        pairs = [[self.node(key, path), self.node(value, f"{path}.{key}")] for key, value in data.items()]
        return {"$dict": pairs}

    def inside(self, key: str, value: Any, path: str) -> Any:
        """Return the content of a directive: what must stay a JSON list or object does."""
        if key in ("kwargs", "state"):
            return {name: self.node(item, f"{path}.{name}") for name, item in value.items()}
        if key == "$dict":
            return [[self.node(k, path), self.node(v, path)] for k, v in value]
        if isinstance(value, list):
            return [self.node(item, f"{path}[{i}]") for i, item in enumerate(value)]
        return self.node(value, path)

    def call(self, data: dict[str, Any], path: str) -> Any:
        target = data["_target_"]
        if not isinstance(target, str):
            raise ConfigError(f"{path}._target_ is {target!r}, not a dotted name")
        name = naming.find(target)
        if data.get("_call_") is False:
            return {"$name": name}
        node: dict[str, Any] = {"$partial" if data.get("_partial_") else "$call": name}
        node["args"] = [self.node(item, f"{path}[{i}]") for i, item in enumerate(data.get("_args_", ()))]
        rest = [key for key in data if key not in _RESERVED and key != "$id"]
        node["kwargs"] = {key: self.node(data[key], f"{path}.{key}") for key in rest}
        if "$id" in data:
            node["$id"] = data["$id"]
        return node
