"""How files of jobs are listed and fetched through a tunnel: one script each, for any number of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from runyard.backends.fetching import Entry, Fetcher, HereFetcher, Listing, Progress
from runyard.errors import TunnelError
from runyard.tunnels import Tunnel, archive
from runyard.tunnels.failures import Interrupted, tail
from runyard.tunnels.transfer import quote

_SECONDS = 300.0
"""How long a look at a folder may take."""
_TRIES = 4
_EXIT_NOT_THERE = 44
_LEFT_OUT = (1, 2)
"""Exit codes of GNU tar when files changed, or could not be read; what came is whole."""
_CUT_SHORT = ": File shrank by "


def list_script(folder: str, starts: Sequence[str]) -> str:
    """Return the script that lists a folder; :func:`parse_listing` reads what it prints.

    It prints strings that end in NUL: the folder's own path, then for each name two, ``kind size mtime ./path`` and
    where a link leads. ``-printf`` is GNU's ``find``, ``-H`` follows the links that it is given, and no others.

    Args:
        folder: The folder there; ``~/`` is the home folder.
        starts: Places below it.
    """
    places = " ".join(quote(f"./{start}" if start != "." else ".") for start in starts)
    return f"""LC_ALL=C; export LC_ALL
F={quote(folder)}
[ -d "$F" ] || exit {_EXIT_NOT_THERE}
cd -- "$F" || exit
show() {{ find -H "$@" -printf '%y %s %T@ %p\\0%l\\0'; }}
printf '%s\\0' "$(pwd -P)"
show . -mindepth 1 -maxdepth 1; code=$?
for place in {places}; do
  [ ! -e "$place" ] || show "$place" || code=$?
done
exit $code
"""


def parse_listing(data: bytes, problems: Sequence[str] = ()) -> Listing:
    """Return what :func:`list_script` printed.

    Raises:
        TunnelError: for a path that leads outside of the folder.
    """
    root, *words = data.decode("utf-8", "surrogateescape").split("\0")
    found: dict[str, Entry] = {}
    for head, target in zip(words[::2], words[1::2], strict=False):
        kind, size, mtime, path = head.split(" ", 3)
        name = path.removeprefix("./")
        if name.startswith("/") or ".." in name.split("/"):
            raise TunnelError(f"the target listed a path outside the folder: {name!r}")
        if name != ".":
            found[name] = Entry(name, kind, int(size), _nanoseconds(mtime), target)
    return Listing(root, found, tuple(problems))


def _nanoseconds(text: str) -> int:
    """Return a time with a fraction of seconds as whole nanoseconds; a float does not hold so many digits.

    Example:
        >>> _nanoseconds("1795257339.5331319140")
        1795257339533131914
    """
    seconds, _, fraction = text.partition(".")
    return int(seconds) * 10**9 + int(fraction[:9].ljust(9, "0"))


def fetch_script(folder: str) -> str:
    """Return the script that prints, as a tar stream, the files whose names come on its standard input.

    The options are GNU tar's. ``--format=posix`` keeps fractions of seconds; names end in NUL and are taken as they
    are; a file that cannot be read is left out and told, not a reason to fail.
    """
    return f"""unset TAR_OPTIONS; LC_ALL=C; export LC_ALL
cd -- {quote(folder)} || exit {_EXIT_NOT_THERE}
exec tar --create --file=- --format=posix --dereference --hard-dereference --ignore-failed-read \\
  --quoting-style=literal --no-recursion --null --files-from=-
"""


def names_for(names: Sequence[str]) -> Iterator[bytes]:
    """Yield what :func:`fetch_script` reads."""
    for name in names:
        yield _bytes(f"./{name}\0")


def cut_short(names: Sequence[str], said: bytes) -> list[str]:
    """Return the files that became shorter while tar read them: it fills up with zeros what is missing.

    Args:
        names: The files that were asked for.
        said: What tar said.
    """
    if _CUT_SHORT.encode() not in said:
        return []
    return [name for name in names if _bytes(f": ./{name}{_CUT_SHORT}") in said]


@dataclass(frozen=True)
class TunnelFetcher:
    """The files of the machine behind a tunnel.

    Args:
        tunnel: How to reach it.
    """

    tunnel: Tunnel
    here = False

    def where(self, folder: str) -> str:
        """Return a folder with its machine."""
        return f"{self.tunnel.name}:{folder}"

    def look(self, folder: str, starts: Sequence[str]) -> Listing | None:
        """Return what lies in a folder, by one script; see :meth:`~runyard.backends.fetching.Fetcher.look`."""
        raw = self.tunnel.shell().raw(_bytes(list_script(folder, starts)), repeat=True, timeout=_SECONDS)
        if raw.code == _EXIT_NOT_THERE:
            return None
        said = raw.stderr.decode("utf-8", "replace")
        if raw.code and (not raw.stdout or "-printf" in said):
            raise TunnelError(
                f"{self.where(folder)}: cannot be listed\n{tail(said, 4)}".rstrip(),
                hint="you must be able to read it, and `find` there must be GNU's",
            )
        # What a running job removes meanwhile is no problem.
        return parse_listing(raw.stdout, [x for x in said.splitlines() if "No such file" not in x])

    def fetch(self, folder: str, names: Sequence[str], into: Path, progress: Progress) -> str:
        """Copy files to this machine, by one script; see :meth:`~runyard.backends.fetching.Fetcher.fetch`.

        After a lost connection it begins anew.
        """
        for attempt in range(1, _TRIES + 1):
            archive.remove(into)
            try:
                return self._fetch(folder, names, into, progress)
            except Interrupted as lost:
                if attempt == _TRIES:
                    raise TunnelError(
                        f"{self.where(folder)}: could not be fetched: {lost.message}", hint="try again"
                    ) from lost
        raise AssertionError("unreachable")

    def _fetch(self, folder: str, names: Sequence[str], into: Path, progress: Progress) -> str:
        with self.tunnel.shell().stream(_bytes(fetch_script(folder)), names_for(names), checked=False) as stream:
            pieces = filter(None, stream)
            if (first := next(pieces, None)) is not None:
                archive.unpack(chain([first], pieces), into, lambda done, _: progress(done))
            stream.drain()
        said = stream.stderr.decode("utf-8", "replace")
        if first is None or stream.code not in (0, *_LEFT_OUT):
            raise TunnelError(
                f"{self.where(folder)}: could not be fetched (exit code {stream.code})\n{tail(said, 4)}".rstrip(),
                hint="`tar` there must be GNU's",
            )
        for name in cut_short(names, stream.stderr):
            (into / name).unlink(missing_ok=True)
        return tail(said, 3)


def fetcher_for(tunnel: Tunnel) -> Fetcher:
    """Return what reads the files of jobs that were submitted through a tunnel."""
    return HereFetcher() if tunnel.kind == "local" else TunnelFetcher(tunnel)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
