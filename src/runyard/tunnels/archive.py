"""Folders as a tar stream: packing one here, and unpacking one that another machine made, without trusting it."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from runyard.errors import TunnelError
from runyard.tunnels.base import Progress

if TYPE_CHECKING:
    import tarfile

MARK = "done"
"""Last member of a packed folder, beside ``t``: tar does not notice a stream that ends between two members."""
_BLOCK = 1 << 18


def contents(
    file: IO[bytes], size: int, name: str, progress: Progress | None, before: int, total: int
) -> Iterator[bytes]:
    """Yield a file of known size in pieces.

    Raises:
        TunnelError: when it has another size.
    """
    done = 0
    while done < size and (block := file.read(min(_BLOCK, size - done))):
        done += len(block)
        yield block
        if progress is not None:
            progress(before + done, total)
    if done < size or file.read(1):
        raise TunnelError(f"{name}: changed while it was read", hint="send it when nobody writes to it")
    if progress is not None and not total:
        progress(0, 0)


def pack(folder: Path, progress: Progress | None = None) -> Iterator[bytes]:
    """Yield a folder as a tar stream: its members below ``t``, then :data:`MARK`. Sockets and devices stay behind.

    Raises:
        TunnelError: naming a file that cannot be read, or changes meanwhile.
    """
    import tarfile

    members = list(_walk(folder, "t"))
    total = sum(info.st_size for _, _, info in members if stat.S_ISREG(info.st_mode))
    done = 0
    for path, name, info in members:
        entry = tarfile.TarInfo(name)
        entry.mode = stat.S_IMODE(info.st_mode) & 0o777
        entry.mtime = int(info.st_mtime)
        if stat.S_ISLNK(info.st_mode):
            entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(path)
        elif stat.S_ISDIR(info.st_mode):
            entry.type = tarfile.DIRTYPE
            entry.mode |= 0o700
        else:
            entry.size = info.st_size
        header = entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        if not entry.isreg():
            yield header
            continue
        try:
            with open(path, "rb") as file:
                yield header
                yield from contents(file, info.st_size, path, progress, done, total or 1)
        except OSError as error:
            raise TunnelError(f"{path}: cannot be read ({error.strerror})", hint="check its mode") from None
        done += info.st_size
        yield b"\0" * (-info.st_size % 512)
    yield tarfile.TarInfo(MARK).tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024
    if progress is not None and not total:
        progress(0, 0)


def _walk(folder: Path, name: str) -> Iterator[tuple[str, str, os.stat_result]]:
    try:
        yield str(folder), name, folder.stat()
        stack = [(str(folder), name)]
        while stack:
            where, prefix = stack.pop()
            for entry in sorted(os.scandir(where), key=lambda e: e.name):
                info = entry.stat(follow_symlinks=False)
                inner = f"{prefix}/{entry.name}"
                if stat.S_ISDIR(info.st_mode):
                    stack.append((entry.path, inner))
                elif not (stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode)):
                    continue
                yield entry.path, inner, info
    except OSError as error:
        raise TunnelError(f"{error.filename}: cannot be read ({error.strerror})", hint="check its mode") from None


class PieceReader:
    """Pieces as a file to read."""

    def __init__(self, pieces: Iterator[bytes], progress: Progress | None = None) -> None:
        self._pieces = pieces
        self._progress = progress
        self._buffer = bytearray()
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        while len(self._buffer) < size or size < 0:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._buffer += piece
            self._done += len(piece)
            if self._progress is not None:
                self._progress(self._done, 0)
        size = len(self._buffer) if size < 0 else size
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


def unpack(pieces: Iterator[bytes], folder: Path, progress: Progress | None = None) -> None:
    """Make a new folder out of a tar stream: files, folders and links, nothing outside of it, owned by this user.

    Raises:
        TunnelError: when the stream is damaged, or names something outside.
        OSError: when something cannot be written.
    """
    import tarfile

    folder.mkdir(mode=0o700)
    folders = {PurePosixPath()}
    later: list[tuple[Path, tarfile.TarInfo]] = []
    reader = PieceReader(pieces, progress)
    try:
        with tarfile.open(fileobj=reader, mode="r|", encoding="utf-8", errors="surrogateescape") as tar:  # type: ignore[call-overload]
            for member in tar:
                place = PurePosixPath(member.name)
                if place.is_absolute() or ".." in place.parts:
                    raise TunnelError(f"the target sent a path outside the folder: {member.name!r}")
                # Only folders made here are entered, so no link in the stream leads anywhere.
                for parent in [*reversed(place.parents), *([place] if member.isdir() else [])]:
                    if parent not in folders:
                        (folder / parent).mkdir(mode=0o700)
                        folders.add(parent)
                if member.isdir():
                    later.append((folder / place, member))
                else:
                    _unpack_one(tar, member, folder, place, folders)
    except (tarfile.TarError, EOFError) as error:
        raise TunnelError(f"the target sent a damaged archive: {error}", hint="try again") from None
    for path, member in reversed(later):
        os.chmod(path, member.mode & 0o777 | 0o700)
        os.utime(path, (member.mtime, member.mtime))


def _unpack_one(
    tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, place: PurePosixPath, folders: set[PurePosixPath]
) -> None:
    path = folder / place
    if member.issym():
        os.symlink(member.linkname, path)
    elif member.islnk():
        goal = PurePosixPath(member.linkname)
        if goal.parent not in folders or ".." in goal.parts:
            raise TunnelError(f"the target sent a link outside the folder: {member.name!r}")
        os.link(folder / goal, path, follow_symlinks=False)
    elif member.isreg():
        source = tar.extractfile(member)
        assert source is not None
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            shutil.copyfileobj(source, file, _BLOCK)
            os.fchmod(file.fileno(), member.mode & 0o777)
        os.utime(path, (member.mtime, member.mtime))


def merge(new: Path, target: Path) -> None:
    """Rename a finished folder to ``target``; where that exists, its files join those there, each by rename."""
    if not target.is_dir():
        os.rename(new, target)
        return
    for where, folders, files in os.walk(new):
        place = target / Path(where).relative_to(new)
        links = [name for name in folders if os.path.islink(os.path.join(where, name))]
        for name in folders:
            if name not in links:
                (place / name).mkdir(exist_ok=True)
        for name in [*files, *links]:
            os.replace(os.path.join(where, name), place / name)
    shutil.rmtree(new)


def remove(path: Path) -> None:
    """Remove a file or folder that may not be there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
