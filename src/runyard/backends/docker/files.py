"""Files of containers, and volumes: what an engine on another machine is asked for instead of a folder of this one."""

from __future__ import annotations

import base64
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from runyard.backends.docker.engine import Engine, sdk
from runyard.backends.docker.outcome import when
from runyard.errors import Unavailable
from runyard.snapshots.tarstream import gzipped
from runyard.tunnels.archive import PieceReader

_BLOCK = 1 << 18
_LONG_SECONDS = 900
"""How long an engine may say nothing while it copies or writes many files."""
_STAT = "X-Docker-Container-Path-Stat"


@dataclass(frozen=True)
class Stat:
    """What an engine says of a file.

    Args:
        size: Bytes.
        mtime: Last change, seconds since the epoch; 0 where it is not known.
    """

    size: int
    mtime: float


class Ran(NamedTuple):
    """What a command in a container did."""

    code: int
    out: bytes
    err: bytes


class Gone(Exception):
    """The container is not there, or does not run."""


class Files:
    """Reads and writes files of an engine's containers, whether they run or not.

    Args:
        engine: Which engine.

    Source: ``/containers/{id}/archive`` and ``/exec`` in the reference of the Docker Engine API.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    # -- volumes -------------------------------------------------------------------------------

    def make_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a volume, unless there is one of that name."""
        with self.engine.asking() as client, self.engine.submitting():
            client.api.create_volume(name, labels=dict(labels))

    def has_volume(self, name: str) -> bool:
        """Say whether there is a volume."""
        with self.engine.asking() as client, self.engine.reading():
            try:
                client.api.inspect_volume(name)
            except sdk().errors.NotFound:
                return False
            return True

    def remove_volume(self, name: str) -> None:
        """Remove a volume; one that is gone, or in use, is left alone."""
        with self.engine.asking() as client, suppress(sdk().errors.APIError):
            client.api.remove_volume(name, force=True)

    # -- files ---------------------------------------------------------------------------------

    def stat(self, id: str, path: str) -> Stat | None:
        """Return what there is at a path of a container, or ``None``.

        Raises:
            Gone: when the container is not there.
        """
        with self.engine.asking() as client, self.engine.reading():
            try:
                url = client.api._url("/containers/{0}/archive", id)
                answer = client.api.head(url, params={"path": path}, timeout=client.api.timeout)
                if answer.status_code == 404:
                    _check(client, id)
                    return None
                client.api._raise_for_status(answer)
            except sdk().errors.NotFound as e:
                raise Gone from e
            return _stat(json.loads(base64.b64decode(answer.headers[_STAT])))

    @contextmanager
    def reading(self, id: str, path: str) -> Iterator[tuple[Stat, IO[bytes]] | None]:
        """Give what is known of a file and the file to read from, or ``None`` when there is none.

        A file that grows meanwhile ends where it ended at first.

        Raises:
            Gone: when the container is not there.
        """
        with self.engine.asking() as client, self.engine.reading():
            try:
                pieces, about = client.api.get_archive(id, path, chunk_size=_BLOCK)
            except sdk().errors.NotFound:
                _check(client, id)
                yield None
                return
            try:
                with tarfile.open(fileobj=PieceReader(pieces), mode="r|") as tar:  # type: ignore[call-overload]
                    member = tar.next()
                    file = tar.extractfile(member) if member is not None and member.isreg() else None
                    yield (_stat(about), file) if file is not None else None
            except tarfile.TarError as e:
                raise Unavailable(f"the Docker engine at {self.engine.address} sent a damaged archive: {e}") from e
            finally:
                pieces.close()

    def pieces(self, id: str, path: str) -> Iterator[bytes]:
        """Yield a folder or file of a container as a tar stream."""
        with self.engine.asking() as client, self.engine.reading():
            try:
                pieces, _ = client.api.get_archive(id, path, chunk_size=_BLOCK)
            except sdk().errors.NotFound as e:
                raise Gone from e
            yield from pieces

    def put(self, id: str, folder: str, members: Iterable[bytes]) -> None:
        """Unpack a tar stream, which is compressed on its way, in a folder of a container.

        Raises:
            Gone: when the container or the folder is not there.
            SubmitError: when the engine refuses it.
        """
        with self.engine.asking() as client, self.engine.submitting():
            try:
                # docker-py's put_archive would wait a minute for the engine to have written everything down.
                url, data = client.api._url("/containers/{0}/archive", id), gzipped(members, level=1)
                answer = client.api.put(url, params={"path": folder}, data=data, timeout=_LONG_SECONDS)
                client.api._raise_for_status(answer)
            except sdk().errors.NotFound as e:
                raise Gone from e

    # -- commands ------------------------------------------------------------------------------

    def run(self, id: str, argv: Sequence[str]) -> Ran:
        """Run a command in a container that runs, as root, and return what it printed.

        Raises:
            Gone: when the container does not run.
        """
        with self.engine.asking() as client, self.engine.reading():
            api = client.api
            try:
                made = api.exec_create(id, list(argv), user="0:0")
                # Without the upgrade that docker-py's exec_start asks for: it loses what comes with the headers.
                start = api._url("/exec/{0}/start", made["Id"])
                answer = api._post_json(start, data={"Tty": False, "Detach": False}, stream=True, timeout=_LONG_SECONDS)
                api._raise_for_status(answer)
                out, err = demultiplexed(answer.raw.read())
                answer.close()
                code = api.exec_inspect(made["Id"])["ExitCode"]
            except sdk().errors.APIError as e:
                if e.status_code in (404, 409):
                    raise Gone from e
                raise
        if code is None:
            raise Gone  # it was killed together with its container
        return Ran(int(code), out, err)


def demultiplexed(data: bytes) -> tuple[bytes, bytes]:
    r"""Return the standard output and the messages of a stream that holds both.

    Example:
        >>> demultiplexed(b"\1\0\0\0\0\0\0\2hi\2\0\0\0\0\0\0\1!")
        (b'hi', b'!')

    Source: "Stream format" of ``/containers/{id}/attach`` in the reference of the Docker Engine API.
    """
    out: dict[int, list[bytes]] = {}
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        out.setdefault(data[at], []).append(data[at + 8 : at + 8 + size])
        at += 8 + size
    return b"".join(out.get(1, ())), b"".join(out.get(2, ()))


def _check(client: Any, id: str) -> None:
    """Raise :class:`Gone` when it is the container that is not there, and not a file in it."""
    try:
        client.api.inspect_container(id)
    except sdk().errors.NotFound as e:
        raise Gone from e


def _stat(about: Mapping[str, Any]) -> Stat:
    return Stat(int(about.get("size") or 0), when(str(about.get("mtime") or "")) or 0.0)
