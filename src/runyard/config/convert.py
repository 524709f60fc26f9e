"""Turn objects into Configs."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from runyard.config.core import Config, Partial
from runyard.config.encoder import is_buildable
from runyard.config.overrides.types import is_model
from runyard.errors import ConfigError
from runyard.secrets import Secret


def to_config(value: Any, memo: dict[int, Any] | None = None) -> Any:
    """Return ``value`` with instances of dataclasses and pydantic models turned into Configs, functools.partial into
    Partials.

    Containers are copied, shared objects stay shared, fields equal to their default are left out.

    Raises:
        ConfigError: when a dataclass cannot be made from its fields.
    """
    memo = {} if memo is None else memo
    if id(value) in memo:
        return memo[id(value)][0]
    result = value
    if is_buildable(value) or isinstance(value, (type, Secret)):
        pass
    elif isinstance(value, functools.partial):
        args = [to_config(item, memo) for item in value.args]
        result = Partial(value.func, *args, **{k: to_config(v, memo) for k, v in value.keywords.items()})
    elif dataclasses.is_dataclass(value):
        result = _dataclass(value, memo)
    elif is_model(value):
        result = _model(value, memo)
    elif type(value) in (list, set, frozenset):
        result = type(value)(to_config(item, memo) for item in value)
    elif isinstance(value, tuple):
        items = [to_config(item, memo) for item in value]
        result = value._make(items) if hasattr(value, "_make") else tuple(items)
    elif type(value) is dict:
        result = {key: to_config(item, memo) for key, item in value.items()}
    memo[id(value)] = (result, value)  # the value too, so that its id is not used again
    return result


def _dataclass(value: Any, memo: dict[int, Any]) -> Any:
    arguments = {}
    for field in dataclasses.fields(value):
        if not field.init:
            continue
        item = getattr(value, field.name)
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if default is dataclasses.MISSING or not _same(item, default):
            arguments[field.name] = to_config(item, memo)
    try:
        return Config(type(value), **arguments)
    except ConfigError as error:
        raise ConfigError(f"{type(value).__qualname__} cannot become a Config: {error}") from None


def _model(value: Any, memo: dict[int, Any]) -> Any:
    """Return a pydantic model's instance as a Config of what was given to it."""
    names = {name: field.alias or name for name, field in type(value).__pydantic_fields__.items()}
    given = {names.get(name, name): getattr(value, name) for name in value.model_fields_set}
    return Config(type(value), **{name: to_config(item, memo) for name, item in given.items()})


def _same(left: Any, right: Any) -> bool:
    try:
        return type(left) is type(right) and bool(left == right)
    except Exception:  # noqa: BLE001 - arrays and the like have no single answer
        return False
