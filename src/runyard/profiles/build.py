"""From fields to objects: each value coerced by the annotation that it goes to, each mistake told with its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from runyard import launchers
from runyard.config.overrides import Place, types
from runyard.config.overrides.apply import built
from runyard.config.overrides.coerce import coerce
from runyard.config.overrides.nodes import Call, Data, File, Items, Node, Pairs, Text, Word
from runyard.config.overrides.plain import guess
from runyard.errors import ConfigError, ProfileError
from runyard.executors import executor_class
from runyard.executors.base import Executor
from runyard.launchers.base import Launcher
from runyard.packagers.base import Packager, packager_class
from runyard.tunnels import LocalTunnel, SSHTunnel, Tunnel

Where = Callable[[str], str]
"""Says where a field was written, for messages."""

T = TypeVar("T")
_DIRECT = ("none", "direct")


def executor_type(kind: Any, where: str) -> type[Executor]:
    """Return the class of an executor by its name in a profile.

    Raises:
        ProfileError: when there is none; says which there are.
    """
    try:
        return executor_class(kind if isinstance(kind, str) else repr(kind))
    except ConfigError as e:
        raise ProfileError(f'{where}: executor = "{kind}": this Runyard has no such executor', hint=e.hint) from e


def make(cls: type[T], options: Mapping[str, Any], where: Where, known: tuple[str, ...] = (), **ready: Any) -> T:
    """Return an object of ``cls``.

    Args:
        cls: Its class.
        options: Arguments as a profile or a command line has them.
        where: Where each was written.
        known: Further names that could have been meant by an unknown one.
        ready: Arguments that are made already.

    Raises:
        ProfileError: for an unknown argument, with the nearest name, or a value of another type.

    Example:
        >>> make(SSHTunnel, {"host": "login", "port": "2222"}, lambda name: "here").port
        2222
    """
    taken = types.signature(cls).parameters
    values: dict[str, Any] = {}
    for name, value in options.items():
        if name not in taken:
            names = sorted({*taken, *known} - {"experiment_id"})
            near = get_close_matches(name, names, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(names)}"
            raise ProfileError(f"{where(name)}: {cls.__name__} has no field {name!r}", hint=meant)
        values[name] = typed(value, taken[name].annotation, name, where(name))
    try:
        return cls(**values, **ready)
    except ConfigError as e:
        raise ProfileError(f"{where(field_in(e, cls))}: {e.message}", hint=e.hint) from e
    except TypeError as e:
        raise ProfileError(f"{where('')}: {cls.__name__}: {e}", hint=f"it takes: {', '.join(taken)}") from e


def field_in(error: ConfigError, cls: type) -> str:
    """Return which field of an object its own check complains of; empty when the message names none."""
    found = re.match(rf"{cls.__name__}\.(\w+)", error.message)
    return found[1] if found else ""


def typed(value: Any, annotation: Any, name: str, where: str) -> Any:
    """Return a value as the type that is wanted.

    Raises:
        ProfileError: when it does not fit.
    """
    try:
        return built(coerce(node_of(value), annotation, Place(name)))
    except ConfigError as e:
        message = e.message.removeprefix(f"{name}: ") if where.endswith(f".{name}") else e.message
        raise ProfileError(f"{where}: {message}", hint=e.hint) from e


def node_of(value: Any) -> Node:
    """Return a value for coercion. Nothing in it names a file to read, a factory to call or a class to load."""
    if isinstance(value, Word):
        return Text(value.raw, value.raw) if isinstance(guess(value), str) else value
    if isinstance(value, (File, Call)):
        return Text(value.raw, value.raw)
    if isinstance(value, Items):
        return Items(value.raw, value.kind, tuple(map(node_of, value.items)))
    if isinstance(value, Pairs):
        return Pairs(value.raw, tuple((node_of(k), node_of(v)) for k, v in value.pairs))
    if isinstance(value, Node):
        return value
    if isinstance(value, str):
        return Text(value, value)
    if isinstance(value, Mapping):
        return Pairs(repr(value), tuple((Text(str(k), str(k)), node_of(v)) for k, v in value.items()))
    if isinstance(value, (list, tuple)):
        return Items(repr(value), "list", tuple(map(node_of, value)))
    return Data(repr(value), value)


def plain(value: Any) -> Any:
    """Return a value as plain data: what was typed is taken for what it looks like."""
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return plain(guess(node_of(value))) if isinstance(value, Node) else value


def packager(kind: Any, options: Mapping[str, Any], where: Where) -> Packager:
    """Return a packager.

    Args:
        kind: ``git``, ``pattern``, ``hybrid``, ``project``, ``none``, or a table with its ``kind`` and options.
        options: Its options, without ``packager_`` before their names.
        where: Where each was written.

    Raises:
        ProfileError: when there is no such packager, or no such option.
    """
    kind = plain(kind)
    if isinstance(kind, Mapping):
        own = dict(kind)
        kind = own.pop("kind", own.pop("packager", None))
        options = {**own, **options}
    here = where("packager")
    try:
        cls = packager_class(kind) if isinstance(kind, str) else None
    except ConfigError as e:
        near = get_close_matches(str(kind), ("none", "git", "pattern", "hybrid", "project", "configmap"), n=1)
        raise ProfileError(f"{here}: {e.message}", hint=(f"did you mean {near[0]!r}? " if near else "") + e.hint) from e
    if cls is None:
        raise ProfileError(
            f"{here}: a packager needs the name of its kind", hint='write kind = "git", "pattern", "hybrid" or "none"'
        )
    parts = plain(options.get("sub_packagers"))
    if parts is None or cls.kind != "hybrid":
        return make(cls, options, lambda name: where(f"packager_{name}" if name else "packager"))
    at = where("packager_sub_packagers")
    if not isinstance(parts, Mapping) or not all(isinstance(v, Mapping) for v in parts.values()):
        raise ProfileError(f"{at}: sub_packagers is no table of tables", hint='for example code = {kind = "git"}')
    subs = {key: packager(part, {}, lambda _, key=key: f"{at}: {key!r}") for key, part in parts.items()}  # type: ignore[misc]
    rest = {k: v for k, v in options.items() if k != "sub_packagers"}
    return make(cls, rest, lambda name: where(f"packager_{name}" if name else "packager"), sub_packagers=subs)


def launcher(value: Any, where: str) -> str | Launcher | None:
    """Return a launcher by its name, or from a table with its ``kind`` and options.

    Raises:
        ProfileError: when there is none of that name.
    """
    value = plain(value)
    options = dict(value) if isinstance(value, Mapping) else {}
    kind = options.pop("kind", None) if isinstance(value, Mapping) else value
    if kind is None or kind in _DIRECT:
        return None
    try:
        found = launchers.resolve(kind)
    except ConfigError as e:
        raise ProfileError(f"{where}: {e.message}", hint=e.hint) from e
    if not isinstance(value, Mapping):
        return str(kind)
    return make(type(found), options, lambda _: where)


def tunnel(fields: Mapping[str, Any], where: Where) -> Tunnel | None:
    """Return the tunnel that a profile's fields describe, or None for this machine.

    Args:
        fields: ``tunnel`` (``"local"``, ``"ssh"``, or a table), and arguments of :class:`SSHTunnel`, of which
            ``remote_job_dir`` and ``ssh_config`` are called ``job_dir`` and ``config`` there.
        where: Where each was written.

    Raises:
        ProfileError: for another kind of tunnel, or ssh without a host.
    """
    options = {_TUNNEL_FIELDS[name]: value for name, value in fields.items() if name != "tunnel"}
    kind = plain(fields.get("tunnel"))
    if isinstance(kind, Mapping):
        options = {**{k: v for k, v in kind.items() if k != "kind"}, **options}
        kind = kind.get("kind", "ssh")
    written = {v: k for k, v in _TUNNEL_FIELDS.items()}

    def at(name: str) -> str:
        return where(written.get(name, "tunnel"))

    if kind == "ssh":
        if not options.get("host"):
            raise ProfileError(
                f'{where("tunnel")}: tunnel = "ssh" needs a host', hint='write host = "login.example.org"'
            )
        return make(SSHTunnel, options, at)
    if kind not in (None, "local"):
        raise ProfileError(f"{where('tunnel')}: tunnel = {kind!r} is unknown", hint='write "local" or "ssh"')
    if kind is None and "host" in options:
        raise ProfileError(f"{where('host')}: host is given, but no tunnel", hint='write tunnel = "ssh" beside it')
    folder = options.get("job_dir")
    return make(LocalTunnel, {"job_dir": folder}, at) if folder else None


_TUNNEL_FIELDS = {
    "host": "host",
    "user": "user",
    "port": "port",
    "identity": "identity",
    "remote_job_dir": "job_dir",
    "shell": "shell",
    "pre_command": "pre_command",
    "ssh_config": "config",
}
TUNNEL_FIELDS = ("tunnel", *_TUNNEL_FIELDS)
"""The words of a profile that describe its tunnel."""
