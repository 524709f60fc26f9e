"""The base packager: nothing ships. Its import must stay cheap; it is on the path of every launch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from runyard.errors import ConfigError, PackagingError

if TYPE_CHECKING:
    import os

    from runyard.snapshots.snapshot import Snapshot

ENTRY_POINTS = "runyard.packagers"
"""Entry-point group in which other distributions name their packager modules by kind."""

_ALIASES = {"none": "base", "": "base", "git_archive": "git", "passthrough": "base"}


@dataclass(kw_only=True)
class Packager:
    """Passthrough: no code ships. The task runs with what its target holds already.

    Args:
        debug: Print what is listed and why, while a snapshot is taken.
        symlink_from_remote_dir: A folder on the target that holds the code already. The job's code folder becomes a
            symlink to it, and nothing is captured or sent.

    Example:
        >>> Packager().snapshot() is None
        True
        >>> Packager().to_dict()
        {'kind': 'base', 'debug': False, 'symlink_from_remote_dir': None}
    """

    kind: ClassVar[str] = "base"

    debug: bool = False
    symlink_from_remote_dir: str | None = None

    def snapshot(self, path: str | os.PathLike[str] | None = None) -> Snapshot | None:
        """Return what ships, or None when nothing does.

        Args:
            path: Folder to package; default the current one.
        """
        del path
        return None

    def explain(self, file: str | os.PathLike[str], path: str | os.PathLike[str] | None = None) -> str:
        """Say in one line whether a file would ship, and why.

        Args:
            file: The file, relative to the current folder or absolute.
            path: Folder to package, as for :meth:`snapshot`.
        """
        del path
        return f"{file}: stays behind: {type(self).__name__} ships nothing"

    def to_dict(self) -> dict[str, Any]:
        """Return the packager as JSON-able data, which :meth:`from_dict` reads."""
        data: dict[str, Any] = {"kind": self.kind}
        for item in dataclasses.fields(self):
            data[item.name] = _plain(getattr(self, item.name), f"{type(self).__name__}.{item.name}")
        return data

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Packager:
        """Return the packager that :meth:`to_dict` described; ``kind`` says which.

        Raises:
            ConfigError: for an unknown kind or option.

        Example:
            >>> Packager.from_dict({"kind": "git", "subpath": "src"}).subpath   # doctest: +SKIP
            'src'
        """
        options = dict(data)
        kind = options.pop("kind", None)
        if not isinstance(kind, str):
            raise ConfigError(
                f"packager {data!r} has no kind", hint='write kind = "git", "pattern", "hybrid" or "none"'
            )
        return make_packager(kind, **options)


def make_packager(kind: str, **options: Any) -> Packager:
    """Return a packager by the name of its kind; profiles use it.

    Args:
        kind: ``none``, ``git``, ``pattern``, ``hybrid``, ``project``, ``configmap``, or one that a plug-in adds.
        **options: Its fields.

    Raises:
        ConfigError: for an unknown kind or option.

    Example:
        >>> make_packager("none").kind
        'base'
    """
    cls = packager_class(kind)
    known = {item.name for item in dataclasses.fields(cls) if item.init}
    for name in options:
        if name not in known:
            raise ConfigError(
                f"packager {kind!r} has no option {name!r}{_did_you_mean(name, known)}",
                hint=f"options: {', '.join(sorted(known))}",
            )
    try:
        return cls(**options)
    except TypeError as error:
        raise ConfigError(f"packager {kind!r}: {error}", hint=f"options: {', '.join(sorted(known))}") from None


def packager_class(kind: str) -> type[Packager]:
    """Return the class of a kind: the one in ``runyard.packagers.<kind>``, else an entry point's.

    Raises:
        ConfigError: when there is none.
    """
    name = _ALIASES.get(kind, kind)
    if name.isidentifier() and not name.startswith("_"):
        module_name = f"{__package__}.{name}"
        try:
            module = import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name != module_name:
                raise
        else:
            for value in vars(module).values():
                if isinstance(value, type) and issubclass(value, Packager) and value.__dict__.get("kind") == name:
                    return value
    return _from_entry_point(kind)


def _from_entry_point(kind: str) -> type[Packager]:
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS, name=kind):
        cls = point.load()
        if isinstance(cls, type) and issubclass(cls, Packager):
            return cls
    raise ConfigError(
        f"no packager is called {kind!r}", hint="there are: none, git, pattern, hybrid, project, configmap"
    )


def _did_you_mean(name: str, known: set[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, sorted(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _plain(value: Any, where: str) -> Any:
    """Return a field's value as JSON-able data."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Packager):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [_plain(v, where) for v in value]
    if isinstance(value, dict):
        return {str(k): _plain(v, where) for k, v in value.items()}
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    raise PackagingError(f"{where}: {value!r} cannot be recorded", hint="give text, numbers, lists or paths")
