"""Files chosen by patterns, in version control or not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from runyard.errors import ConfigError, PackagingError
from runyard.packagers._capturing import CapturingPackager, start_folder
from runyard.packagers._globs import Matcher, excluded_by, parse_excludes, parse_glob, split_patterns, walk
from runyard.snapshots.listing import CodeInfo, Found, Listing
from runyard.snapshots.manifest import printable


@dataclass(kw_only=True)
class PatternPackager(CapturingPackager):
    """Ships the files that patterns match.

    ``*``, ``?`` and ``[…]`` match within a name, hidden ones included; ``**`` stands for any number of folders. A
    pattern that matches a folder takes all of it. ``.git``, ``.hg``, ``.svn`` and ``__pycache__`` are taken only by a
    pattern that names them. Symlinks ship as links.

    Args:
        include_pattern: Patterns in one string, separated by spaces, or a list with one pattern each. Relative to
            ``relative_path``, or absolute and below it.
        relative_path: Folder the patterns and the shipped paths are relative to. Default: the folder given to
            :meth:`snapshot`, else the current one.
        exclude_pattern: Patterns of what stays behind; one without a slash counts in every folder.

    Raises:
        ConfigError: without an ``include_pattern``.

    Example:
        >>> PatternPackager(include_pattern="src/**/*.py configs/*.yaml", exclude_pattern="*_test.py").kind
        'pattern'
    """

    kind: ClassVar[str] = "pattern"

    include_pattern: str | list[str] = field(default="")
    relative_path: str = ""
    exclude_pattern: str | list[str] = ""

    def __post_init__(self) -> None:
        if not split_patterns(self.include_pattern):
            raise ConfigError("PatternPackager has no include_pattern", hint='give one: include_pattern="src/**"')
        self.relative_path = os.fspath(self.relative_path)

    def root(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the absolute folder that patterns are relative to."""
        if self.relative_path and not os.path.isabs(os.path.expanduser(self.relative_path)) and path:
            return start_folder(os.path.join(path, self.relative_path))
        return start_folder(self.relative_path or path)

    def list_files(self, path: str | os.PathLike[str] | None = None) -> Listing:
        """Return what the patterns match.

        Raises:
            PackagingError: for a pattern that matches nothing, or lies outside the folder.
        """
        root = self.root(path)
        found = match_files(root, self.include_pattern, self.exclude_pattern)
        return Listing(found, (root,), CodeInfo(root=root))

    def why(self, file: str, listing: Listing) -> str:
        """Return the pattern that takes the file in."""
        root = listing.roots[0]
        for text in split_patterns(self.include_pattern):
            one = Matcher([parse_glob(text, root)])
            state = one.start()
            for name in os.path.relpath(file, root).split("/"):
                state = one.step(state, name)
            if one.matched(state):
                return f"matches {text!r}"
        return "matches include_pattern"

    def why_not(self, file: str, listing: Listing) -> str:
        """Return the exclusion that takes the file out, or that nothing takes it in."""
        root = listing.roots[0]
        inside = os.path.relpath(file, root)
        if inside.startswith("../"):
            return f"lies outside {printable(root)}"
        gone = excluded_by(inside, parse_excludes(self.exclude_pattern, root))
        if gone is not None:
            return f"excluded by {gone.text!r}"
        return "no pattern of include_pattern matches it"


def match_files(root: str, include: str | Sequence[str], exclude: str | Sequence[str] = "") -> list[Found]:
    """Return the files below ``root`` that patterns match.

    Raises:
        PackagingError: for a pattern that matches nothing; it is named.
    """
    matcher = Matcher([parse_glob(text, root) for text in split_patterns(include)])
    seen: set[int] = set()
    found = []
    for item, hits in walk(root, matcher, parse_excludes(exclude, root)):
        seen |= hits
        found.append(item)
    missed = [matcher.globs[n].text for n in range(len(matcher.globs)) if n not in seen]
    if missed:
        tail = f" (after exclude_pattern {exclude!r})" if exclude else ""
        raise PackagingError(
            f"pattern {', '.join(map(repr, missed))} matches nothing in {printable(root)}{tail}",
            hint="check relative_path and the pattern; `**` reaches into folders, `*` does not",
        )
    return found
