"""Secrets among the arguments of a task: blotted out to be shown, put in to be used in this process."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from runyard.config.encoder import is_buildable
from runyard.secrets import MASK, Secret, is_secret_argument, looks_secret


class _Stars:
    def __repr__(self) -> str:
        return MASK


_STARS = _Stars()


def masked(task: Any) -> Any:
    """Return a task to be shown: texts that are taken for secrets are ``***``.

    Example:
        >>> masked({"api_key": "abc", "lr": 1})
        {'api_key': ***, 'lr': 1}
    """
    return _mapped(task, lambda name, item: _STARS if type(item) is str and is_secret_argument(name, item) else item)


def revealed(task: Any) -> Any:
    """Return a task to be run in this process: every ``Secret`` in it is its value.

    Raises:
        ConfigError: when one is not set.
    """
    return _mapped(task, lambda _, item: item.resolve() if isinstance(item, Secret) else item)


def _mapped(
    value: Any, change: Callable[[str, Any], Any], name: str = "", memo: dict[int, tuple[Any, Any]] | None = None
) -> Any:
    """Return a value with its leaves changed; ``change`` gets each with its name. What has none to change stays."""
    memo = {} if memo is None else memo
    if id(value) in memo:
        return memo[id(value)][0]
    parts, make = _parts(value, name)
    if make is None:
        return change(name, value)
    memo[id(value)] = (value, value)  # the second one so that its id is not used again; the first ends cycles
    new = {key: _mapped(item, change, own, memo) for key, (own, item) in parts.items()}
    if any(new[key] is not item for key, (_, item) in parts.items()):
        memo[id(value)] = (make(new), value)
    return memo[id(value)][0]


_Parts = dict[Any, tuple[str, Any]]


def _parts(value: Any, name: str) -> tuple[_Parts, Callable[[dict[Any, Any]], Any] | None]:
    """Return what a value is made of, by key with a name for each, and how to make it anew."""
    if is_buildable(value):
        return {k: (str(k), item) for k, item in value.__arguments__.items()}, functools.partial(_set, value)
    if type(value) in (list, tuple):
        return {i: (name, item) for i, item in enumerate(value)}, lambda new: type(value)(new.values())
    if type(value) is dict:
        named = {k: k if type(k) is str and (looks_secret(k) or not looks_secret(name)) else name for k in value}
        return {k: (named[k], item) for k, item in value.items()}, lambda new: new
    if type(value) is functools.partial:
        args = {i: ("", item) for i, item in enumerate(value.args)}
        keywords = {k: (k, item) for k, item in value.keywords.items()}
        return args | keywords, lambda new: functools.partial(
            value.func, *(new[i] for i in args), **{k: new[k] for k in keywords}
        )
    if dataclasses.is_dataclass(value) and not isinstance(value, (type, Secret)):
        fields = [f.name for f in dataclasses.fields(value) if hasattr(value, f.name)]
        return {f: (f, getattr(value, f)) for f in fields}, functools.partial(_set, value)
    return {}, None


def _set(value: Any, new: dict[Any, Any]) -> Any:
    """Return a copy of a Config or dataclass with other arguments or fields."""
    made = copy.copy(value)
    for key, item in new.items():
        if isinstance(key, int):
            made[key] = item
        elif is_buildable(made):
            setattr(made, key, item)
        else:
            object.__setattr__(made, key, item)
    return made
