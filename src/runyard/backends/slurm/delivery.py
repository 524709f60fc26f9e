"""Bringing a job's files, code and secrets to where the cluster sees them."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runyard import snapshots
from runyard.backends.base import CODE_FOLDER, RUNNER_FOLDER, Request
from runyard.backends.fetching import PULLED
from runyard.backends.slurm.script import in_shell
from runyard.backends.wrapper import ATTEMPTS
from runyard.errors import PackagingError
from runyard.snapshots.push import Pusher
from runyard.tunnels import Tunnel

PIECE = 1 << 18
_SKIPPED = frozenset({ATTEMPTS, "log", PULLED})


def archive(members: Iterable[tuple[str, bytes, int]]) -> Iterator[bytes]:
    """Yield a gzipped tar with files of the given names (relative), contents and modes."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=1, format=tarfile.GNU_FORMAT) as tar:
        made: set[str] = set()
        for name, data, mode in members:
            for parent in reversed(Path(name).parents):
                folder = str(parent)
                if folder not in made and folder != ".":
                    made.add(folder)
                    tar.addfile(_info(folder, 0, 0o700, tarfile.DIRTYPE))
            if name.endswith("/"):
                continue
            tar.addfile(_info(name, len(data), mode, tarfile.REGTYPE), io.BytesIO(data))
    data = raw.getvalue()
    for at in range(0, len(data), PIECE):
        yield data[at : at + PIECE]


def _info(name: str, size: int, mode: int, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.type = size, mode, kind
    return info


def files(requests: Sequence[Request], fresh: Iterable[str]) -> Iterator[tuple[str, bytes, int]]:
    """Yield all files that jobs need on another machine, by their path below the root.

    Args:
        requests: The jobs.
        fresh: Folders of experiments whose common files are not there yet.
    """
    wanted = set(fresh)
    for request in requests:
        home, folder = Path(request.options["home"]), request.options["path"]
        experiment = folder.rpartition("/")[0]
        if experiment in wanted:
            wanted.discard(experiment)
            yield from _below(home, experiment, lambda p: len(p) == 1 or p[0] == RUNNER_FOLDER)
        yield from _below(home, folder, lambda p: p[0] not in _SKIPPED)
        yield f"{folder}/{ATTEMPTS}/.keep", b"", 0o600


def _below(home: Path, folder: str, wanted: Any) -> Iterator[tuple[str, bytes, int]]:
    base = home / folder
    for path in sorted(base.rglob("*")):
        parts = path.relative_to(base).parts
        if wanted(parts) and path.is_file() and not path.is_symlink():
            yield f"{folder}/{'/'.join(parts)}", path.read_bytes(), 0o600


def secrets(requests: Sequence[Request]) -> Iterator[tuple[str, bytes, int]]:
    """Yield the files with secret values, by their path below the root."""
    for request in requests:
        if request.secrets:
            path = f"secrets/{request.job.experiment}/{request.job.name}"
            yield path, Path(request.secrets).read_bytes(), 0o600


def bring_code(tree: Mapping[str, Any], tunnel: Tunnel, root: str, experiment: str, remote: bool) -> None:
    """Make one code tree of an experiment where its jobs look for it.

    Args:
        tree: As in :class:`~runyard.backends.base.Component`.
        tunnel: How to reach the target.
        root: Root of Runyard's files there.
        experiment: The experiment's folder below it.
        remote: The target is another machine.

    Raises:
        PackagingError: when it could not be made.
    """
    dest = f"{experiment}/{CODE_FOLDER}/{tree['tree']}"
    if "link" in tree:
        path, parent = in_shell(f"{root}/{dest}"), in_shell(f"{root}/{experiment}/{CODE_FOLDER}")
        words = f"mkdir -p {parent} && {{ [ -L {path} ] || ln -s {in_shell(tree['link'])} {path}; }}\n"
        answer = tunnel.shell()(words.encode("utf-8", "surrogateescape"))
        if answer.code:
            raise PackagingError(
                f"{tunnel.name}: {root}/{dest} could not be made: {answer.stderr.strip()}",
                hint="check job_dir and symlink_from_remote_dir",
            )
        return
    store = Path(tree["store"])
    snapshot = snapshots.Snapshot.load(tree["hash"], home=store.parent)
    if remote:
        copies = getattr(tunnel, "user", None) == "root"
        Pusher(snapshot, tunnel.shell(), root, host=tunnel.name).push(dest, copies=copies)
    else:
        snapshots.LocalStore(store).materialise(snapshot, os.path.join(root, dest))
