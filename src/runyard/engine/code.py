"""The code of a launch: one snapshot for each distinct packager, and where a task finds its files in it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runyard import snapshots as snaps
from runyard.backends.base import CODE_FOLDER
from runyard.errors import ConfigError
from runyard.executors.base import Executor

if TYPE_CHECKING:
    from runyard.snapshots import Snapshot


@dataclass(frozen=True)
class Code:
    """The code of one task.

    Args:
        snapshot: What ships; ``None`` runs in the folder of the launch.
        link: A folder on the target that already holds the code.
        tree: Name of its tree in :data:`CODE_FOLDER`.
    """

    snapshot: Snapshot | None = None
    link: str = ""
    tree: str = ""

    def to_json(self) -> dict[str, Any] | None:
        """Return what a backend must know to bring the tree to its target."""
        if self.link:
            return {"link": self.link, "tree": self.tree}
        if self.snapshot is None:
            return None
        return {"hash": self.snapshot.hash, "store": str(self.snapshot.folder), "tree": self.tree}


@dataclass(frozen=True)
class Pinned:
    """Code of an earlier launch, to use instead of what is on disk.

    Args:
        hashes: Hash of the snapshot by packager key (:func:`key_of`); ``"*"`` stands for every packager.
        infos: What was recorded of each snapshot (commit, folder …), by hash.
    """

    hashes: Mapping[str, str] = field(default_factory=dict)
    infos: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def recorded_infos(facts: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """Return what the record of a launch says about each of its snapshots."""
    return {c["hash"]: c["info"] for c in (facts or {}).get("code", ())}


@dataclass
class CodeTaker:
    """Takes the snapshots of a launch, each distinct one once.

    Args:
        cwd: The folder of the launch.
        pinned: Code to use instead of what is on disk.
    """

    cwd: str
    pinned: Pinned = field(default_factory=Pinned)
    _taken: dict[str, Snapshot | None] = field(default_factory=dict)

    def take(self, executor: Executor, task: str, pin: str = "") -> Code:
        """Return the code of a task.

        Args:
            executor: Its executor, whose packager says what ships.
            task: The task's name, for a tree of its own (``isolate=True``).
            pin: Hash of a snapshot taken earlier, to use instead of what is on disk.

        Raises:
            PackagingError: when the code cannot be captured, or a pinned snapshot is gone.
        """
        packager = executor.packager
        own = f"-{task}" if executor.isolate else ""
        if packager.symlink_from_remote_dir:
            return Code(link=packager.symlink_from_remote_dir, tree=f"linked{own or f'-{task}'}")
        key = key_of(executor)
        hashes = self.pinned.hashes
        pin = pin or hashes.get(key, hashes.get("*", "") if packager.kind != "base" else "")
        if pin:
            key = pin
        if key not in self._taken:
            self._taken[key] = self._load(pin) if pin else packager.snapshot(self.cwd)
        snapshot = self._taken[key]
        return Code(snapshot, tree=f"{snapshot.hash[:12]}{own}") if snapshot else Code()

    def _load(self, hash: str) -> Snapshot:
        info = snaps.CodeInfo.from_dict(dict(self.pinned.infos.get(hash, {})))
        return replace(snaps.Snapshot.load(hash), info=info)

    def snapshots(self) -> list[Snapshot]:
        """Return the distinct snapshots that were taken."""
        return list({s.hash: s for s in self._taken.values() if s is not None}.values())


def key_of(executor: Executor) -> str:
    """Return a text that is equal for equal packagers."""
    return json.dumps(executor.packager.to_dict(), sort_keys=True, default=str)


def find_script(path: str, snapshot: Snapshot, cwd: str, where: str) -> str:
    """Return a script's path for a job whose working directory is the snapshot's tree.

    Args:
        path: As the user gave it: relative to the tree or to the folder of the launch, or absolute.
        snapshot: The code.
        cwd: The folder of the launch.
        where: The task, for the message.

    Raises:
        ConfigError: when the snapshot has no such file.
    """
    names = {e.path for e in snapshot}
    relative = os.path.normpath(path)
    if relative in names:
        return relative
    mapped = within(os.path.join(cwd, path), snapshot)
    if mapped in names:
        return mapped
    if os.path.isabs(path) and Path(path).is_file():
        return path
    on_disk = Path(cwd, path).is_file()
    near = get_close_matches(relative, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(
        f"{where}: the script {path} is not in the code that ships from {snapshot.info.root or cwd}",
        hint=hint
        + ("it is on disk, but the packager leaves it out: " if on_disk else "")
        + "see `runyard code show`; paths are relative to the code's root",
    )


def within(path: str, snapshot: Snapshot) -> str:
    """Return where a path on disk lies in a snapshot's tree, or nothing when it lies outside."""
    root = snapshot.info.root
    if not root:
        return ""
    relative = os.path.relpath(os.path.realpath(path), os.path.realpath(root))
    return "" if relative.startswith("..") else relative


def records(snapshots: Sequence[Snapshot]) -> dict[str, bytes]:
    """Return the files that record what shipped: one page and one patch for each snapshot."""
    files: dict[str, bytes] = {}
    for snapshot in snapshots:
        about = snapshot.to_dict(entries=True)
        patch = about["info"].pop("diff", "")
        base = f"{CODE_FOLDER}/{snapshot.hash[:12]}"
        files[f"{base}.json"] = json.dumps(about, indent=1).encode()
        if patch:
            files[f"{base}.patch"] = patch.encode("utf-8", "surrogateescape")
    return files


def facts(snapshots: Sequence[Snapshot]) -> list[dict[str, Any]]:
    """Return what the record of a launch says about its code, without the diff and the listing."""
    out = []
    for snapshot in snapshots:
        about = snapshot.to_dict()
        about["info"].pop("diff", None)
        out.append(about)
    return out


def lines(snapshots: Sequence[Snapshot]) -> list[str]:
    """Return what a launch says about its code: one line for each snapshot, and its warnings."""
    out = []
    for snapshot in snapshots:
        out.append(snaps.launch_line(snapshot))
        out += [f"warning: {text}" for text in snapshot.warnings]
    return out
