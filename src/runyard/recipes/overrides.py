"""Overrides of a configuration as they are typed: ``train.iters=5000``, ``paths=[a,b]``, ``~train.warmup``. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from runyard.config.overrides import parse, parse_path, path_text
from runyard.config.overrides.nodes import Call, File, Node, Text, Word
from runyard.errors import OverrideError
from runyard.profiles.build import plain

_NOT_HERE: Mapping[Any, str] = {
    ("defaults",): "choose another config with -c: what it builds on stands in its file",
    ("run",): "write run.FIELD=VALUE",
}


def apply(data: Mapping[str, Any], texts: Iterable[str], notes: list[str] | None = None) -> dict[str, Any]:
    """Return a configuration with overrides applied, in turn. Values are data: no file is read, nothing is called.

    Args:
        data: The configuration.
        texts: ``a.b=VALUE`` sets a key; ``+a.b=VALUE`` does so without being asked whether it is meant to be a new one;
            ``~a.b`` removes one.
        notes: Lines are added for keys that the configuration did not have.

    Raises:
        OverrideError: for one that cannot be read, or leads through something that is no table; for a new key that is
            nearly one that is there.

    Example:
        >>> apply({"train": {"iters": 10, "lr": 1}}, ["train.iters=5000", "~train.lr", "+data.paths=[a, b]"])
        {'train': {'iters': 5000}, 'data': {'paths': ['a', 'b']}}
    """
    out = copy.deepcopy(dict(data))
    for text in texts:
        if text.startswith("~"):
            _remove(out, parse_path(text[1:].partition("=")[0].strip()), text)
        else:
            found = parse(text.removeprefix("++").removeprefix("+"))
            if found.operator != "=":
                raise OverrideError(f"{text!r}: a config takes no {found.operator}", hint="write KEY=VALUE")
            if found.path in _NOT_HERE:
                raise OverrideError(f"{text!r} changes no key", hint=_NOT_HERE[found.path])
            if not text.startswith("+") and _is_new(out, found.path, text) and notes is not None:
                notes.append(f"{text}: the config had no {path_text(found.path)} before")
            _set(out, found.path, _value(found.value), text)
    return out


def _is_new(place: Any, path: tuple[Any, ...], text: str) -> bool:
    """Say whether a key is not there yet; refuse one that looks like a slip of the fingers."""
    for at, key in enumerate(path):
        if not isinstance(place, dict):
            return False
        if str(key) not in place:
            if near := get_close_matches(str(key), place, n=1, cutoff=0.75):
                meant = path_text((*path[:at], near[0], *path[at + 1 :]))
                raise OverrideError(
                    f"{text!r}: the config has no {path_text(path[: at + 1])}",
                    hint=f"did you mean {meant!r}? to add a new key, write +{text}",
                )
            return True
        place = place[str(key)]
    return False


def _value(node: Node) -> Any:
    """Return what was typed as plain data."""
    if isinstance(node, Text):
        return node.value
    if isinstance(node, (Call, File)):
        return node.raw
    if isinstance(node, Word) and not node.raw.strip():
        return ""
    value = plain(node)
    return sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value


def _set(place: Any, path: tuple[Any, ...], value: Any, text: str) -> None:
    for at, key in enumerate(path[:-1]):
        if isinstance(place, dict) and (key not in place or place[key] is None):
            place[str(key)] = {}
        place = _step(place, key, path[:at], text)
    last = path[-1]
    if isinstance(place, list) and isinstance(last, int) and last < len(place):
        place[last] = value
    elif isinstance(place, dict):
        place[str(last)] = value
    else:
        _step(place, last, path[:-1], text)


def _remove(place: Any, path: tuple[Any, ...], text: str) -> None:
    for at, key in enumerate(path[:-1]):
        place = _step(place, key, path[:at], text)
    _step(place, path[-1], path[:-1], text)
    del place[path[-1] if isinstance(place, list) else str(path[-1])]


def _step(place: Any, key: Any, before: tuple[Any, ...], text: str) -> Any:
    if isinstance(place, list) and isinstance(key, int) and key < len(place):
        return place[key]
    if isinstance(place, dict) and str(key) in place:
        return place[str(key)]
    here = path_text(before) if before else "the config"
    if isinstance(place, dict):
        from runyard.config.overrides.plain import meant

        raise OverrideError(f"{text!r}: {here} has no {key!r}", hint=meant(str(key), place))
    what = f"a list of {len(place)}" if isinstance(place, list) else repr(place)
    raise OverrideError(f"{text!r}: {here} is {what}, and has no {key!r}", hint=f"write {here}=VALUE to replace it")
