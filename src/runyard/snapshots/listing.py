"""What a packager found, before any content is read: plain data, size limits, and looking at one file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from runyard.errors import PackagingError
from runyard.snapshots.manifest import EXECUTABLE, FILE, LINK, printable
from runyard.snapshots.sizes import format_size


class Found(NamedTuple):
    """One thing to ship: where it goes, and where its bytes are.

    Attributes:
        path: Relative path in the tree.
        tag: ``f``, ``x``, ``l`` or ``d``, as in a manifest.
        source: Absolute path on disk; of a git blob, the path shown in messages.
        size: Bytes.
        mtime_ns: Time of the last change of the content, in nanoseconds.
        ctime_ns: Time of the last change of the inode, in nanoseconds.
        inode: Inode number.
        target: Target of a symlink.
        blob: Object id when the bytes come from git's database, else empty.
        repo: Folder of that repository.
    """

    path: str
    tag: str
    source: str
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0
    target: str = ""
    blob: str = ""
    repo: str = ""


class Skipped(NamedTuple):
    """A file that stays behind, and why."""

    path: str
    reason: str
    source: str = ""


@dataclass(frozen=True)
class CodeInfo:
    """Where a tree comes from; recorded with the run.

    Attributes:
        root: Folder that was packaged.
        commit: Full commit id, or empty (no repository, or no commit yet).
        branch: Branch name, or empty.
        committed_only: True when uncommitted work was left out on purpose.
        modified: Number of tracked files that differ from the commit (deleted ones included).
        untracked: Number of files that git does not track and that ship.
        diff: ``git diff HEAD`` as text, without credential files; cut at 1 MB.
    """

    root: str = ""
    commit: str = ""
    branch: str = ""
    committed_only: bool = False
    modified: int = 0
    untracked: int = 0
    diff: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        return dict(self.__dict__)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CodeInfo:
        """Rebuild from :meth:`to_dict`; fields that this version does not know are left out."""
        return cls(**{k: v for k, v in data.items() if k in cls.__dataclass_fields__})


@dataclass
class Listing:
    """Everything a packager found; :func:`runyard.snapshots.capture.capture` makes a snapshot of it."""

    found: list[Found]
    roots: tuple[str, ...]
    info: CodeInfo = field(default_factory=CodeInfo)
    warnings: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def look(source: str, path: str) -> Found | None:
    """Look at one file or symlink without following it; None when there is none.

    Args:
        source: Absolute path on disk.
        path: Where it goes in the tree.

    Raises:
        PackagingError: for a socket, device or FIFO, or when it may not be looked at.
    """
    try:
        st = os.lstat(source)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(source, error) from None
    mode = st.st_mode
    if stat.S_ISREG(mode):
        tag = EXECUTABLE if mode & 0o111 else FILE
        return Found(path, tag, source, st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino)
    if stat.S_ISLNK(mode):
        return Found(path, LINK, source, target=os.readlink(source))
    if stat.S_ISDIR(mode):
        return Found(path, "d", source)
    raise special_file(source, mode)


def special_file(source: str, mode: int) -> PackagingError:
    """Return the error for something that is no file, link or folder."""
    kinds = {
        stat.S_IFSOCK: "socket",
        stat.S_IFIFO: "FIFO",
        stat.S_IFBLK: "block device",
        stat.S_IFCHR: "character device",
    }
    kind = kinds.get(stat.S_IFMT(mode), "special file")
    return PackagingError(
        f"{printable(source)}: a {kind} cannot ship", hint="remove it, or exclude it (.gitignore or exclude_pattern)"
    )


def unreadable(source: str, error: OSError) -> PackagingError:
    """Return the error for a file or folder that the system refuses to read."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return PackagingError(
        f"{printable(source)}: cannot be read ({reason})",
        hint="give yourself read permission (chmod u+r), or exclude it (.gitignore or exclude_pattern)",
    )


def check_size(found: Sequence[Found], *, max_size: int | None, warn_size: int | None, root: str) -> str:
    """Stop before gigabytes ship by accident.

    Args:
        found: What is about to ship.
        max_size: Most bytes that may ship; None for no limit.
        warn_size: Bytes above which a warning is returned; None for never.
        root: The folder, for the message.

    Returns:
        A warning, or an empty string.

    Raises:
        PackagingError: above ``max_size``; it names the largest files and says how to exclude them.
    """
    total = sum(f.size for f in found)
    if max_size is not None and total > max_size:
        raise PackagingError(
            f"{printable(root)}: {format_size(total)} would ship, more than max_size={format_size(max_size)}; "
            f"largest:\n{_largest(found, 10)}",
            hint="exclude them (.gitignore, exclude_pattern, subpath), or raise max_size on the packager",
        )
    if warn_size is not None and total > warn_size:
        return f"{format_size(total)} of code ships; largest:\n{_largest(found, 3)}"
    return ""


def _largest(found: Iterable[Found], count: int) -> str:
    top = sorted(found, key=lambda f: (-f.size, f.path))[:count]
    return "\n".join(f"  {format_size(f.size):>8}  {printable(f.path)}" for f in top)


def leaving_links(found: Iterable[Found]) -> list[str]:
    """Return the paths of symlinks whose target lies outside the tree (they ship as they are)."""
    leaving = []
    for item in found:
        if item.tag != LINK:
            continue
        parts = item.path.split("/")[:-1]
        out = item.target.startswith("/")
        for part in [] if out else item.target.split("/"):
            if part == "..":
                if not parts:
                    out = True
                    break
                parts.pop()
            elif part not in ("", "."):
                parts.append(part)
        if out:
            leaving.append(item.path)
    return leaving
