"""Bringing the files of a task from where it ran: choose by patterns, leave what is here, fetch the rest."""

from __future__ import annotations

import os
import posixpath
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runyard import executors
from runyard.backends.base import CODE, CODE_FOLDER, Job
from runyard.backends.fetching import Entry, Fetcher, Fetches, Listing
from runyard.backends.logfiles import attempt_key
from runyard.backends.registry import backend_class
from runyard.backends.wrapper import ATTEMPTS
from runyard.errors import ConfigError, RunyardError
from runyard.packagers._globs import Glob, Matcher, split_patterns
from runyard.snapshots.manifest import printable
from runyard.snapshots.sizes import format_size
from runyard.store.db import Database
from runyard.store.records import JobRow

EVERYTHING = "**"
OUTPUT = "output"
PULLED = "pulled"
"""In a job's folder on this machine: files of its working directory."""
BATCH = 256 << 20
"""Bytes that are fetched at once; what an interruption costs at most, beside one file."""
SAME_TIME = 2_000
"""Nanoseconds that the times of a file and its copy may differ: a float stands between them."""
_ROUNDS = 3
_SHOWN = 5

Progress = Callable[[int, int], None]
"""Called with the bytes fetched and their total."""


@dataclass(frozen=True)
class Pulled:
    """What became of a pull.

    Args:
        folder: Where the files lie on this machine.
        source: Where they come from, as messages name it.
        files: All that matched, sorted.
        fetched: How many of them were brought now.
        size: Their bytes.
        warnings: What was left out, in words.
        in_place: They lie on this machine already, where the task wrote them.
    """

    folder: Path
    source: str
    files: tuple[Path, ...] = ()
    fetched: int = 0
    size: int = 0
    warnings: tuple[str, ...] = ()
    in_place: bool = False

    def summary(self) -> str:
        """Return what happened, in words.

        Example:
            >>> Pulled(Path("x"), "login:x", (Path("x/a"), Path("x/b")), 1, 1_200_000).summary()
            'pulled 1 of 2 files, 1.2 MB; 1 was here already'
        """
        total = len(self.files)
        noun = "file" if total == 1 else "files"
        if not total:
            return f"nothing is in {self.source}"
        if self.in_place:
            return f"{total} {noun} in {self.folder}; nothing to pull, the task ran on this machine"
        kept = total - self.fetched
        rest = f"; {kept} {'was' if kept == 1 else 'were'} here already" if kept else ""
        return f"pulled {self.fetched} of {total} {noun}, {format_size(self.size)}{rest}"


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
            if text.startswith(("/", "~")) or ".." in text.split("/"):
                raise ConfigError(
                    f"pattern {printable(text)!r} leads out of the task's folders",
                    hint="patterns are relative to its output folder, or else to its working directory",
                )
        return cls(texts)

    @property
    def everything(self) -> bool:
        """Say whether this is the default, all outputs."""
        return self.texts == (EVERYTHING,)

    def globs(self) -> list[Glob]:
        """Return the parsed patterns."""
        return [Glob(t, tuple(p for p in t.split("/") if p not in ("", "."))) for t in self.texts]

    def starts(self) -> list[str]:
        """Return the places below which everything lies that can match: the patterns up to their first wildcard.

        Example:
            >>> Wanted(("runs/a/**", "log.txt", "*.csv")).starts()
            ['runs/a', 'log.txt', '.']
        """
        found = []
        for glob in self.globs():
            plain = [Glob("", (part,)).literal for part in glob.parts]
            found.append("/".join(glob.parts[: plain.index(False) if False in plain else None]) or ".")
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


@dataclass(frozen=True)
class Item:
    """A file or link to have here.

    Args:
        entry: What it is there.
        place: Its path below the folder it goes to.
        link: Where a link is to lead.
    """

    entry: Entry
    place: str
    link: str = ""


@dataclass(frozen=True)
class Found:
    """What patterns match in one folder of the target.

    Args:
        folder: The folder there, to which the entries are relative.
        items: What matches, with its path below the local folder.
        near: Names that a person may have meant.
        warnings: What cannot be brought, in words.
        missing: The folder is not there.
    """

    folder: str
    items: tuple[Item, ...] = ()
    near: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    missing: bool = False


def pull(
    db: Database,
    row: JobRow,
    patterns: str | Sequence[str] = EVERYTHING,
    into: str | Path | None = None,
    attempt: int | None = None,
    progress: Progress | None = None,
) -> Pulled:
    """Bring files of a task here; see :meth:`runyard.experiment.Experiment.pull`.

    Args:
        db: The store.
        row: The task's job.
        patterns: Which files.
        into: Folder for them.
        attempt: Whose output, by number; default: the newest.
        progress: Told of bytes done and their total.

    Raises:
        ConfigError: when nothing matches, or something here is in the way.
        TunnelError: when the machine cannot be reached.
        RunyardError: when files cannot be fetched from there, or not written here.
    """
    wanted = Wanted.of(patterns)
    job, there = Job.from_json(row.spec), str(row.request["folder"])
    fetcher = _fetcher(job, str(db.home), there)
    in_place = into is None and fetcher.here and there == job.local_dir
    own = Path(job.local_dir)
    found = _in_outputs(fetcher, row, there, wanted, attempt)
    target = own / ATTEMPTS if into is None else Path(into).expanduser()
    looked = [found]
    if not found.items and not wanted.everything:
        for folder in _workdirs(job, there, fetcher.here):
            found = _in_workdir(fetcher, folder, wanted)
            looked.append(found)
            if found.items:
                break
        else:
            raise _nothing(row.name, wanted, fetcher, looked)
        target = own / PULLED if into is None else target
    elif into is not None:
        found = replace(found, items=_without_prefix(found.items))
    source = fetcher.where(found.folder)
    if in_place:
        folder = Path(found.folder)
        files = tuple(sorted(folder / item.entry.name for item in found.items))
        return Pulled(folder, source, files, warnings=found.warnings, in_place=True)
    temporary = own if into is None else target
    try:
        return _Puller(fetcher, found, target, temporary, progress).run()
    except OSError as e:
        raise RunyardError(
            f"{e.filename or target}: cannot be written ({e.strerror})", hint="check path, permission and free space"
        ) from e


def _fetcher(job: Job, home: str, there: str) -> Fetcher:
    executor = executors.from_dict(job.components[0].executor)
    backend = backend_class(executor).connect(executor, home)
    if not isinstance(backend, Fetches):
        raise RunyardError(
            f"{type(executor).__name__} has no way to bring files of its jobs here", hint=f"they lie there in {there}"
        )
    return backend.fetcher()


# -- choosing ----------------------------------------------------------------------------------


def _in_outputs(fetcher: Fetcher, row: JobRow, there: str, wanted: Wanted, attempt: int | None) -> Found:
    """Return what matches in the output folder of an attempt."""
    folder = f"{there}/{ATTEMPTS}"
    # Most often the attempt is the one that is recorded, and one question is enough.
    names = [str(attempt or row.status.attempt)]
    listing = fetcher.look(folder, _places(names, wanted))
    present = attempts_in(listing)
    chosen = newest(present, attempt)
    if attempt is not None and not chosen:
        raise ConfigError(
            f"task {row.name!r} has no attempt {attempt} in {fetcher.where(there)}",
            hint=f"it has {', '.join(present)}" if present else "it has not started",
        )
    if chosen and chosen != names:
        names = chosen
        listing = fetcher.look(folder, _places(names, wanted))
    shown = f"{folder}/{names[0]}/{OUTPUT}" if len(names) == 1 else folder
    if listing is None or not chosen:
        return Found(shown, missing=True)
    parts = [_select(listing, wanted, f"{name}/{OUTPUT}/") for name in names]
    if len(names) == 1:  # entries are relative to the folder that messages name
        return _relative(parts[0], shown, f"{names[0]}/{OUTPUT}/")
    return Found(
        shown,
        tuple(item for p in parts for item in p.items),
        tuple(near for p in parts for near in p.near),
        tuple(dict.fromkeys(w for p in parts for w in p.warnings)),
    )


def _places(names: Sequence[str], wanted: Wanted) -> list[str]:
    outputs = [f"{name}/{OUTPUT}" for name in names]
    return outputs + [f"{o}/{start}" for o in outputs for start in wanted.starts() if start != "."]


def _relative(found: Found, folder: str, prefix: str) -> Found:
    items = (
        replace(item, entry=item.entry._replace(name=item.entry.name.removeprefix(prefix))) for item in found.items
    )
    return replace(found, folder=folder, items=tuple(items))


def attempts_in(listing: Listing | None) -> list[str]:
    """Return the attempts that have a folder, in order: ``1``, ``2``; of a job array ``1.0``, ``1.1`` …"""
    entries = listing.entries.values() if listing else ()
    names = [e.name for e in entries if e.kind == "d" and "/" not in e.name and _number(e.name)]
    return sorted(names, key=lambda n: (_number(n), attempt_key(n.partition(".")[2])))


def newest(present: Sequence[str], attempt: int | None) -> list[str]:
    """Return the folders of an attempt, or of the newest; the elements of an array have one each.

    Example:
        >>> newest(["1", "2.0", "2.1"], None), newest(["1", "2.0", "2.1"], 1)
        (['2.0', '2.1'], ['1'])
    """
    number = attempt if attempt is not None else max(map(_number, present), default=0)
    return [name for name in present if _number(name) == number]


def _number(name: str) -> int:
    head, dot, element = name.partition(".")
    return int(head) if head.isdecimal() and (not dot or element.isdecimal()) else 0


def _in_workdir(fetcher: Fetcher, folder: str, wanted: Wanted) -> Found:
    """Return what matches in a working directory."""
    listing = fetcher.look(folder, wanted.starts())
    return replace(_select(listing, wanted, ""), folder=folder) if listing else Found(folder, missing=True)


def _workdirs(job: Job, there: str, here: bool) -> list[str]:
    """Return the folders on the target in which a job's members run."""
    found = []
    for component in job.components:
        if component.workdir == CODE or component.workdir.startswith(f"{CODE}/"):
            found.append(f"{posixpath.dirname(there)}/{CODE_FOLDER}{component.workdir[len(CODE) :]}")
        else:
            found.append(component.workdir if here else there)
    return list(dict.fromkeys(found))


def _select(listing: Listing, wanted: Wanted, prefix: str) -> Found:
    """Return the files and links below a prefix that match.

    A link that leads out of the folder would lead somewhere else here, so it is left.
    """
    matches = wanted.matching()
    root = posixpath.normpath(f"{listing.root}/{prefix}")
    items, left, near = [], [], []
    for entry in listing.entries.values():
        path = entry.name.removeprefix(prefix)
        if not entry.name.startswith(prefix) or not path:
            continue
        near.append(path)
        if entry.kind not in ("f", "l") or not matches(path):
            continue
        if entry.kind == "f":
            items.append(Item(entry, entry.name))
        elif link := inner_link(path, entry.target, root):
            items.append(Item(entry, entry.name, link))
        else:
            left.append(path)
    warnings = [f"cannot be read there: {p}" for p in listing.problems[:_SHOWN]]
    if left:
        warnings.append(f"{_some(left)}: left out, {'they lead' if len(left) > 1 else 'it leads'} out of the folder")
    return Found("", tuple(items), tuple(near), tuple(warnings))


def inner_link(path: str, target: str, root: str) -> str:
    """Return where a link is to lead here, or nothing when it leads out of its folder.

    Args:
        path: The link, relative to the folder.
        target: Where it leads.
        root: The folder's path.

    ``..`` counts only in front: behind a name that is a link itself, nobody could tell where it leads.

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


def _without_prefix(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return items placed as in the output folder itself; of several elements of an array, one folder each."""
    items = tuple(items)
    single = len({item.place.partition("/")[0] for item in items}) == 1
    out = []
    for item in items:
        attempt, _, path = item.place.split("/", 2) if single else item.place.split("/", 2)
        out.append(replace(item, place=path if single else f"{attempt}/{path}"))
    return tuple(out)


def _nothing(task: str, wanted: Wanted, fetcher: Fetcher, looked: Sequence[Found]) -> ConfigError:
    from difflib import get_close_matches

    places = [fetcher.where(f.folder) + (" (not there)" if f.missing else "") for f in looked]
    typed = " ".join(printable(text) for text in wanted.texts)
    pool = list(dict.fromkeys(name for f in looked for name in f.near))[:2000]
    near = [n for text in wanted.texts for n in get_close_matches(text.rstrip("/*"), pool, n=1)]
    warned = "".join(f"\n{w}" for f in looked for w in f.warnings)
    return ConfigError(
        f"task {task!r}: {typed} matches nothing, neither in its output folder {places[0]}\n"
        f"nor in its working directory {' or '.join(places[1:])}{warned}",
        hint=f"did you mean {printable(near[0])!r}?" if near else "`**` reaches into folders; quote it in a shell",
    )


# -- bringing ----------------------------------------------------------------------------------


class _Puller:
    """Brings what is new of what was found.

    Args:
        fetcher: Reads the files.
        found: What to have.
        target: Folder for it.
        temporary: Folder on the same file system, for what is unfinished.
        progress: Told of bytes done and their total.
    """

    def __init__(
        self, fetcher: Fetcher, found: Found, target: Path, temporary: Path, progress: Progress | None
    ) -> None:
        self._fetcher = fetcher
        self._found = found
        self._target = target
        self._temporary = temporary
        self._progress = progress or (lambda _done, _total: None)
        self._warnings = list(found.warnings)

    def run(self) -> Pulled:
        """Return what happened."""
        items = self._found.items
        _refuse_what_is_in_the_way(self._target, items)
        fresh = [item for item in items if not is_here(self._target / item.place, item)]
        self._target.mkdir(parents=True, exist_ok=True)
        size = self._bring([item for item in fresh if item.entry.kind == "f"])
        for item in fresh:
            if item.link:
                self._make_link(item)
        gone = {item.place for item in fresh if not os.path.lexists(self._target / item.place)}
        files = sorted(self._target / item.place for item in items if item.place not in gone)
        return Pulled(
            self._target,
            self._fetcher.where(self._found.folder),
            tuple(files),
            len(fresh) - len(self._missed),
            size,
            tuple(self._warnings),
        )
