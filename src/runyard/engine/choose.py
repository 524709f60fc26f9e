"""Which files of a task patterns mean, from listings of its folders. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from runyard.backends.base import CODE, CODE_FOLDER, Job
from runyard.backends.fetching import Entry, Listing
from runyard.errors import ConfigError
from runyard.packagers._globs import Glob, Matcher, split_patterns
from runyard.snapshots.manifest import printable

EVERYTHING = "**"
_SHOWN = 5


@dataclass(frozen=True)
class Wanted:
    """Patterns, as a person gave them.

    Args:
        texts: The patterns.
    """

    texts: tuple[str, ...]

    @classmethod
    def of(cls, patterns: str | Sequence[str]) -> Wanted:
        """Return checked patterns: a string holds several, separated by spaces; a list one each.

        Raises:
            ConfigError: for none, and for one that cannot be relative to a folder.
        """
        texts = tuple(split_patterns(patterns))
        if not texts:
            raise ConfigError("no pattern says what to pull", hint='give one, such as "checkpoints/**"')
        for text in texts:
            if text.startswith(("/", "~/")) or ".." in text.split("/") or "\0" in text:
                raise ConfigError(
                    f"the pattern {printable(text)} leads out of the task's folders",
                    hint="patterns are relative to its output folder, or else to its working directory",
                )
        return cls(texts)

    @property
    def everything(self) -> bool:
        """Say whether this is the default."""
        return self.texts == (EVERYTHING,)

    def globs(self) -> list[Glob]:
        """Return the parsed patterns."""
        return [Glob(t, tuple(p for p in t.split("/") if p not in ("", "."))) for t in self.texts]

    def starts(self) -> list[str]:
        """Return the places below which all lies that can match: the patterns up to their first wildcard.

        Example:
            >>> Wanted(("runs/a/**", "log.txt", "*.csv")).starts()
            ['runs/a', 'log.txt', '.']
        """
        found = []
        for glob in self.globs():
            plain = [Glob("", (part,)).literal for part in glob.parts]
            count = plain.index(False) if False in plain else len(plain)
            found.append("/".join(glob.parts[:count]) or ".")
        return list(dict.fromkeys(found))

    def matching(self) -> Callable[[str], bool]:
        """Return a function that says whether a path matches. A pattern that matches a folder takes all of it."""
        globs = self.globs()
        names = {"/".join(glob.parts) for glob in globs}
        matcher = Matcher(globs)

        def matches(path: str) -> bool:
            state = matcher.start()
            for part in path.split("/"):
                state = matcher.step(state, part, all_names=True)
            return path in names or bool(matcher.matched(state))

        return matches


class Item(NamedTuple):
    """A file or link to have here.

    Args:
        entry: What it is there, relative to the folder that was listed.
        place: Its path below the folder that it goes to.
        link: Where a link is to lead.
    """

    entry: Entry
    place: str
    link: str = ""


class Chosen(NamedTuple):
    """What patterns match in one folder.

    Args:
        items: What matches.
        near: Names that are there, for those who mistyped one.
        warnings: What is left out, in words.
    """

    items: tuple[Item, ...] = ()
    near: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def choose(listing: Listing, wanted: Wanted, prefix: str = "", place: str = "", *, in_place: bool = False) -> Chosen:
    """Return the files and links below a folder that match.

    A link that leads out of the folder would lead somewhere else here, so it is left out.

    Args:
        listing: What is there.
        wanted: The patterns.
        prefix: The folder within the listing that patterns are relative to, with a slash; empty: all of it.
        place: What to put before the paths of items, with a slash.
        in_place: The files stay where they are, so every link is as good as it was.
    """
    matches = wanted.matching()
    root = posixpath.normpath(f"{listing.root}/{prefix}")
    items: list[Item] = []
    near: list[str] = []
    left: list[str] = []
    for entry in listing.entries.values():
        path = entry.name.removeprefix(prefix)
        if not entry.name.startswith(prefix):
            continue
        near.append(path)
        if entry.kind not in ("f", "l") or not matches(path):
            continue
        link = entry.target if in_place else inner_link(path, entry.target, root) if entry.kind == "l" else ""
        if entry.kind == "f" or link:
            items.append(Item(entry, place + path, link))
        else:
            left.append(path)
    warnings = [f"cannot be read there: {problem}" for problem in listing.problems[:_SHOWN]]
    if left:
        lead = "links that lead" if len(left) > 1 else "a link that leads"
        warnings.append(f"left out: {lead} out of the folder: {some(left)}")
    return Chosen(tuple(items), tuple(near), tuple(warnings))


def together(parts: Iterable[Chosen]) -> Chosen:
    """Return what was chosen in several folders."""
    parts = list(parts)
    return Chosen(
        tuple(item for part in parts for item in part.items),
        tuple(dict.fromkeys(name for part in parts for name in part.near)),
        tuple(dict.fromkeys(text for part in parts for text in part.warnings)),
    )


def inner_link(path: str, target: str, root: str) -> str:
    """Return where a link is to lead here, or nothing when it leads out of its folder.

    ``..`` counts only in front: behind a name that may be a link itself, nobody can tell where it leads.

    Args:
        path: The link, relative to the folder.
        target: Where it leads.
        root: The folder's path.

    Example:
        >>> inner_link("a/last", "../b/c", "/o"), inner_link("last", "/o/a", "/o"), inner_link("x", "../y", "/o")
        ('../b/c', 'a', '')
    """
    if target.startswith("/"):
        inside = target.removeprefix(f"{root}/")
        if inside == target or ".." in inside.split("/"):
            return ""
        return posixpath.relpath(inside, posixpath.dirname(path) or ".")
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    return target if ".." not in parts[ups:] and ups <= path.count("/") else ""


def attempts_in(listing: Listing | None) -> list[str]:
    """Return the attempts that have a folder, in order: ``1``, ``2``; of a task with an array ``1.0``, ``1.1`` …"""
    entries = listing.entries.values() if listing else ()
    names = [e.name for e in entries if e.kind == "d" and number_of(e.name)]
    return sorted(names, key=lambda name: [int(part) for part in name.split(".")])


def folders_of(present: Sequence[str], attempt: int | None) -> list[str]:
    """Return the folders of an attempt, or of the newest; the elements of an array have one each.

    Example:
        >>> folders_of(["1", "2.0", "2.1"], None), folders_of(["1", "2.0", "2.1"], 1)
        (['2.0', '2.1'], ['1'])
    """
    number = attempt if attempt is not None else max(map(number_of, present), default=0)
    return [name for name in present if number_of(name) == number]


def number_of(name: str) -> int:
    """Return the number of the attempt that a folder belongs to; 0 for any other folder."""
    head, dot, element = name.partition(".")
    digits = name.isascii() and head.isdecimal() and (not dot or element.isdecimal())
    return int(head) if digits else 0


def workdirs(job: Job, there: str, here: bool) -> list[str]:
    """Return the folders on the target in which a job's members run.

    Args:
        job: The job.
        there: Its folder on the target.
        here: The target is this machine, where a task without code runs in the folder of the launch.
    """
    found = []
    for component in job.components:
        if component.workdir == CODE or component.workdir.startswith(f"{CODE}/"):
            found.append(f"{posixpath.dirname(there)}/{CODE_FOLDER}{component.workdir[len(CODE) :]}")
        else:
            found.append(component.workdir if here else there)
    return list(dict.fromkeys(found))


def nearest(wanted: Wanted, names: Iterable[str]) -> str:
    """Return a name that may have been meant by patterns that match nothing, or nothing."""
    from difflib import get_close_matches

    pool = list(dict.fromkeys(names))[:2000]
    found = [name for text in wanted.texts for name in get_close_matches(text.rstrip("/*"), pool, n=1)]
    return found[0] if found else ""


def some(names: Sequence[str]) -> str:
    """Return the first of several names, fit for a message."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(printable, names[:_SHOWN])) + more
