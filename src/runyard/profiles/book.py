"""Profiles as they are written, and put together with those they extend. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runyard.config.overrides.plain import meant
from runyard.errors import ProfileError

RESERVED = frozenset({"wandb", "cli", "cache", "artifacts"})
"""Sections that are no profiles."""


@dataclass(frozen=True)
class File:
    """One file's sections.

    Args:
        path: Its path, for messages.
        sections: Fields by name of the section.
    """

    path: str
    sections: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Origin:
    """Where a field was written."""

    path: str
    section: str


@dataclass(frozen=True)
class Profile:
    """A profile's fields.

    Args:
        name: Its name; empty where there is none.
        fields: What was written, interpolations not filled in.
        origins: For each field, where it was written (the strongest place).
        chain: Its name, and those of its parents, the nearest first.
    """

    name: str
    fields: Mapping[str, Any]
    origins: Mapping[str, Origin] = field(default_factory=dict)
    chain: tuple[str, ...] = ()

    def where(self, name: str = "") -> str:
        """Return where a field stands, for messages: file, profile, and the parent it comes from."""
        if not self.name:
            return "this launch"
        own = (origin for origin in self.origins.values() if origin.section == self.name)
        origin = self.origins.get(name) or next(own, None)
        path = f"{origin.path}: " if origin else ""
        inherited = f" (from {origin.section!r})" if name and origin and origin.section != self.name else ""
        return f"{path}profile {self.name!r}{inherited}"


@dataclass(frozen=True)
class Book:
    """All profiles of one place.

    Args:
        files: The files, the strongest first.

    Example:
        >>> book = Book((File("env.toml", {"base": {"time": "1:00:00"}, "big": {"extends": "base", "nodes": 8}}),))
        >>> dict(book.profile("big").fields)
        {'time': '1:00:00', 'nodes': 8}
    """

    files: tuple[File, ...]

    def names(self) -> list[str]:
        """Return the names of all profiles, in the order they are written."""
        found = dict.fromkeys(name for file in self.files for name in file.sections)
        return [name for name in found if name not in RESERVED]

    def section(self, name: str) -> dict[str, Any]:
        """Return a section, the user's own file beneath the project's; empty where there is none."""
        return dict(self._written(name).fields)

    def written(self, name: str) -> Profile:
        """Return a profile without what it inherits.

        Raises:
            ProfileError: when there is none of that name, with the nearest.
        """
        names = self.names()
        if name in RESERVED:
            raise ProfileError(f"{name!r} is a reserved section, no profile", hint=self._meant("", names))
        if name not in names:
            raise ProfileError(f"there is no profile {name!r}", hint=self._meant(name, names))
        return self._written(name)

    def profile(self, name: str) -> Profile:
        """Return a profile with everything it inherits: tables merge, lists and values replace.

        Raises:
            ProfileError: for an unknown profile or parent, or parents that go in a circle; names the chain.
        """
        found = self.written(name)
        lines = [found]
        while "extends" in found.fields:
            found = self._parent(found, [p.name for p in lines])
            lines.append(found)
        fields: dict[str, Any] = {}
        origins: dict[str, Origin] = {}
        for line in reversed(lines):
            fields = overlay(fields, line.fields)
            origins |= line.origins
        fields.pop("extends", None)
        return Profile(name, fields, origins, tuple(p.name for p in lines))

    def _parent(self, child: Profile, chain: list[str]) -> Profile:
        parent = child.fields["extends"]
        told = " -> ".join([*chain, str(parent)])
        where = child.where("extends")
        if not isinstance(parent, str):
            raise ProfileError(f"{where}: extends = {parent!r} is no name", hint='write extends = "NAME"')
        if parent in chain:
            raise ProfileError(f"{where}: extends goes in a circle: {told}", hint="end it at one of them")
        if parent not in self.names():
            others = [n for n in self.names() if n not in chain]
            raise ProfileError(
                f"{where}: it extends {parent!r}, which is no profile ({told})",
                hint=self._meant(parent, others) if others else "there is no other profile",
            )
        return self._written(parent)

    def _written(self, name: str) -> Profile:
        fields: dict[str, Any] = {}
        origins: dict[str, Origin] = {}
        for file in reversed(self.files):
            section = respelled(file.sections.get(name, {}))
            fields = overlay(fields, section)
            origins |= dict.fromkeys(section, Origin(file.path, name))
        return Profile(name, fields, origins, (name,))

    def _meant(self, wanted: str, names: list[str]) -> str:
        files = ", ".join(file.path for file in self.files)
        if not files:
            return "write one: a section [NAME] in env.toml, at the root of your project"
        return meant(wanted, names, f"{files} has") or f"{files} has no profiles"


_SPELLINGS = {"container": "container_image", "nprocs_per_node": "nproc_per_node"}


def respelled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with one spelling for each, so that a child's replaces its parent's however it is written.

    Example:
        >>> respelled({"container": "img"})
        {'container_image': 'img'}
    """
    return {_SPELLINGS.get(name, name): value for name, value in fields.items()}


def overlay(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with others put over them: tables merge, everything else replaces.

    The options of a packager go when another packager takes its place.

    Example:
        >>> overlay({"env_vars": {"A": "1"}, "mounts": ["/a"]}, {"env_vars": {"B": "2"}, "mounts": ["/b"]})
        {'env_vars': {'A': '1', 'B': '2'}, 'mounts': ['/b']}
    """
    out = dict(lower)
    if "packager" in upper and "packager" in lower and upper["packager"] != lower["packager"]:
        out = {k: v for k, v in out.items() if not k.startswith("packager_")}
    for name, value in upper.items():
        old = out.get(name)
        out[name] = overlay(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return out
