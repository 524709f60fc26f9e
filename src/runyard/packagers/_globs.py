"""Patterns: globs with ``**``, matched against relative paths and walked without reading what cannot match."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runyard.errors import ConfigError, PackagingError
from runyard.snapshots.listing import Found, look, unreadable
from runyard.snapshots.manifest import printable

ALWAYS_LEFT = frozenset({".git", ".hg", ".svn", "__pycache__"})
"""Folders and files that only a pattern which names them takes in."""

_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Glob:
    """One pattern, relative to the folder it is matched in.

    Attributes:
        text: As the user wrote it.
        parts: Its parts between slashes.
    """

    text: str
    parts: tuple[str, ...]

    @property
    def literal(self) -> bool:
        """True when it holds no wildcard: it names one file or folder."""
        return not any(_MAGIC.search(part) for part in self.parts)


def split_patterns(patterns: str | Sequence[str]) -> list[str]:
    """Return single patterns: a string is split at spaces (``\\ `` is a space in a name), a list is taken as it is.

    Example:
        >>> split_patterns("src/** 'my file.py'"), split_patterns(["my file.py"])
        (['src/**', 'my file.py'], ['my file.py'])
    """
    if isinstance(patterns, str):
        import shlex

        try:
            return shlex.split(patterns)
        except ValueError as error:
            raise ConfigError(f"pattern {patterns!r}: {error}", hint="give a list: one pattern each") from None
    return [os.fspath(p) for p in patterns]


def parse_glob(text: str, root: str) -> Glob:
    """Return a pattern relative to ``root``.

    Args:
        text: Relative to ``root``, or absolute and below it.
        root: Absolute folder.

    Raises:
        PackagingError: when it leaves ``root``.
    """
    given = os.path.expanduser(text)
    if given.startswith("/"):
        # The part before the first wildcard may pass through links, as the folder's own path may.
        for base in (root, os.path.realpath(root)):
            if given == base or given.startswith(base.rstrip("/") + "/"):
                given = given[len(base) :]
                break
        else:
            head, rest = _split_literal(given)
            given = f"{os.path.realpath(head)}/{rest}" if rest else os.path.realpath(head)
            if given != root and not given.startswith(root.rstrip("/") + "/"):
                raise PackagingError(
                    f"pattern {printable(text)}: lies outside {printable(root)}",
                    hint="set relative_path to a folder above it, or use another packager for it (HybridPackager)",
                )
            given = given[len(root) :]
    parts = [part for part in given.split("/") if part not in ("", ".")]
    while ".." in parts:
        at = parts.index("..")
        if at == 0 or _MAGIC.search(parts[at - 1]):
            raise PackagingError(
                f"pattern {printable(text)}: leaves {printable(root)}",
                hint="set relative_path to the folder above, and write the pattern relative to it",
            )
        del parts[at - 1 : at + 1]
    return Glob(text, tuple(parts))


def _split_literal(path: str) -> tuple[str, str]:
    parts = path.split("/")
    for n, part in enumerate(parts):
        if _MAGIC.search(part):
            return "/".join(parts[:n]) or "/", "/".join(parts[n:])
    return path, ""


def part_regex(part: str) -> re.Pattern[str]:
    """Compile one part of a pattern; ``*`` and ``?`` match leading dots too."""
    out, n = "", 0
    while n < len(part):
        char = part[n]
        n += 1
        if char == "*":
            out += ".*"
        elif char == "?":
            out += "."
        elif char == "[":
            close = part.find("]", n + 1 if part[n : n + 1] not in ("!", "^") else n + 2)
            if close < 0:
                out += r"\["
                continue
            inner = part[n:close].replace("\\", r"\\").replace("[", r"\[").replace("&&", r"&\&").replace("||", r"|\|")
            out += f"[^{inner[1:]}]" if inner[:1] in ("!", "^") else f"[{inner}]"
            n = close + 1
        else:
            out += re.escape(char)
    try:
        return re.compile(out, re.DOTALL)
    except re.error:
        return re.compile(re.escape(part))


class Matcher:
    """Follows several patterns down a folder tree at once: a state is where in which pattern we are."""

    def __init__(self, globs: Sequence[Glob]) -> None:
        self.globs = tuple(globs)
        self._compiled = [
            tuple(None if p == "**" else p if not _MAGIC.search(p) else part_regex(p) for p in g.parts) for g in globs
        ]

    def start(self) -> frozenset[tuple[int, int]]:
        """Return the state at the top folder."""
        return self._skip({(n, 0) for n in range(len(self.globs))})

    def _skip(self, state: set[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        """Add the states behind each ``**``, which may stand for no folder at all."""
        todo = list(state)
        while todo:
            n, at = todo.pop()
            parts = self._compiled[n]
            if at < len(parts) and parts[at] is None and (n, at + 1) not in state:
                state.add((n, at + 1))
                todo.append((n, at + 1))
        return frozenset(state)

    def step(
        self, state: frozenset[tuple[int, int]], name: str, *, all_names: bool = False
    ) -> frozenset[tuple[int, int]]:
        """Return the state one level down, in ``name``; wildcards match :data:`ALWAYS_LEFT` only with ``all_names``."""
        wild = all_names or name not in ALWAYS_LEFT
        after: set[tuple[int, int]] = set()
        for n, at in state:
            parts = self._compiled[n]
            if at >= len(parts):
                if wild:
                    after.add((n, at))  # inside a folder that matched as a whole
                continue
            part = parts[at]
            if part is None:
                if wild:
                    after.add((n, at))
            elif isinstance(part, str):
                if part == name:
                    after.add((n, at + 1))
            elif wild and part.fullmatch(name):
                after.add((n, at + 1))
        return self._skip(after)

    def matched(self, state: frozenset[tuple[int, int]]) -> set[int]:
        """Return which patterns are matched in full."""
        return {n for n, at in state if at >= len(self._compiled[n])}


def excluded_by(path: str, matcher: Matcher) -> Glob | None:
    """Return the pattern that takes a relative path, or a folder it lies in, out; None when none does."""
    state = matcher.start()
    for name in path.split("/"):
        state = matcher.step(state, name, all_names=True)
        hit = matcher.matched(state)
        if hit:
            return matcher.globs[min(hit)]
        if not state:
            break
    return None


def parse_excludes(patterns: str | Sequence[str], root: str) -> Matcher:
    """Return what an ``exclude_pattern`` takes out. A pattern without a slash counts at any depth."""
    globs = []
    for text in split_patterns(patterns):
        glob = parse_glob(text, root)
        globs.append(Glob(text, glob.parts if "/" in text.strip("/") else ("**", *glob.parts)))
    return Matcher(globs)


def walk(root: str, include: Matcher, exclude: Matcher) -> Iterator[tuple[Found, set[int]]]:
    """Yield (found, numbers of the patterns that match) for files, links and empty folders below ``root``.

    Links are not followed. Folders that no pattern can reach are not read.

    Raises:
        PackagingError: for a folder that cannot be read, or a socket, device or FIFO that a pattern matches.
    """
    stack = [("", include.start(), exclude.start())]
    while stack:
        folder, state, out = stack.pop()
        top = f"{root}/{folder}" if folder else root
        try:
            with os.scandir(top) as entries:
                inside = sorted((e.name, e.is_dir(follow_symlinks=False)) for e in entries)
        except OSError as error:
            raise unreadable(top, error) from None
        for name, is_folder in inside:
            path = f"{folder}/{name}" if folder else name
            below = include.step(state, name)
            gone = exclude.step(out, name, all_names=True)
            if not below or exclude.matched(gone):
                continue
            if is_folder:
                stack.append((path, below, gone))
            elif hits := include.matched(below):
                found = look(f"{root}/{path}", path)
                if found is not None:
                    yield found, hits
        if folder and not inside and include.matched(state):
            yield Found(folder, "d", top), include.matched(state)
