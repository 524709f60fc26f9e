"""How files of jobs are listed and fetched from a volume of an engine on another machine."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from runyard.backends.docker.files import Gone
from runyard.backends.docker.plan import EXPERIMENT_DIR
from runyard.backends.docker.remote import Remote, image_of
from runyard.backends.fetching import Entry, Listing, Progress
from runyard.errors import BackendError, TunnelError
from runyard.snapshots.tarstream import END, file_member
from runyard.tunnels import archive

_KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}
_NOT_THERE = 44
_FETCH = ".fetch"

# Two parts, each ended by a NUL: records of `stat`, which begin with "//", a text that no path holds; and links with
# their goals. Only what coreutils and BusyBox both have.
_LIST = r"""
cd -- "$1" 2>/dev/null || exit 44
shift
pwd -P
printf '\0'
find . -mindepth 1 -maxdepth 1 -exec stat -c '//%f %s %Y %n' {} +
for place; do
  at=./$place; [ "$place" != . ] || at=.
  [ -e "$at" ] || continue
  [ "$at" = . ] || stat -L -c '//%f %s %Y %n' -- "$at"
  find -H "$at" -mindepth 1 -exec stat -c '//%f %s %Y %n' {} +
done
printf '\0'
goals() {
  find -H "$@" -type l -exec sh -c '
    for link; do printf "%s\0" "$link"; readlink -- "$link" && printf "\0"; done' sh {} +
}
goals . -mindepth 1 -maxdepth 1
for place; do
  at=./$place; [ "$place" != . ] || at=.
  [ ! -e "$at" ] || goals "$at" -mindepth 1
done
exit 0
"""
_GATHER = r"""
cd -- "$1" || exit 44
goal=$2 names=$3
[ -f "$names" ] || exit 0  # run once more: it had come to its end
mkdir -p "$goal" || exit 1
G=$goal xargs -0 sh -c '
  for file; do
    case $file in */*) mkdir -p -- "$G/${file%/*}" ;; esac
    [ -h "$file" ] || ln -- "$file" "$G/$file" 2>/dev/null || cp -L -p -- "$file" "$G/$file"
    [ ! -h "$file" ] || cp -L -p -- "$file" "$G/$file"
  done' sh < "$names"
rm -f "$names"
exit 0
"""


class VolumeFetcher:
    """The files of an experiment in its volume; folders are named as they are called in its record here.

    Args:
        remote: The engine.
        document: What the containers of a job are made of.
        record: The experiment's folder on this machine.
        machine: The engine's machine, for messages.
    """

    here = False

    def __init__(self, remote: Remote, document: Mapping[str, Any], record: str, machine: str) -> None:
        self._remote = remote
        self._volume = str(document["volume"])
        self._image = image_of(document)
        self._record = record
        self._machine = machine

    def where(self, folder: str) -> str:
        """Return a folder with its machine and volume."""
        return f"{self._machine}:{self._volume}{self._there(folder).removeprefix(EXPERIMENT_DIR)}"

    def look(self, folder: str, starts: Sequence[str]) -> Listing | None:
        """Return what lies in a folder, by one script; see :meth:`~runyard.backends.fetching.Fetcher.look`."""
        try:
            if not self._remote.files.has_volume(self._volume):
                return None
            ran = self._remote.helper(self._volume, self._image).run(_LIST, self._there(folder), *starts)
        except BackendError as e:
            raise TunnelError(f"{self.where(folder)}: {e.message}", hint=e.hint) from e
        return None if ran.code == _NOT_THERE else parse_listing(ran.out, ran.err)

    def fetch(self, folder: str, names: Sequence[str], into: Path, progress: Progress) -> str:
        """Copy files to this machine, as one stream; see :meth:`~runyard.backends.fetching.Fetcher.fetch`."""
        token = secrets.token_hex(6)
        helper = self._remote.helper(self._volume, self._image)
        goal, listed = f"{EXPERIMENT_DIR}/{_FETCH}/{token}", f"{EXPERIMENT_DIR}/{_FETCH}.{token}"
        unpacked = into.with_name(f"{into.name}.tar")
        try:
            data = b"".join(os.fsencode(f"{name}\0") for name in names)
            member = file_member(os.path.basename(listed).encode(), data)
            self._remote.files.put(helper.id(), EXPERIMENT_DIR, iter([member, END]))
            gathered = helper.run(_GATHER, self._there(folder), goal, listed)
            said = gathered.err.decode("utf-8", "replace")
            if gathered.code:
                raise TunnelError(f"{self.where(folder)}: could not be fetched: {said.strip()}", hint="try again")
            archive.remove(into)
            archive.remove(unpacked)
            archive.unpack(self._remote.files.pieces(helper.id(), goal), unpacked, lambda done, _: progress(done))
            if (unpacked / token).is_symlink():  # a task, which may write there, has put it in our folder's place
                raise TunnelError(f"{self.where(folder)}: a link came instead of the files", hint="try again")
            os.rename(unpacked / token, into)
        except Gone as e:
            raise TunnelError(f"{self.where(folder)}: the files are gone", hint="try again") from e
        except BackendError as e:
            raise TunnelError(f"{self.where(folder)}: could not be fetched: {e.message}", hint=e.hint) from e
        finally:
            archive.remove(unpacked)
            with suppress(BackendError):
                helper.run('rm -rf "$1" "$2"', goal, listed)
        return "\n".join(said.splitlines()[:3])

    def _there(self, folder: str) -> str:
        """Return the path in the containers of a folder of the record."""
        inner = os.path.relpath(folder, self._record)
        assert not inner.startswith(".."), folder
        return EXPERIMENT_DIR if inner == "." else f"{EXPERIMENT_DIR}/{inner}"


def parse_listing(out: bytes, said: bytes = b"") -> Listing:
    r"""Return what the script has printed.

    Raises:
        TunnelError: for a path that leads outside of the folder, and for what is no listing.

    Example:
        >>> parse_listing(b"/x\n\0//81a4 5 9 ./a\nb\n//a1ff 1 9 ./l\n\0./l\0a\nb\n\0").entries["a\nb"]
        Entry(name='a\nb', kind='f', size=5, mtime=9000000000, target='')
    """
    root, _, rest = out.partition(b"\n\0")
    found: dict[str, Entry] = {}
    records, _, links = rest.partition(b"\0")
    words = links.split(b"\0")
    goals = {k: v.removesuffix(b"\n") for k, v in zip(words[::2], words[1::2], strict=False)}
    for record in (b"\n" + records).split(b"\n//")[1:]:
        try:
            mode, size, mtime, path = record.removesuffix(b"\n").split(b" ", 3)
            kind, numbers = _KINDS.get(stat.S_IFMT(int(mode, 16)), "?"), (int(size), int(mtime) * 10**9)
        except ValueError:
            raise TunnelError(f"the engine listed what is no file: {record!r}", hint="see the image's `stat`") from None
        name = os.fsdecode(path.removeprefix(b"./"))
        if name.startswith("/") or ".." in name.split("/"):
            raise TunnelError(f"the engine listed a path outside the folder: {name!r}")
        goal = os.fsdecode(goals.get(path, b"")) if kind == "l" else ""
        found[name] = Entry(name, kind, *numbers, goal)
    problems = [x for x in said.decode("utf-8", "replace").splitlines() if "No such file" not in x]
    return Listing(os.fsdecode(root), found, tuple(dict.fromkeys(problems)))
