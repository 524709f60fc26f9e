"""A library and the user's own code around it: what ships depends on where the command is run."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, replace
from typing import ClassVar

from runyard.errors import ConfigError, PackagingError
from runyard.packagers._capturing import CapturingPackager, start_folder
from runyard.packagers._gitrepo import open_repo
from runyard.packagers._globs import split_patterns
from runyard.packagers.git import GitArchivePackager
from runyard.packagers.pattern import match_files
from runyard.snapshots.listing import CodeInfo, Found, Listing
from runyard.snapshots.manifest import printable


@dataclass(kw_only=True)
class ProjectPackager(CapturingPackager):
    """Always ships a library, and the user's git repository when there is one.

    1. Inside the library's own repository (one with a folder ``<package>`` or ``src/<package>`` at its top): that
       repository.
    2. Inside another git repository: that repository, and the library from where it is installed, as ``<package>/``.
    3. Outside any repository: the installed library only.

    A repository ships as :class:`GitArchivePackager` ships it. From its installed place all files of the library ship
    (``__pycache__`` aside).

    Args:
        package: Import name of the library. It is found, not imported.
        data_pattern: Further files of the library's own repository that git ignores, for example
            ``"my_lib/dataset/**/*.jsonl"``; relative to the folder that holds the library. It may match nothing.
        exclude_pattern: What stays behind of an installed library; a pattern without a slash counts in every folder.
        ref: As in ``GitArchivePackager``.
        include_uncommitted: As in ``GitArchivePackager``.
        include_submodules: As in ``GitArchivePackager``.
        check_uncommitted_changes: As in ``GitArchivePackager``.
        check_untracked_files: As in ``GitArchivePackager``.

    Raises:
        ConfigError: when ``package`` is no import name.

    Example:
        >>> ProjectPackager(package="my_lib", data_pattern="my_lib/dataset/**/*.jsonl").package
        'my_lib'
    """

    kind: ClassVar[str] = "project"

    package: str = ""
    data_pattern: str | list[str] = ""
    exclude_pattern: str | list[str] = ""
    ref: str | None = None
    include_uncommitted: bool | None = None
    include_submodules: bool = True
    check_uncommitted_changes: bool = False
    check_untracked_files: bool = False

    def __post_init__(self) -> None:
        if not self.package.isidentifier():
            raise ConfigError(
                f"ProjectPackager: package={self.package!r} is no top-level import name",
                hint='for example package="my_lib"',
            )

    def list_files(self, path: str | os.PathLike[str] | None = None) -> Listing:
        """Return what ships, by the three rules.

        Raises:
            PackagingError: when the library is not installed, or the repository cannot be listed.
        """
        start = start_folder(path)
        top = repository_of(start)
        if top is None:
            place, found = self._installed()
            return Listing(found, (place,), CodeInfo(root=place))
        git = GitArchivePackager(
            ref=self.ref,
            include_uncommitted=self.include_uncommitted,
            include_submodules=self.include_submodules,
            check_uncommitted_changes=self.check_uncommitted_changes,
            check_untracked_files=self.check_untracked_files,
        )
        listing = git.list_files(top)
        home = next((h for h in ("", "src") if os.path.isdir(os.path.join(top, h, self.package))), None)
        if home is None:
            place, found = self._installed()
            return replace(listing, found=[*listing.found, *found], roots=(*listing.roots, place))
        base = os.path.join(top, home).rstrip("/")
        prefix = f"{home}/" if home else ""
        have = {f.path for f in listing.found}
        data = [f._replace(path=prefix + f.path) for f in self._data(base)]
        return replace(listing, found=[*listing.found, *(f for f in data if f.path not in have)])

    def _data(self, base: str) -> list[Found]:
        found: dict[str, Found] = {}
        for pattern in split_patterns(self.data_pattern):
            try:
                found.update((f.path, f) for f in match_files(base, [pattern]))
            except PackagingError as error:
                if "matches nothing" not in error.message:
                    raise
        return list(found.values())

    def _installed(self) -> tuple[str, list[Found]]:
        """Return the folder that holds the installed library, and its files."""
        spec = importlib.util.find_spec(self.package)
        places = [os.path.realpath(p) for p in (spec.submodule_search_locations or ())] if spec else []
        if not places and spec is not None and spec.origin and spec.origin.endswith(".py"):
            folder, name = os.path.split(os.path.realpath(spec.origin))
            return folder, match_files(folder, [name])
        if not places:
            raise PackagingError(
                f"package {self.package!r} is not installed in this Python, and not in this repository",
                hint=f"pip install it, or run from inside its repository (package={self.package!r})",
            )
        found: dict[str, Found] = {}
        for place in places:  # a namespace package may have several
            if not os.path.isdir(place):
                continue
            for item in match_files(place, ["**"], self.exclude_pattern):
                found.setdefault(item.path, item._replace(path=f"{self.package}/{item.path}"))
        return places[0], list(found.values())

    def why(self, file: str, listing: Listing) -> str:
        """Return which of the rules ships the file."""
        if listing.info.commit and file.startswith(listing.info.root + "/"):
            return "in the git repository around the current folder"
        return f"part of the installed package {self.package!r}"

    def why_not(self, file: str, listing: Listing) -> str:
        """Return why git leaves it out, or that it is outside."""
        if repository_of(listing.info.root) and file.startswith(listing.info.root + "/"):
            return GitArchivePackager().why_not(file, listing)
        return f"in neither {printable(listing.info.root)} nor the installed package {self.package!r}"


def repository_of(folder: str) -> str | None:
    """Return the top of the git repository around a folder, None outside any (or without git)."""
    try:
        return open_repo(folder).top
    except PackagingError as error:
        if "not a git repository" in error.message or "git is not installed" in error.message:
            return None
        raise
