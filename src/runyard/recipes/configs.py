"""Configurations: found by name or path, put together with those they build on. Nothing in them is ever run."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from runyard.config.formats import parse
from runyard.config.overrides.files import FORMS
from runyard.errors import ConfigError
from runyard.recipes.block import Recipe

_FOLDERS = ("config", "configs", "conf")
DEFAULTS = "defaults"
SELF = "_self_"
_MOST = 1_000_000


@dataclass(frozen=True)
class Loaded:
    """A configuration as it is written, with all that it builds on.

    Args:
        data: Its keys.
        files: What was read, the weakest first.
    """

    data: dict[str, Any]
    files: tuple[Path, ...]


def folders(recipe: Recipe) -> list[Path]:
    """Return where a recipe's configurations are looked for by name."""
    if recipe.config_dir:
        return [(recipe.folder / recipe.config_dir).resolve()]
    return [folder for name in _FOLDERS if (folder := recipe.folder / name).is_dir()]


def names(recipe: Recipe) -> list[str]:
    """Return the names of a recipe's configurations."""
    found = {path.stem for folder in folders(recipe) if folder.is_dir() for path in folder.iterdir() if _is(path)}
    return sorted(found)


def default(recipe: Recipe) -> str:
    """Return the name or path of the configuration that is used when none is given; empty for none."""
    if recipe.config_default:
        return recipe.config_default
    return "default" if recipe.config_dir and "default" in names(recipe) else ""


def find(recipe: Recipe, wanted: str, cwd: Path) -> Path:
    """Return the file of a configuration.

    Args:
        recipe: The recipe.
        wanted: A path (absolute, or relative to ``cwd``), or a name in the recipe's folders.
        cwd: Where the user is.

    Raises:
        ConfigError: when there is none, with those there are and the nearest.
    """
    is_path = "/" in wanted or Path(wanted).suffix.lower() in FORMS
    if is_path and _is(path := cwd / os.path.expanduser(wanted)):
        return path
    bases = folders(recipe)
    if found := _in(bases, wanted):
        return found
    known = names(recipe)
    near = get_close_matches(wanted, known, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]!r}? " if near else ""
    if absent := [b for b in bases if not b.is_dir()]:
        raise ConfigError(
            f"{recipe.name} has no config {wanted!r}: there is no folder {_shown(absent[0], cwd)}",
            hint=f"correct config.dir in {recipe.path.name}",
        )
    where = ", ".join(_shown(b, cwd) for b in bases) or f"no folder {' or '.join(_FOLDERS)} beside {recipe.path.name}"
    listed = f"there are: {', '.join(known)}" if known else "there are none"
    raise ConfigError(f"{recipe.name} has no config {wanted!r}", hint=f"{meant}{listed} ({where})")


def load(path: Path) -> Loaded:
    """Return a configuration with everything that its ``defaults:`` name: tables merge, everything else replaces.

    ``defaults`` is a name or a list of names, relative to the file that holds it. Later ones win, and the file itself
    wins over all, unless ``_self_`` stands among them.

    Raises:
        ConfigError: when a file is missing, damaged, or builds on itself; names the chain.
    """
    files: list[Path] = []
    data = _load(path, (), files)
    return Loaded(data, tuple(dict.fromkeys(files)))


def _load(path: Path, chain: tuple[Path, ...], files: list[Path]) -> dict[str, Any]:
    real = path.resolve()
    chain = (*chain, real)
    if real in chain[:-1]:
        told = " -> ".join(p.name for p in chain)
        raise ConfigError(f"{path}: defaults go in a circle: {told}", hint="end it at one of them")
    own = _read(path)
    entries = _entries(own.pop(DEFAULTS, None), path)
    if SELF not in entries:
        entries.append(SELF)
    out: dict[str, Any] = {}
    for entry in entries:
        if len(files) > 1000:
            raise ConfigError(f"{path}: defaults read more than 1000 files", hint="let them name each base once")
        if entry == SELF:
            files.append(path)
            out = merge(out, own)
        else:
            out = merge(out, _load(_base(entry, path), chain, files))
    return out


def _entries(value: Any, path: Path) -> list[str]:
    listed = value if isinstance(value, list) else [] if value is None else [value]
    for entry in listed:
        if not isinstance(entry, str) or not entry:
            raise ConfigError(
                f"{path}: defaults: {entry!r} is no name of a config", hint="write defaults: [base, other/data]"
            )
    return list(listed)


def _base(entry: str, path: Path) -> Path:
    """Return the file that an entry of ``defaults`` names."""
    if found := _in([path.parent], entry):
        return found
    known = sorted(p.stem for p in path.parent.iterdir() if _is(p) and p != path)
    near = get_close_matches(entry, known, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"{path}: defaults: there is no {entry!r} in {path.parent}", hint=f"{meant}{_listed(known)}")


def _listed(known: Iterable[str]) -> str:
    return f"there are: {', '.join(known)}" if known else "there are no others"


def _in(bases: Iterable[Path], name: str) -> Path | None:
    for base in bases:
        plain = os.path.join(base, os.path.expanduser(name))
        for path in map(Path, (plain, *(f"{plain}{suffix}" for suffix in FORMS))):
            if _is(path):
                return path
    return None


def _is(path: Path) -> bool:
    try:
        return path.suffix.lower() in FORMS and path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _shown(path: Path, cwd: Path) -> str:
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = parse(path.read_text(encoding="utf-8"), FORMS[path.suffix.lower()])
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path} cannot be read: {e}", hint="make it readable UTF-8 text") from e
    except ConfigError as e:
        raise ConfigError(f"{path}: {e.message}", hint=e.hint or "correct it") from e
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds {type(data).__name__}, no keys", hint="write KEY: VALUE")
    return dict(_plain(data, str(path), 0, itertools.count()))


def _plain(value: Any, where: str, depth: int, seen: Iterator[int]) -> Any:
    """Return data with texts as keys, and dates as text; refuse what YAML has beyond that."""
    if next(seen) > _MOST:
        raise ConfigError(f"{where} holds more than {_MOST} values", hint="do its anchors multiply?")
    if depth > 100:
        raise ConfigError(f"{where} is nested more than 100 deep", hint="is there an anchor that holds itself?")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, (str, int, float, bool)):
                raise ConfigError(f"{where}: {key!r} cannot be a key", hint="quote it")
        return {str(k): _plain(v, where, depth + 1, seen) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v, where, depth + 1, seen) for v in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise ConfigError(f"{where}: {value!r} is no text, number, list or table", hint="quote it")


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Return keys with others put over them: tables merge, everything else replaces.

    Example:
        >>> merge({"a": {"x": 1, "y": [1, 2]}}, {"a": {"y": [3]}})
        {'a': {'x': 1, 'y': [3]}}
    """
    out = dict(lower)
    for name, value in upper.items():
        old = out.get(name)
        out[name] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return out
