"""Files of containers, and volumes: what an engine on another machine is asked for instead of a folder of this one."""

from __future__ import annotations

import base64
import json
import secrets
import tarfile
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

from runyard.backends.docker.engine import Engine, sdk
from runyard.backends.docker.outcome import when
from runyard.errors import Unavailable
from runyard.snapshots.tarstream import gzipped
from runyard.tunnels.archive import PieceReader

_BLOCK = 1 << 18
LONG_SECONDS = 900
"""How long an engine may say nothing while it copies or writes many files."""
_PAUSES = (0.0, 0.1, 0.4, 1.0)
"""Before each try to remove a volume: a container may be just being removed that has it."""
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
    """The container is not there, or does not run, or ended before what was asked of it was done."""


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

    def volumes(self, label: str) -> dict[str, str]:
        """Return the names of volumes that have a label, and its values."""
        with self.engine.asking() as client, self.engine.reading():
            found = client.api.volumes(filters={"label": [label]})["Volumes"] or ()
        return {str(volume["Name"]): str(volume["Labels"][label]) for volume in found}

    def remove_volume(self, name: str) -> None:
        """Remove a volume; one that is gone, or in use, is left alone."""
        for pause in _PAUSES:
            time.sleep(pause)
            with self.engine.asking() as client:
                try:
                    client.api.remove_volume(name, force=True)
                except sdk().errors.APIError as e:
                    if e.status_code == 409:
                        continue
            return

    # -- files ---------------------------------------------------------------------------------

    def user(self, id: str) -> str:
        """Return as whom a container runs, as its image or whoever made it says.

        Raises:
            Gone: when the container is not there.
        """
        with self.engine.asking() as client, self.engine.reading():
            return str(_inspected(client, id)["Config"].get("User") or "0")

    def stat(self, id: str, path: str) -> Stat | None:
        """Return what there is at a path of a container, or ``None``.

        Raises:
            Gone: when the container is not there.
        """
        with self.engine.asking() as client, self.engine.reading():
            url = client.api._url("/containers/{0}/archive", id)
            answer = client.api.head(url, params={"path": path}, timeout=client.api.timeout)
            if answer.status_code == 404:
                _inspected(client, id)  # it may be the container that is not there
                return None
            client.api._raise_for_status(answer)
            return _stat_of(answer)

    def read(self, id: str, path: str) -> tuple[Stat, Generator[bytes]] | None:
        """Return what is known of a file, and what it holds in pieces; ``None`` when there is none.

        A file that grows meanwhile ends where it ended at first; something else than a file holds nothing.

        Raises:
            Gone: when the container is not there.
            Unavailable: when the engine does not answer, also while the pieces are read.
        """
        try:
            answer = self._archive(id, path)
        except sdk().errors.NotFound:
            with self.engine.asking() as client, self.engine.reading():
                _inspected(client, id)
            return None
        return _stat_of(answer), self._content(self._pieces(answer))

    def pieces(self, id: str, path: str) -> Generator[bytes]:
        """Yield a folder or file of a container as a tar stream.

        Raises:
            Gone: when it is not there.
        """
        try:
            answer = self._archive(id, path)
        except sdk().errors.NotFound as e:
            raise Gone from e
        yield from self._pieces(answer)

    def _archive(self, id: str, path: str) -> Any:
        """Ask for a tar stream. (After docker-py's get_archive, one would wait for ever for a machine that is off.)"""
        with self.engine.asking() as client, self.engine.reading():
            url = client.api._url("/containers/{0}/archive", id)
            plain = {"Accept-Encoding": "identity"}
            answer = client.api._get(url, params={"path": path}, headers=plain, stream=True)
            client.api._raise_for_status(answer)
            return answer

    def _pieces(self, answer: Any) -> Generator[bytes]:
        # Here, so that only what the network does is put down to the engine, not what the reader of the pieces does.
        with self.engine.asking(), closing(answer):
            yield from answer.iter_content(_BLOCK)

    def _content(self, pieces: Generator[bytes]) -> Generator[bytes]:
        try:
            with closing(pieces), tarfile.open(fileobj=PieceReader(pieces), mode="r|") as tar:  # type: ignore[call-overload]
                member = tar.next()
                file = tar.extractfile(member) if member is not None and member.isreg() else None
                while file is not None and (data := file.read(_BLOCK)):
                    yield data
        except tarfile.TarError as e:
            raise Unavailable(f"the Docker engine at {self.engine.address} sent a damaged archive: {e}") from e

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
                answer = client.api.put(url, params={"path": folder}, data=data, timeout=LONG_SECONDS)
                client.api._raise_for_status(answer)
            except sdk().errors.NotFound as e:
                raise Gone from e

    # -- commands ------------------------------------------------------------------------------

    def run(self, id: str, script: str, *args: str, seconds: float = LONG_SECONDS) -> Ran:
        """Run a ``sh`` script in a container that runs, as root, and return what it printed.

        Args:
            id: The container.
            script: The script; it may be run twice, when the container ends meanwhile.
            args: Its arguments.
            seconds: How long it may print nothing.

        Raises:
            Gone: when the container does not run, or ended before the script did.
            Unavailable: when the connection was cut.
        """
        # Its exit code is its last word: a connection that is cut may look like the end of what it prints.
        mark = secrets.token_hex(8)
        whole = f"(\n{script}\n)\nprintf '\\0%s %s\\n' {mark} $?"
        with self.engine.asking() as client, self.engine.reading():
            api = client.api
            try:
                made = api.exec_create(id, ["sh", "-c", whole, "sh", *args], user="0:0")
                # Without the upgrade that docker-py's exec_start asks for: it loses what comes with the headers.
                start = api._url("/exec/{0}/start", made["Id"])
                answer = api._post_json(start, data={"Tty": False, "Detach": False}, stream=True, timeout=seconds)
                with closing(answer):
                    api._raise_for_status(answer)
                    printed, err = demultiplexed(b"".join(answer.iter_content(_BLOCK)))
                out, found, code = printed.rpartition(f"\0{mark} ".encode())
                if found and code.endswith(b"\n"):
                    return Ran(int(code), out, err)
                cut = api.exec_inspect(made["Id"])["Running"]
            except sdk().errors.APIError as e:
                if e.status_code in (404, 409):
                    raise Gone from e
                raise
        if cut:
            raise Unavailable(f"the connection to the Docker engine at {self.engine.address} was cut")
        raise Gone


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


def _inspected(client: Any, id: str) -> Mapping[str, Any]:
    """Return all that the engine says of a container, or raise :class:`Gone`."""
    try:
        found: Mapping[str, Any] = client.api.inspect_container(id)
    except sdk().errors.NotFound as e:
        raise Gone from e
    return found


def _stat_of(answer: Any) -> Stat:
    about = json.loads(base64.b64decode(answer.headers[_STAT]))
    return Stat(int(about.get("size") or 0), when(str(about.get("mtime") or "")) or 0.0)
