"""Files and folders through a shell: under a temporary name first, then renamed."""

from __future__ import annotations

import os
import secrets
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from runyard.errors import TunnelError
from runyard.tunnels import archive
from runyard.tunnels.base import Progress
from runyard.tunnels.failures import Interrupted, tail
from runyard.tunnels.shells import PersistentShell, Stream

_BLOCK = 1 << 18
_TRIES = 4
_EXIT_NOT_THERE = 44
_EXIT_UNREADABLE = 45
_EXIT_IS_FOLDER = 46
_EXIT_INCOMPLETE = 47


def quote(path: str) -> str:
    """Quote a path for ``sh``; a leading ``~/`` stays the target's home folder, and a leading dash is no option.

    Example:
        >>> print(quote("~/a b"), quote("-x"))
        "$HOME"/'a b' ./-x
    """
    if path == "~":
        return '"$HOME"'
    if path.startswith("~/"):
        return f'"$HOME"/{shlex.quote(path[2:]) if path[2:] else ""}'
    return shlex.quote(f"./{path}" if path.startswith("-") else path)


def put(shell: PersistentShell, name: str, local: Path, remote: str, progress: Progress | None) -> None:
    """Bring a file or folder to the target; see :meth:`runyard.tunnels.base.Tunnel.put`."""
    _check_path(remote)
    send = _put_folder if local.is_dir() else _put_file
    for attempt in range(1, _TRIES + 1):
        try:
            return send(shell, name, local, remote, progress)
        except Interrupted as lost:
            # What arrived has a temporary name, so doing it again does no harm.
            if attempt == _TRIES:
                raise TunnelError(f"{name}: {local} could not be sent: {lost.message}", hint="try again") from lost
    return None


def _put_file(shell: PersistentShell, name: str, local: Path, remote: str, progress: Progress | None) -> None:
    try:
        file = local.open("rb")
    except OSError as error:
        raise TunnelError(f"{local}: cannot be read ({error.strerror})", hint="check the path") from None
    with file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise TunnelError(f"{local}: is neither a file nor a folder", hint="only those can be sent")

        def pieces() -> Iterator[bytes]:
            yield from archive.contents(file, info.st_size, str(local), progress, 0, info.st_size)

        script = _receive_file(remote, local.name, info.st_size, stat.S_IMODE(info.st_mode) & 0o777)
        answer = shell(os.fsencode(script), pieces())
    _check_put(answer.code, answer.stderr, name, remote)


def _receive_file(remote: str, local_name: str, size: int, mode: int) -> str:
    folder = "true" if remote.endswith("/") or remote in ("~", "", ".", "..") else '[ -d "$D" ]'
    parent, slash, base = remote.rpartition("/")
    parent = (parent or "/") if slash else "."
    # The size tells a whole file from one whose connection broke off.
    return f"""D={quote(remote or ".")}
if {folder}; then P=$D; N={shlex.quote(local_name)}; else P={quote(parent)}; N={shlex.quote(base)}; fi
mkdir -p -- "$P" || exit 1
[ ! -d "$P/$N" ] || exit {_EXIT_IS_FOLDER}
T=$P/.ry-{secrets.token_hex(6)}
fail() {{ rm -f -- "$T"; exit $1; }}
(umask 077; cat >"$T") || fail $?
[ "$(wc -c <"$T")" -eq {size} ] || fail {_EXIT_INCOMPLETE}
chmod {mode:o} "$T" && mv -f -- "$T" "$P/$N" || fail $?
"""


def _put_folder(shell: PersistentShell, name: str, local: Path, remote: str, progress: Progress | None) -> None:
    target = remote.rstrip("/") or "/"
    parent, slash, _ = target.rpartition("/")
    parent = (parent or "/") if slash else "."
    # {""} is {} for the inner find only: one command line may hold it once.
    script = f"""D={quote(target)}; P={quote(parent)}
if [ -d "$D" ]; then P=$D; else mkdir -p -- "$P" || exit 1; fi
P=$(cd -- "$P" && pwd -P && echo .) || exit 1
T=${{P%??}}/.ry-{secrets.token_hex(6)}
fail() {{ rm -rf -- "$T"; exit $1; }}
mkdir -- "$T" && (cd -- "$T" && tar -xpof -) || fail $?
[ -f "$T/{archive.MARK}" ] || fail {_EXIT_INCOMPLETE}
[ -d "$D" ] || {{ mv -- "$T/t" "$D" || fail $?; }}
[ ! -d "$T/t" ] || {{
  D=$(cd -- "$D" && pwd -P && echo .) && D=${{D%??}} && cd -- "$T/t" || fail 1
  find . -type d -exec sh -c 'D=$1; shift; for d; do
    [ -d "$D/$d" ] || mkdir -- "$D/$d" || exit 1
    find "$d/." -mindepth 1 -maxdepth 1 ! -type d -exec sh -c "$0" _ "$D/$d" {{""}} + || exit 1
  done' 'd=$1; shift; mv -f -- "$@" "$d"' "$D" {{}} + || fail $?
}}
cd / && rm -rf -- "$T"
"""
    answer = shell(os.fsencode(script), archive.pack(local, progress))
    _check_put(answer.code, answer.stderr, name, remote)


def _check_put(code: int, stderr: str, name: str, remote: str) -> None:
    if code == 0:
        return
    where = f"{name}:{remote}"
    said = tail(stderr, 4)
    low = stderr.lower()
    if code == _EXIT_IS_FOLDER:
        raise TunnelError(f"{where}: is a folder there", hint="give another name")
    if "no space left" in low or "quota" in low:
        raise TunnelError(f"{where}: no space left\n{said}", hint="free space there, or choose another folder")
    if "permission denied" in low or "read-only" in low:
        raise TunnelError(f"{where}: cannot be written\n{said}", hint="choose a folder that you may write to")
    if code == _EXIT_INCOMPLETE:
        raise TunnelError(f"{where}: arrived incomplete\n{said}".rstrip(), hint="try again")
    raise TunnelError(f"{where}: could not be written (exit code {code})\n{said}".rstrip(), hint="check the path")


def get(shell: PersistentShell, name: str, remote: str, local: str | Path, progress: Progress | None) -> None:
    """Bring a file or folder from the target; see :meth:`runyard.tunnels.base.Tunnel.get`."""
    _check_path(remote)
    base = remote.rstrip("/").rpartition("/")[2]
    inside = os.fspath(local).endswith("/")
    target = Path(local).expanduser()
    fetch = _Fetch(shell, name, remote, progress)
    try:
        (target if inside else target.parent).mkdir(parents=True, exist_ok=True)
        fetch.begin(target / base if inside or target.is_dir() else target, target)
        for attempt in range(1, _TRIES + 1):
            try:
                return fetch.run()
            except Interrupted as lost:
                if attempt == _TRIES:
                    raise TunnelError(
                        f"{fetch.where}: could not be fetched: {lost.message}", hint="try again"
                    ) from lost
    except OSError as error:
        raise TunnelError(
            f"{error.filename or target}: cannot be written ({error.strerror})", hint="check path and free space"
        ) from None
    finally:
        fetch.end()
    return None


class _Fetch:
    """One file or folder on its way here."""

    def __init__(self, shell: PersistentShell, name: str, remote: str, progress: Progress | None) -> None:
        self._shell = shell
        self._name = name
        self._remote = remote
        self._progress = progress
        self._signature = b""
        self._done = 0
        self.where = f"{name}:{remote}"

    def begin(self, file: Path, folder: Path) -> None:
        """Say where a file goes, or a folder; nothing is written yet."""
        self._file = file
        self._folder = folder
        self._part = folder.parent / f".ry-{secrets.token_hex(6)}"
        if file != folder:
            self._part = file.parent / self._part.name

    def run(self) -> None:
        """Fetch it, or what of a file is still missing."""
        with self._shell.stream(os.fsencode(self._script()), checked=False) as stream:
            pieces = iter(stream)
            head = b""
            while b"\n" not in head and (piece := next(pieces, None)) is not None:
                head += piece
            line, _, rest = head.partition(b"\n")
            if line.startswith(b"f "):
                self._receive_file(line, _chain(rest, pieces))
            elif line == b"d":
                archive.remove(self._part)
                archive.unpack(_chain(rest, pieces), self._part, self._progress)
            stream.drain()
        self._check(stream)
        if line == b"d":
            archive.merge(self._part, self._folder)
        else:
            os.chmod(self._part, int(line.split()[-1], 8) & 0o777)
            os.replace(self._part, self._file)

    def end(self) -> None:
        """Remove what is unfinished."""
        if hasattr(self, "_part"):
            archive.remove(self._part)

    def _script(self) -> str:
        # GNU and BusyBox have `stat -c`, BSD and macOS `stat -f`. The head stops at what the size was: files may grow.
        return f"""F={quote(self._remote)}
[ -e "$F" ] || exit {_EXIT_NOT_THERE}
[ -r "$F" ] || exit {_EXIT_UNREADABLE}
if [ -d "$F" ]; then echo d; cd -- "$F" && exec tar -cf - .; exit 1; fi
s=$(stat -L -c '%s %Y %a' -- "$F" 2>/dev/null || stat -L -f '%z %m %Lp' -- "$F") || exit 1
echo "f $s"
exec <"$F" || exit {_EXIT_UNREADABLE}
n=$((${{s%% *}} - {self._done}))
[ $n -gt 0 ] || exit 0
tail -c +{self._done + 1} | head -c $n
"""

    def _receive_file(self, line: bytes, pieces: Iterator[bytes]) -> None:
        if self._signature not in (b"", line):
            self._done = 0
            self._signature = b""
            raise Interrupted(f"{self.where}: changed while it was read", hint="get it when nobody writes to it")
        self._signature = line
        size = int(line.split()[1])
        if self._progress is not None and not size:
            self._progress(0, 0)
        # Appending to what arrived before the connection was lost.
        with self._part.open("r+b" if self._done else "wb") as part:
            part.seek(self._done)
            for piece in pieces:
                part.write(piece)
                self._done += len(piece)
                if self._progress is not None and piece:
                    self._progress(self._done, size)
        if self._done != size:
            self._done = -1

    def _check(self, stream: Stream) -> None:
        said = stream.stderr.decode("utf-8", "replace")
        if stream.code == _EXIT_NOT_THERE:
            raise TunnelError(f"{self.where}: is not there", hint="check the path")
        if stream.code == _EXIT_UNREADABLE:
            raise TunnelError(f"{self.where}: you may not read it", hint="check its owner and mode")
        lines = [line for line in said.splitlines() if line.strip()]
        # GNU tar: 1 when files changed or went away meanwhile, as those of a running job do. What came is whole.
        mild = stream.code == 1 and lines and all(("as we read it" in x or "before we read it" in x) for x in lines)
        if stream.code and not mild:
            raise TunnelError(f"{self.where}: could not be read (exit code {stream.code})\n{tail(said, 4)}".rstrip())
        if self._done < 0:
            raise TunnelError(f"{self.where}: changed while it was read", hint="get it when nobody writes to it")


def _chain(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from pieces


def _check_path(remote: str) -> None:
    if "\0" in remote:
        raise TunnelError(f"{remote!r}: no path holds a NUL byte", hint="correct it")
