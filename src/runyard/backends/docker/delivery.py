"""Bringing a job's files, code and secrets to an engine on another machine, before its containers start."""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from runyard.backends.base import CODE_FOLDER, RUNNER_FOLDER, Request
from runyard.backends.docker import store
from runyard.backends.docker.files import Files, Gone
from runyard.backends.docker.helper import CACHE_DIR, Helper
from runyard.backends.docker.plan import EXPERIMENT_DIR, PRIVATE_DIR
from runyard.backends.fetching import PULLED
from runyard.backends.wrapper import ATTEMPTS
from runyard.errors import PackagingError, SubmitError
from runyard.snapshots import Snapshot, trees
from runyard.snapshots.extract import content_of
from runyard.snapshots.index import Index
from runyard.snapshots.manifest import Entry
from runyard.snapshots.packs import ObjectReader
from runyard.snapshots.tarstream import END, file_member, folder_member, owned_by, tree_members

SMALL_TREE = 128 << 10
"""A code tree of so many bytes (and a file for each thousand) is sent for each experiment: asking costs as much."""
_STAYS = frozenset({ATTEMPTS, "log", PULLED})
_TRIES = 3

Owner = tuple[int, int]


class Delivery:
    """Brings what jobs need to one engine; what is there already is not sent again.

    Args:
        files: The engine's files.
        helper: Gives the helper of an experiment, by its volume and an image.
    """

    def __init__(self, files: Files, helper: Callable[[str, str], Helper]) -> None:
        self._files = files
        self._helper = helper
        self._first = threading.Lock()

    def bring(
        self, request: Request, document: Mapping[str, Any], made: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> None:
        """Bring everything that containers need which were created and have not started.

        Args:
            request: The job.
            document: What its containers are made of.
            made: The containers' ids, and what they were made of.

        Raises:
            SubmitError: when the engine refuses it.
            PackagingError: when the code cannot be brought.
            Unavailable: when the engine does not answer.
        """
        volume, (first, create) = str(document["volume"]), made[0]
        try:
            owner = self._owner(first, create)
            # Asked before: while a stream goes in, the engine answers no question about the container.
            if self._lacks(first, request):
                with self._first:
                    self._bring_first(first, volume, str(create["image"]), request, owner)
            else:
                self._files.put(first, EXPERIMENT_DIR, chain(_job(Path(request.folder), owner), [END]))
            if request.secrets:
                data = _bytes_of(request.secrets)
                for id, options in made:
                    self._bring_secrets(id, options, data)
        except Gone as e:
            raise SubmitError("its container was removed before it started", hint="launch again") from e

    def _lacks(self, id: str, request: Request) -> list[str]:
        """Return what an experiment's volume does not hold yet, of what its jobs share: what is whole has a mark."""
        trees = [f"{CODE_FOLDER}/{tree['tree']}" for tree in request.options.get("code", ()) if "link" not in tree]
        names = (RUNNER_FOLDER, *dict.fromkeys(trees))
        return [name for name in names if not self._files.stat(id, f"{EXPERIMENT_DIR}/{name}.ok")]

    def _bring_first(self, id: str, volume: str, image: str, request: Request, owner: Owner) -> None:
        """Bring what the jobs of an experiment share, and the job's files: small things as one stream."""
        lacks = self._lacks(id, request)
        own = owned_by(*owner)
        with ExitStack() as stack:
            streams = [_job(Path(request.folder), owner)]
            for tree in request.options.get("code", ()):
                name = f"{CODE_FOLDER}/{tree['tree']}"
                if name not in lacks:
                    continue
                snapshot = Snapshot.load(tree["hash"], home=Path(tree["store"]).parent)
                if snapshot.total_size > SMALL_TREE or len(snapshot.entries) > SMALL_TREE >> 10:
                    self._bring_tree(self._helper(volume, image), snapshot, name, owner)
                    continue
                index = stack.enter_context(Index(snapshot.folder))
                read = content_of(stack.enter_context(ObjectReader(index, snapshot.folder)))
                streams += [tree_members(snapshot.entries, read, name.encode(), own), _mark(name)]
            if RUNNER_FOLDER in lacks:
                base = Path(request.folder).parent / RUNNER_FOLDER
                streams += [_below(base, RUNNER_FOLDER.encode(), b"", 0o755, 0o644), _mark(RUNNER_FOLDER)]
            self._files.put(id, EXPERIMENT_DIR, chain(*streams, [END]))

    # -- the job's own files -------------------------------------------------------------------

    def _bring_secrets(self, id: str, create: Mapping[str, Any], data: bytes) -> None:
        """Write the secrets into the container itself, so that they go with it."""
        own = owned_by(*self._owner(id, create))
        if create.get("read_only"):
            self._files.put(id, PRIVATE_DIR, iter([file_member(b"secrets", data, 0o600, own), END]))
            return
        base = PRIVATE_DIR.lstrip("/").encode()
        members = [folder_member(b"runyard"), folder_member(base), file_member(base + b"/secrets", data, 0o600, own)]
        self._files.put(id, "/", iter([*members, END]))

    def _owner(self, id: str, create: Mapping[str, Any]) -> Owner:
        """Return the numbers of the user that a container runs as."""
        user = str(create.get("user", "")) or self._files.user(id)
        name, _, group = user.partition(":")
        if name.isdigit():
            return int(name), int(group) if group.isdigit() else 0
        found = self._files.read(id, "/etc/passwd")
        text = b"".join(found[1]).decode("utf-8", "replace") if found else ""
        row = re.search(rf"^{re.escape(name)}:[^:\n]*:([0-9]+):([0-9]+):", text, re.MULTILINE)
        # A name that the image lacks is refused by the engine at the start, in better words.
        return (int(row[1]), int(row[2])) if row else (0, 0)

    # -- code ----------------------------------------------------------------------------------

    def _bring_tree(self, helper: Helper, snapshot: Snapshot, name: str, owner: Owner) -> None:
        """Make a code tree in an experiment's volume, out of the engine's copy; send what that lacks.

        Raises:
            PackagingError: when it could not be made.
        """
        for _ in range(_TRIES):
            with suppress(Gone):  # another launch has removed a tree of the store, or the helper has ended
                known = store.done(helper.run(store.PROBE, snapshot.hash)).decode("utf-8", "replace").split()
                if known[:1] != ["have"]:
                    self._send(helper, snapshot, known)
                store.done(helper.run(store.COPY, snapshot.hash, f"{EXPERIMENT_DIR}/{name}", f"{owner[0]}:{owner[1]}"))
                return
        raise PackagingError("other launches removed the code from the engine's store each time", hint="launch again")

    def _send(self, helper: Helper, snapshot: Snapshot, known: Sequence[str]) -> None:
        """Bring a tree to the engine's store: what differs from one that it has, or the whole."""
        part = f"{snapshot.hash}.{secrets.token_hex(4)}"
        with Index(snapshot.folder) as index, ObjectReader(index, snapshot.folder) as reader:
            base, send, gone = nearest(snapshot.entries, known, lambda hash: trees.load_entries(index, hash))
            store.done(helper.run(store.PREPARE, part, base))
            if gone:
                names = b"".join(os.fsencode(f"{path}\0") for path in gone)
                self._files.put(helper.id(), CACHE_DIR, iter([file_member(f"{part}.gone".encode(), names), END]))
                store.done(helper.run(store.REMOVE, part))
            order = reader.locate([bytes.fromhex(e.value) for e in send if e.is_file])
            send = sorted(send, key=lambda e: order.get(bytes.fromhex(e.value), (0, 0, 0)) if e.is_file else (0, 0, 0))
            self._files.put(helper.id(), CACHE_DIR, chain(tree_members(send, content_of(reader), part.encode()), [END]))
        store.done(helper.run(store.FINISH, part, snapshot.hash))


def nearest(
    entries: Sequence[Entry], known: Sequence[str], load: Callable[[str], Sequence[Entry]]
) -> tuple[str, list[Entry], list[str]]:
    """Return the stored tree to begin with, what has to be sent to make the wanted one of it, and what to remove.

    Args:
        entries: The wanted tree.
        known: Hashes of stored trees, the one used last first.
        load: Gives the entries of a tree, or raises ``PackagingError`` when it is not known here.

    Example:
        >>> a, b, c = Entry("a", "f", 1, "00"), Entry("b", "f", 1, "01"), Entry("c", "f", 1, "02")
        >>> nearest([a, b], ["h"], lambda hash: [a, c])
        ('h', [Entry(path='b', tag='f', size=1, value='01')], ['c'])
    """
    for hash in known:
        with suppress(PackagingError):
            old = set(load(hash))
            new = [e for e in entries if e not in old]
            if len(new) * 2 <= len(entries):
                return hash, new, sorted(_paths(old) - _paths(entries))
    return "", list(entries), []


def _paths(entries: Iterable[Entry]) -> set[str]:
    """Return the paths of a tree, those of its folders too."""
    found: set[str] = set()
    for entry in entries:
        path = entry.path
        while path and path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    return found


def _job(folder: Path, owner: Owner) -> Iterator[bytes]:
    """Yield the files of a job's folder."""
    return _below(folder, os.fsencode(folder.name), owned_by(*owner), 0o700, 0o600, _STAYS)


def _mark(name: str) -> Iterator[bytes]:
    """Yield the mark that follows something whole."""
    yield file_member(f"{name}.ok".encode(), b"")


def _below(
    base: Path, name: bytes, owner: bytes, folder_mode: int, mode: int, leave: frozenset[str] = frozenset()
) -> Iterator[bytes]:
    """Yield the files below a folder of this machine as tar members below ``name``; hidden ones stay."""
    yield folder_member(name, folder_mode, owner)
    for where, folders, files in os.walk(base, onerror=_unreadable):
        inner = os.path.relpath(where, base)
        if inner == ".":
            folders[:], files = ([n for n in names if n not in leave and n[0] != "."] for names in (folders, files))
        at = name if inner == "." else name + b"/" + os.fsencode(inner)
        folders.sort()
        for folder in folders:
            yield folder_member(at + b"/" + os.fsencode(folder), folder_mode, owner)
        for file in sorted(files):
            path = os.path.join(where, file)
            if not os.path.islink(path):
                yield file_member(at + b"/" + os.fsencode(file), _bytes_of(path), mode, owner)


def _bytes_of(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise _cannot_read(path, e) from e


def _unreadable(error: OSError) -> NoReturn:
    raise _cannot_read(str(error.filename), error) from error


def _cannot_read(path: str | Path, error: OSError) -> SubmitError:
    return SubmitError(f"{path}: cannot be read ({error.strerror})", hint="launch again")
