"""The content-addressed store of a target that is a folder on this machine: materialise, check, clean.

Layout, the same as on a remote target::

    objects/ab/cdef…     one file per content, read-only; ``x`` at the end when it is executable
    trees/<hash>.tgz     link archives of the trees sent last (remote targets only)
    incoming/<token>/    what is arriving; nothing in it counts

**Cleaning and launching at the same time.** An object's name in ``objects/`` is only a way to find its inode. A tree
holds its own hard links, so removing a name never takes a file out of a tree. A launch that wants an object either
makes its link before a clean-up removes the name, and keeps the file; or its link fails, and the launch writes the
object anew from its own capture. A new object gets its name by ``rename``, so it is never seen half-written. No lock
is needed, and none would work between two machines on every file system.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from runyard.errors import PackagingError
from runyard.home import ensure_private_dir, runyard_home
from runyard.snapshots.extract import cannot_write, make_folders, write_file
from runyard.snapshots.index import Index
from runyard.snapshots.manifest import FOLDER, LINK, Entry
from runyard.snapshots.packs import ObjectReader
from runyard.snapshots.snapshot import Snapshot

GRACE = 3600.0
"""Seconds that an unused object is left alone, however strict the policy: a launch may be about to link it."""

_FICLONE = 0x40049409
_REFUSED = (errno.EMLINK, errno.EPERM, errno.EXDEV, errno.EACCES, errno.ENOTSUP, errno.EDQUOT)


@dataclass
class Materialised:
    """What making a tree took.

    Attributes:
        path: The tree.
        existed: True when it was there already, complete; nothing was done.
        linked: Files that are hard links to objects.
        copied: Files with bytes of their own.
        new_objects: Objects that the store did not have.
        new_bytes: Their bytes.
        replaced: Keys of objects that had a wrong size, and were written anew.
    """

    path: Path
    existed: bool = False
    linked: int = 0
    copied: int = 0
    new_objects: int = 0
    new_bytes: int = 0
    replaced: list[str] = field(default_factory=list)


class Usage(NamedTuple):
    """What a store holds.

    Attributes:
        objects: Number of objects.
        bytes: Their bytes.
        unused_objects: Those that no tree links to.
        unused_bytes: Their bytes.
    """

    objects: int
    bytes: int
    unused_objects: int
    unused_bytes: int


class Swept(NamedTuple):
    """What a clean-up removed (or, in a dry run, would remove)."""

    objects: int
    bytes: int


class LocalStore:
    """A target's store in a folder of this machine.

    Args:
        root: The folder; made when missing. Default: the local snapshot store, which then needs no second copy of what
            lies in it (see :func:`runyard.snapshots.gc.gc`).

    Example:
        >>> store = LocalStore("/scratch/me/.runyard")                          # doctest: +SKIP
        >>> store.materialise(snapshot, "/scratch/me/.runyard/exp_1/code")      # doctest: +SKIP
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = Path(os.path.abspath(root)) if root is not None else runyard_home() / "snapshots"

    def materialise(
        self, snapshot: Snapshot, dest: str | os.PathLike[str], *, root_safe: bool | None = None
    ) -> Materialised:
        """Make the tree of a snapshot at ``dest``, whole or not at all.

        Files are hard links to read-only objects, folders are writable. A file gets bytes of its own where a link is
        refused (too many links); every file does on another file system than the store's, and with ``root_safe``.

        Args:
            snapshot: What to make.
            dest: The new folder. A folder that exists is a tree made before, and is left as it is.
            root_safe: True: make ordinary files (reflinks where the file system has them), because the job may run as
                root, whom read-only does not stop. None: when this process is root.

        Raises:
            PackagingError: when captured bytes are missing or damaged, or the disk is full.
        """
        result = Materialised(Path(os.path.abspath(dest)))
        if result.path.exists():
            result.existed = True
            return result
        copies = os.geteuid() == 0 if root_safe is None else root_safe
        try:
            ensure_private_dir(self.root)
            result.path.parent.mkdir(parents=True, exist_ok=True)
            work = self._work_folder(result.path)
            try:
                # On another file system than the store nothing can be linked.
                far = os.stat(work).st_dev != os.stat(self.root).st_dev
                self._build(snapshot, work, copies or far, result)
                _put_in_place(work / "t", result)
            finally:
                remove_tree(work)
        except OSError as error:
            raise cannot_write(result.path, error) from error
        return result

    def _work_folder(self, dest: Path) -> Path:
        """Return a new folder for building, on the file system of ``dest``, so that a rename can put it in place."""
        incoming = ensure_private_dir(self.root / "incoming")
        token = secrets.token_hex(8)
        same = os.stat(incoming).st_dev == os.stat(dest.parent).st_dev
        work = incoming / token if same else dest.parent / f".runyard-{token}"
        work.mkdir(mode=0o700)
        return work

    def _build(self, snapshot: Snapshot, work: Path, copies: bool, result: Materialised) -> None:
        top = str(work / "t")
        os.mkdir(top, 0o755)
        make_folders(snapshot.entries, top)
        missing: dict[str, list[Entry]] = {}
        objects = f"{self.root}/objects/"
        for entry in snapshot.entries:
            path, tag, size, value = entry
            target = f"{top}/{path}"
            if tag == LINK:
                os.symlink(value, target)
            elif tag == FOLDER:
                continue
            elif not size:
                os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o755 if tag == "x" else 0o644))
            elif copies or not self._link(objects + entry.key, target, entry, result):
                missing.setdefault(entry.key, []).append(entry)
        if missing:
            with Index(snapshot.folder) as index, ObjectReader(index, snapshot.folder) as reader:
                order = reader.locate([bytes.fromhex(group[0].value) for group in missing.values()])
                # In the order in which they lie in the packs: one pass over the disk.
                groups = sorted(missing.values(), key=lambda g: order.get(bytes.fromhex(g[0].value), (0, 0, 0)))
                for group in groups:
                    self._supply(group, top, work, reader, copies, result)

    def _link(self, source: str, target: str, entry: Entry, result: Materialised) -> bool:
        """Link one object into the tree; False when the store lacks it, or has it in the wrong size."""
        try:
            os.link(source, target)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            if os.stat(source).st_size != entry.size:
                return False
            _copy(source, target, entry)
            result.copied += 1
            return True
        if os.stat(target).st_size != entry.size:
            # Damaged. The name goes (trees that link the inode keep it: it is what they were given).
            os.unlink(target)
            _unlink(source)
            result.replaced.append(entry.key)
            return False
        result.linked += 1
        return True

    def _supply(
        self, group: list[Entry], top: str, work: Path, reader: ObjectReader, copies: bool, result: Materialised
    ) -> None:
        """Make the files of one content that the store lacks (or all of them, with ``copies``)."""
        first, path = group[0], f"{self.root}/objects/{group[0].key}"
        if copies:
            for entry in group:
                target = f"{top}/{entry.path}"
                if not _reflink(path, target, entry):
                    write_file(entry, target, reader, 0o755 if entry.executable else 0o644)
                result.copied += 1
            return
        part = f"{work}/object"
        write_file(first, part, reader, 0o600)
        os.chmod(part, 0o555 if first.executable else 0o444)
        try:
            os.rename(part, path)
        except FileNotFoundError:
            ensure_private_dir(Path(path).parent)
            os.rename(part, path)
        result.new_objects += 1
        result.new_bytes += first.size
        for entry in group:
            target = f"{top}/{entry.path}"
            if not self._link(path, target, entry, result):
                # A clean-up took the name away, or the disk cut the file short: this file gets its own bytes.
                write_file(entry, target, reader, 0o555 if entry.executable else 0o444)
                result.copied += 1

    def has(self, entry: Entry) -> bool:
        """Return True when an object is there in its right size."""
        try:
            return os.stat(self.root / "objects" / entry.key).st_size == entry.size
        except FileNotFoundError:
            return False

    def missing(self, snapshot: Snapshot) -> list[Entry]:
        """Return one entry per object that the store lacks, or has in the wrong size."""
        return [entry for entry in snapshot.objects().values() if not self.has(entry)]

    def objects(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield (key, status) of all objects."""
        top = self.root / "objects"
        for folder in sorted(os.listdir(top)) if top.is_dir() else ():
            with os.scandir(top / folder) as entries:
                for entry in entries:
                    try:
                        yield f"{folder}/{entry.name}", entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # a clean-up in another process

    def usage(self) -> Usage:
        """Return what the store holds."""
        count = total = unused = unused_bytes = 0
        for _, st in self.objects():
            count += 1
            total += st.st_size
            if st.st_nlink == 1:
                unused += 1
                unused_bytes += st.st_size
        return Usage(count, total, unused, unused_bytes)

    def verify(self, *, repair: bool = False) -> list[str]:
        """Read every object, and return the keys of those whose content is not what their name says.

        Args:
            repair: Take damaged objects out of the store; the next launch that needs one writes it anew. Trees made
                before keep the damaged file: their jobs should be launched again.
        """
        damaged = []
        for key, _ in self.objects():
            path = self.root / "objects" / key
            try:
                with path.open("rb") as file:
                    right = hashlib.file_digest(file, "sha256").hexdigest() == key.replace("/", "").removesuffix("x")
            except FileNotFoundError:
                continue
            if not right:
                damaged.append(key)
                if repair:
                    _unlink(str(path))
        return damaged

    def sweep(
        self,
        *,
        keep: frozenset[str] | set[str] = frozenset(),
        grace: float = GRACE,
        max_bytes: int | None = None,
        dry_run: bool = False,
    ) -> Swept:
        """Remove objects that no tree links to, oldest first.

        Safe while other processes launch: see the module's text.

        Args:
            keep: Keys, or hashes in hex, to leave alone.
            grace: Seconds since an object was last linked or unlinked, before which it stays.
            max_bytes: Stop as soon as what remains is this small; None removes all that is unused.
            dry_run: Only count.
        """  # fmt: skip
        now = time.time()
        total = 0
        candidates = []
        for key, st in self.objects():
            total += st.st_size
            sha = key.replace("/", "").removesuffix("x")
            if st.st_nlink == 1 and now - st.st_ctime >= grace and key not in keep and sha not in keep:
                candidates.append((st.st_ctime, st.st_size, key))
        count = freed = 0
        for _, size, key in sorted(candidates):
            if max_bytes is not None and total - freed <= max_bytes:
                break
            if not dry_run:
                _unlink(f"{self.root}/objects/{key}")
            count += 1
            freed += size
        if not dry_run:
            self._sweep_incoming(now)
        return Swept(count, freed)

    def _sweep_incoming(self, now: float) -> None:
        """Remove what launches that died a day ago left half-done."""
        incoming = self.root / "incoming"
        for path in incoming.iterdir() if incoming.is_dir() else ():
            try:
                if now - path.stat().st_mtime > 86400:
                    remove_tree(path)
            except FileNotFoundError:
                continue


def _put_in_place(built: Path, result: Materialised) -> None:
    try:
        os.rename(built, result.path)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        result.existed = True  # another launch made the same tree meanwhile


def _copy(source: str, target: str, entry: Entry) -> None:
    shutil.copyfile(source, target)
    os.chmod(target, 0o555 if entry.executable else 0o444)


def _reflink(source: str, target: str, entry: Entry) -> bool:
    """Share the bytes of an object copy-on-write, on file systems that can; return whether it worked."""
    try:
        with open(source, "rb") as src:
            if os.fstat(src.fileno()).st_size != entry.size:
                return False
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755 if entry.executable else 0o644)
            try:
                fcntl.ioctl(fd, _FICLONE, src.fileno())
            except OSError:
                os.unlink(target)
                return False
            finally:
                os.close(fd)
    except FileNotFoundError:
        return False
    return True


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def remove_tree(path: str | os.PathLike[str]) -> None:
    """Remove a code tree; a missing one is no error, and folders that a job made read-only are no obstacle.

    Only modes of folders are changed: a file's inode is shared with the store.

    Raises:
        PackagingError: when something in it cannot be removed.
    """
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError:
        try:
            for folder, _, _ in os.walk(path):
                os.chmod(folder, 0o700)
            shutil.rmtree(path)
        except OSError as error:
            raise PackagingError(
                f"{error.filename or path}: cannot be removed ({error.strerror})",
                hint="check who owns it, and remove it by hand",
            ) from error
