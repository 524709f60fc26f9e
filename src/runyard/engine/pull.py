"""Bringing the files of a task from where it ran: look, choose by patterns, leave what is here, fetch the rest."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runyard import executors
from runyard.backends.base import Job
from runyard.backends.fetching import PULLED, Fetcher, Fetches, FetchesFor, Listing
from runyard.backends.registry import backend_class
from runyard.backends.wrapper import ATTEMPTS
from runyard.engine import choose
from runyard.engine.choose import EVERYTHING, Chosen, Item, Wanted
from runyard.errors import ConfigError, RunyardError
from runyard.snapshots.manifest import printable
from runyard.snapshots.sizes import format_size
from runyard.store.db import Database
from runyard.store.records import JobRow

OUTPUT = "output"
BATCH = 256 << 20
"""Bytes that are fetched at once: what an interruption costs at most, unless one file is larger."""
SAME_TIME = 2_000
"""Nanoseconds that the times of a file and its copy may differ: a float stood between them."""
_ROUNDS = 3

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
        in_place: They lie where the task wrote them, on this machine.
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
            return f"nothing to pull from {self.source}"
        if self.in_place:
            return f"{total} {noun} in {self.folder}, where the task wrote {'it' if total == 1 else 'them'}"
        kept = total - self.fetched
        rest = f"; {kept} {'was' if kept == 1 else 'were'} here already" if kept else ""
        return f"pulled {self.fetched} of {total} {noun}, {format_size(self.size)}{rest}"


@dataclass(frozen=True)
class Found:
    """A folder that was looked into.

    Args:
        folder: The folder on the target to which the names of the items are relative.
        shown: The folder that patterns were relative to, as messages name it.
        chosen: What matches there.
        inner: Where all of it lies below the folder that it goes to.
    """

    folder: str
    shown: str
    chosen: Chosen
    inner: str = ""


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
        RunyardError: when files cannot be fetched from there, or not be written here.
    """
    job, there = Job.from_json(row.spec), str(row.request["folder"])
    own = Path(job.local_dir)
    fetcher = _fetcher(job, str(db.home), there)
    in_place = into is None and fetcher.here and there == job.local_dir
    search = _Search(fetcher, row.name, there, Wanted.of(patterns), in_place, flat=into is not None)
    found, kept = search.output(attempt, row.status.attempt), ATTEMPTS
    if not found.chosen.items and not search.wanted.everything:
        found, kept = search.workdirs(choose.workdirs(job, there, fetcher.here), found), PULLED
    if in_place:
        return _as_it_is(found)
    target = own / kept if into is None else Path(os.path.abspath(os.path.expanduser(into)))
    try:
        return _Puller(fetcher, found, target, own if into is None else target, progress).run()
    except OSError as e:
        raise RunyardError(
            f"{e.filename or target}: cannot be written ({e.strerror})", hint="check path, permission and free space"
        ) from e


def _fetcher(job: Job, home: str, there: str) -> Fetcher:
    executor = executors.from_dict(job.components[0].executor)
    backend = backend_class(executor).connect(executor, home)
    if not isinstance(backend, Fetches):
        raise RunyardError(
            f"files of jobs cannot be pulled from {type(executor).__name__}: its backend offers no way to read them",
            hint=f"they are there, in {there}",
        )
    return backend.fetcher_for(there) if isinstance(backend, FetchesFor) else backend.fetcher()


def _as_it_is(found: Found) -> Pulled:
    """Return what a task wrote on this machine, where it is."""
    folder = Path(found.folder)
    files = tuple(sorted(folder / item.entry.name for item in found.chosen.items))
    return Pulled(folder / found.inner, found.shown, files, warnings=found.chosen.warnings, in_place=True)


# -- looking -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Search:
    """Looks for what patterns match.

    Args:
        fetcher: Reads folders.
        task: The task's name, for messages.
        there: The job's folder on the target.
        wanted: The patterns.
        in_place: The files stay where they are.
        flat: They are placed without the attempt's own folders.
    """

    fetcher: Fetcher
    task: str
    there: str
    wanted: Wanted
    in_place: bool
    flat: bool

    def output(self, attempt: int | None, recorded: int) -> Found:
        """Return what matches in the output folder of an attempt.

        Args:
            attempt: Its number, or ``None`` for the newest.
            recorded: The attempt that was the newest when the job was last looked at.

        Raises:
            ConfigError: when there is no such attempt.
        """
        folder = f"{self.there}/{ATTEMPTS}"
        # Most often the one that is recorded is the newest, and one question is enough.
        names = [str(attempt or recorded)]
        listing = self._look(folder, names)
        present = choose.attempts_in(listing)
        asked = choose.folders_of(present, attempt)
        if attempt is not None and not asked:
            raise ConfigError(
                f"task {self.task!r} has no attempt {attempt} in {self.fetcher.where(self.there)}",
                hint=f"it has {', '.join(present)}" if present else "it has not started",
            )
        if asked and asked != names:
            names = asked
            listing = self._look(folder, names)
        inner = f"{names[0]}/{OUTPUT}" if len(names) == 1 else ""
        shown = self.fetcher.where(f"{folder}/{inner}".rstrip("/")) + ("" if asked else " (not there)")
        chosen = choose.together(self._chosen(listing, names)) if listing and asked else Chosen()
        return Found(folder, shown, chosen, "" if self.flat else inner)

    def _look(self, folder: str, attempts: Sequence[str]) -> Listing | None:
        outputs = [f"{name}/{OUTPUT}" for name in attempts]
        starts = [start for start in self.wanted.starts() if start != "."]
        return self.fetcher.look(folder, outputs + [f"{output}/{start}" for output in outputs for start in starts])

    def _chosen(self, listing: Listing, attempts: Sequence[str]) -> Iterator[Chosen]:
        for name in attempts:
            prefix = f"{name}/{OUTPUT}/"
            place = prefix if not self.flat else "" if len(attempts) == 1 else f"{name}/"
            yield choose.choose(listing, self.wanted, prefix, place, in_place=self.in_place)

    def workdirs(self, folders: Sequence[str], before: Found) -> Found:
        """Return what matches in working directories, in the first where something does.

        Args:
            folders: The folders.
            before: What was found in the output folder: nothing.

        Raises:
            ConfigError: when nothing matches; it names the folders and a near name.
        """
        looked = [before]
        for folder in folders:
            listing = self.fetcher.look(folder, self.wanted.starts())
            chosen = choose.choose(listing, self.wanted, in_place=self.in_place) if listing else Chosen()
            shown = self.fetcher.where(folder) + ("" if listing else " (not there)")
            looked.append(Found(folder, shown, chosen))
            if chosen.items:
                return looked[-1]
        raise self._nothing(looked)

    def _nothing(self, looked: Sequence[Found]) -> ConfigError:
        near = choose.nearest(self.wanted, [name for found in looked for name in found.chosen.near])
        lines = [
            f"task {self.task!r}: nothing matches {' '.join(map(printable, self.wanted.texts))}",
            f"  in its output folder {looked[0].shown}",
            f"  or its working directory {', '.join(found.shown for found in looked[1:])}",
            *(f"  {warning}" for found in looked for warning in found.chosen.warnings),
        ]
        hint = f"did you mean {printable(near)}?" if near else "`**` reaches into folders; quote it in a shell"
        return ConfigError("\n".join(lines), hint=hint)


# -- bringing ----------------------------------------------------------------------------------


class _Puller:
    """Brings what is new of what was found.

    Args:
        fetcher: Reads the files.
        found: What to have.
        target: Folder for it.
        temporary: Folder on the same file system, for what is unfinished.
        progress: Told of bytes done and their total.
        at_once: Bytes to fetch at once.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        found: Found,
        target: Path,
        temporary: Path,
        progress: Progress | None,
        at_once: int = BATCH,
    ) -> None:
        self._fetcher = fetcher
        self._at_once = at_once
        self._found = found
        self._target = target
        self._temporary = temporary
        self._progress = progress or (lambda _done, _total: None)
        self._done = self._total = self._size = 0
        self._said = ""

    def run(self) -> Pulled:
        """Bring it, and return what happened.

        Raises:
            ConfigError: when something here is in the way; nothing is fetched then.
        """
        items = self._found.chosen.items
        refuse_conflicts(self._target, items)
        fresh = [item for item in items if not is_here(self._target / item.place, item)]
        if items:
            self._target.mkdir(parents=True, exist_ok=True)
        missed = self._fetch([item for item in fresh if not item.link])
        for item in fresh:
            if item.link:
                self._link(item)
        warnings = list(self._found.chosen.warnings)
        if missed:
            names = choose.some([item.place for item in missed])
            warnings.append(f"left out: gone, not readable, or cut short meanwhile: {names}\n{self._said}".rstrip())
        gone = {item.place for item in missed}
        return Pulled(
            self._target / self._found.inner,
            self._found.shown,
            tuple(sorted(self._target / item.place for item in items if item.place not in gone)),
            len(fresh) - len(missed),
            self._size,
            tuple(warnings),
        )

    def _fetch(self, items: list[Item]) -> list[Item]:
        """Fetch files; those that change meanwhile are tried again. Return what did not arrive."""
        self._total = sum(item.entry.size for item in items)
        for _ in range(_ROUNDS):
            items = [item for batch in batches(items, self._at_once) for item in self._fetch_batch(batch)]
        return items

    def _fetch_batch(self, batch: list[Item]) -> list[Item]:
        size = sum(item.entry.size for item in batch)
        temporary = self._temporary / f".ry-{secrets.token_hex(6)}"
        try:
            self._said = self._fetcher.fetch(
                self._found.folder,
                [item.entry.name for item in batch],
                temporary,
                lambda done: self._progress(min(self._done + min(done, size), self._total), self._total),
            )
            arrived = _files_in(temporary)
            for item in batch:
                if item.entry.name in arrived:
                    self._place(temporary / item.entry.name, item)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._done += size
        return [item for item in batch if item.entry.name not in arrived]

    def _place(self, file: Path, item: Item) -> None:
        place = self._target / item.place
        place.parent.mkdir(parents=True, exist_ok=True)
        self._size += file.stat().st_size
        os.replace(file, place)

    def _link(self, item: Item) -> None:
        place = self._target / item.place
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.parent / f".ry-{secrets.token_hex(6)}"
        os.symlink(item.link, temporary)
        os.replace(temporary, place)


def is_here(path: Path, item: Item) -> bool:
    """Say whether a file is here already: the same size and time, or for a link, the same goal."""
    try:
        info = path.lstat()
        if item.link:
            return stat.S_ISLNK(info.st_mode) and os.readlink(path) == item.link
    except OSError:
        return False
    same = info.st_size == item.entry.size and abs(info.st_mtime_ns - item.entry.mtime) < SAME_TIME
    return same and stat.S_ISREG(info.st_mode)


def batches(items: Sequence[Item], limit: int) -> Iterator[list[Item]]:
    """Yield files in parts of a size that is fetched at once."""
    batch: list[Item] = []
    size = 0
    for item in items:
        if batch and size + item.entry.size > limit:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.entry.size
    if batch:
        yield batch


def refuse_conflicts(target: Path, items: Sequence[Item]) -> None:
    """Refuse to replace folders, and to write through links: neither is undone easily.

    Raises:
        ConfigError: naming the path.
    """
    seen: set[str] = set()
    for item in items:
        parts = item.place.split("/")
        if os.path.isdir(target / item.place) and not os.path.islink(target / item.place):
            raise _in_the_way(target / item.place, "a folder", "a file")
        for n in range(1, len(parts)):
            inner = "/".join(parts[:n])
            path = target / inner
            if inner not in seen and os.path.lexists(path) and (path.is_symlink() or not path.is_dir()):
                raise _in_the_way(path, "a link" if path.is_symlink() else "a file", "a folder")
            seen.add(inner)
    if target.exists() and not target.is_dir():
        raise _in_the_way(target, "a file", "a folder")


def _in_the_way(path: Path, is_: str, wanted: str) -> ConfigError:
    return ConfigError(
        f"{printable(str(path))} is {is_} here, and has to be {wanted}",
        hint="move it away, or pull into another folder: into=… (--into)",
    )


def _files_in(folder: Path) -> set[str]:
    """Return the paths of the files below a folder; links, which nobody asked for, are not followed."""
    found = set()
    for where, _, names in os.walk(folder):
        inner = os.path.relpath(where, folder)
        for name in names:
            if not os.path.islink(os.path.join(where, name)):
                found.add(name if inner == "." else f"{inner}/{name}")
    return found
