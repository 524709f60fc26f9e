"""``${a.b}``, ``${.a}`` and ``${oc.env:NAME}`` in a configuration. Pure: text is only ever put into text.

What refers to another key gets its value, with its type where nothing else stands in the text. Resolvers that are not
known here (``${art:model}``) stay as they are: the script may know them. So does the environment variable whose name
looks secret: the script reads it in the job, where the variable is forwarded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runyard.errors import ConfigError
from runyard.secrets import MASK, looks_secret

_INNERMOST = re.compile(r"\\?\$\{([^${}]*)\}")
_ENV = re.compile(r"oc\.env:\s*([A-Za-z_]\w*)\s*(?:,(.*))?\Z", re.ASCII | re.DOTALL)
_KEY = re.compile(r"(\.*)((?:[^\W\d][\w-]*|\d+)(?:\.[\w-]+|\[[\w-]+\])*)\Z")
_SECRET = re.compile(r"(\$\{\s*oc\.env:\s*([A-Za-z_]\w*)\s*)(,[^{}]*)?\}", re.ASCII)
_OPEN, _CLOSE = "\1", "\2"
"""Stand for the braces of what stays as it is, while the rest of a text is filled in."""
DEEPEST = 50
LONGEST = 1_000_000
MOST = 1_000_000


def fill(data: Mapping[str, Any], environ: Mapping[str, str], where: str) -> dict[str, Any]:
    """Return a configuration with what refers to its own keys, and to the environment, filled in.

    Args:
        data: The configuration.
        environ: The environment.
        where: Its name, for messages.

    Raises:
        ConfigError: for a key or variable that is not there, or keys that refer to one another in a circle.

    Example:
        >>> fill({"lr": 0.1, "run": {"name": "lr-${lr}", "lr": "${lr}", "d": "${art:data}"}}, {}, "a.yaml")
        {'lr': 0.1, 'run': {'name': 'lr-0.1', 'lr': 0.1, 'd': '${art:data}'}}
    """
    return dict(_Filler(data, environ, where).value(data, (), 0))


def secrets(data: Any) -> dict[str, bool]:
    """Return the names of the secret variables that texts refer to, and whether each must be set."""
    out: dict[str, bool] = {}
    parts = data.values() if isinstance(data, Mapping) else data if isinstance(data, list) else ()
    for part in parts:
        for name, needed in secrets(part).items():
            out[name] = out.get(name, False) or needed
    if isinstance(data, str):
        for found in _SECRET.finditer(data):
            if looks_secret(found[2]):
                out[found[2]] = out.get(found[2], False) or found[3] is None
    return out


def masked(data: Any) -> Any:
    """Return data in which every reference to a secret variable is ``***``."""
    if isinstance(data, Mapping):
        return {k: masked(v) for k, v in data.items()}
    if isinstance(data, list):
        return [masked(v) for v in data]
    if isinstance(data, str):
        return _SECRET.sub(lambda m: MASK if looks_secret(m[2]) else m[0], data)
    return data


class _Filler:
    def __init__(self, data: Mapping[str, Any], environ: Mapping[str, str], where: str) -> None:
        self.data, self.environ, self.where = data, environ, where
        self.made = 0

    def value(self, value: Any, path: tuple[str, ...], depth: int) -> Any:
        self.made += 1
        if self.made > MOST:
            raise ConfigError(f"{self.where} grows to more than {MOST} values", hint="do its references multiply?")
        if isinstance(value, Mapping):
            return {k: self.value(v, (*path, k), depth) for k, v in value.items()}
        if isinstance(value, list):
            return [self.value(v, (*path, str(i)), depth) for i, v in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        return self.text(value, path, depth)

    def text(self, text: str, path: tuple[str, ...], depth: int) -> Any:
        if depth > DEEPEST:
            raise ConfigError(f"{self.where}: {'.'.join(path)} refers to itself, by way of others", hint="end it")
        at = 0
        while found := _INNERMOST.search(text, at):
            if found[0].startswith("\\"):
                new: Any = f"\\${_OPEN}{found[1]}{_CLOSE}"
            else:
                new = self.one(found[1].strip(), found[0], path, depth)
                if found.span() == (0, len(text)) and not isinstance(new, str):
                    return new
                if isinstance(new, (Mapping, list)):
                    raise ConfigError(
                        f"{self.where}: {'.'.join(path)}: {found[0]} is no text", hint="let it stand alone in its text"
                    )
                new = _shown(new)
            text = text[: found.start()] + new + text[found.end() :]
            at = max(0, text.rfind("${", 0, found.start()))  # what encloses it comes next
            if len(text) > LONGEST:
                raise ConfigError(f"{self.where}: {'.'.join(path)} grows without end", hint="shorten it")
        return text.replace(_OPEN, "{").replace(_CLOSE, "}")

    def one(self, inner: str, raw: str, path: tuple[str, ...], depth: int) -> Any:
        if env := _ENV.match(inner):
            return self.variable(env[1], env[2], raw, path)
        key = _KEY.match(inner)
        if key is None:
            return f"${_OPEN}{raw[2:-1]}{_CLOSE}"  # a resolver of the script's
        names = [n for n in re.split(r"[.\[\]]+", key[2]) if n]
        dots = len(key[1])
        full = (*path[: len(path) - dots], *names) if dots else tuple(names)
        target = self.at(full, raw, path)
        if full == path[: len(full)]:
            raise ConfigError(f"{self.where}: {'.'.join(path)}: {raw} refers to itself", hint="give it a value")
        new = self.value(target, full, depth + 1)
        return new.replace("${", f"${_OPEN}").replace("}", _CLOSE) if isinstance(new, str) and "${" in new else new

    def variable(self, name: str, default: str | None, raw: str, path: tuple[str, ...]) -> Any:
        if looks_secret(name):
            return f"${_OPEN}{raw[2:-1]}{_CLOSE}"
        if name in self.environ:
            return self.environ[name].replace("${", f"${_OPEN}")
        if default is not None:
            text = default.strip()
            return None if text == "null" else text.strip("'\"")
        raise ConfigError(
            f"{self.where}: {'.'.join(path)}: the variable {name} is not set",
            hint=f"export {name}=…, or give a default: ${{oc.env:{name},default}}",
        )

    def at(self, full: tuple[str, ...], raw: str, path: tuple[str, ...]) -> Any:
        place: Any = self.data
        for name in full:
            if isinstance(place, Mapping) and name in place:
                place = place[name]
            elif isinstance(place, list) and name.isdecimal() and int(name) < len(place):
                place = place[int(name)]
            else:
                from runyard.config.overrides.plain import meant

                known = map(str, place) if isinstance(place, Mapping) else ()
                raise ConfigError(f"{self.where}: {'.'.join(path)}: {raw} leads to no key", hint=meant(name, known))
        return place


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
