"""Several packagers in one tree."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from runyard.errors import ConfigError, PackagingError
from runyard.packagers._capturing import CapturingPackager
from runyard.packagers.base import Packager
from runyard.snapshots.listing import CodeInfo, Found, Listing, Skipped
from runyard.snapshots.manifest import FOLDER, printable


@dataclass(kw_only=True)
class HybridPackager(CapturingPackager):
    """Combines packagers: what each ships lies in the folder named by its key.

    A path whose first part already is the key is not put into it a second time: key ``configs`` and pattern
    ``configs/*.yaml`` give ``configs/model.yaml``. The key ``""`` is the root.

    Args:
        sub_packagers: Packagers by folder; in a profile, tables with a ``kind`` each.
        extract_at_root: Put everything at the root, whatever its key.
        on_conflict: ``"error"``: two packagers that ship different files under one path are refused.
            ``"overwrite"``: the later wins.

    Raises:
        ConfigError: for a key that is no folder below the root, or something that is no packager.

    Example:
        >>> from runyard.packagers.pattern import PatternPackager
        >>> HybridPackager(sub_packagers={"configs": PatternPackager(include_pattern="configs/*.yaml")}).extract_at_root
        False
    """

    kind: ClassVar[str] = "hybrid"

    sub_packagers: dict[str, Any] = field(default_factory=dict)
    extract_at_root: bool = False
    on_conflict: str = "error"

    def __post_init__(self) -> None:
        if self.on_conflict not in ("error", "overwrite"):
            raise ConfigError(
                f"HybridPackager: on_conflict={self.on_conflict!r} is unknown", hint='use "error" or "overwrite"'
            )
        if not isinstance(self.sub_packagers, Mapping):
            raise ConfigError(
                f"HybridPackager: sub_packagers is a {type(self.sub_packagers).__name__}, no dict",
                hint='give a packager for each folder: sub_packagers={"code": GitArchivePackager()}',
            )
        self.sub_packagers = {_check_key(k): _as_packager(k, v) for k, v in self.sub_packagers.items()}

    def list_files(self, path: str | os.PathLike[str] | None = None) -> Listing:
        """Return what all packagers ship together."""
        return self._merged(path, filtered=False)

    def filtered(self, path: str | os.PathLike[str] | None = None) -> Listing:
        """Return the same without credentials, as each packager (or this one) decides."""
        return self._merged(path, filtered=True)

    def _merged(self, path: str | os.PathLike[str] | None, *, filtered: bool) -> Listing:
        if not self.sub_packagers:
            raise PackagingError(
                "HybridPackager has no sub_packagers",
                hint='sub_packagers={"code": …}, or in a profile packager_sub_packagers = {code = {kind = "git"}}',
            )
        taken: dict[str, tuple[str, Found]] = {}
        listings: list[Listing] = []
        skipped: list[Skipped] = []
        for key, packager in self.sub_packagers.items():
            if not isinstance(packager, CapturingPackager):
                continue  # a passthrough ships nothing
            listing = (
                _with_credentials(packager, self.include_credentials).filtered(path)
                if filtered
                else packager.list_files(path)
            )
            listings.append(listing)
            folder = "" if self.extract_at_root else key
            for item in listing.found:
                placed = item._replace(path=_placed(item.path, folder))
                there = taken.get(placed.path)
                if there is not None and there[1].source != placed.source and placed.tag != FOLDER:
                    self._conflict(placed, key, *there)
                taken[placed.path] = (key, placed)
            skipped += [s._replace(path=_placed(s.path, folder)) for s in listing.skipped]
        roots = tuple(dict.fromkeys(root for listing in listings for root in listing.roots))
        warnings = [w for listing in listings for w in listing.warnings]
        return Listing(
            [f for _, f in taken.values()], roots, _merge_info([i.info for i in listings]), warnings, skipped
        )

    def _conflict(self, item: Found, key: str, other_key: str, other: Found) -> None:
        if self.on_conflict == "overwrite":
            return
        raise PackagingError(
            f"{printable(item.path)}: sub_packagers {other_key!r} ({printable(other.source)}) and {key!r} "
            f"({printable(item.source)}) both ship this file",
            hint='exclude one of them, use different keys, or set on_conflict="overwrite" (the later wins)',
        )

    def why(self, file: str, listing: Listing) -> str:
        """Return which packager ships the file, and why."""
        for key, packager in self.sub_packagers.items():
            if isinstance(packager, CapturingPackager):
                own = packager.list_files(listing.info.root or None)
                if any(f.source == file for f in own.found):
                    return f"{packager.kind} packager {key!r}: {packager.why(file, own)}"
        return "a sub_packager lists it"

    def why_not(self, file: str, listing: Listing) -> str:
        """Return what each packager says."""
        said = []
        for key, packager in self.sub_packagers.items():
            if isinstance(packager, CapturingPackager):
                own = packager.list_files(listing.info.root or None)
                said.append(f"{key!r}: {packager.why_not(file, own)}")
        return "; ".join(said)


def _check_key(key: str) -> str:
    if key.startswith("/") or any(part in ("..", ".") for part in key.split("/")) or "//" in key:
        raise ConfigError(
            f"HybridPackager: key {key!r} is no folder of the tree", hint='use for example "code" or "libs/x"'
        )
    return key.rstrip("/")


def _as_packager(key: str, value: Any) -> Packager:
    if isinstance(value, Packager):
        if value.symlink_from_remote_dir:
            raise ConfigError(
                f"HybridPackager: {key!r} has symlink_from_remote_dir, which stands for a whole code folder",
                hint="set it on an ordinary Packager instead",
            )
        return value
    if isinstance(value, Mapping):
        options = dict(value)
        if "packager" in options and "kind" not in options:
            options["kind"] = options.pop("packager")
        return Packager.from_dict(options)
    raise ConfigError(
        f"HybridPackager: {key!r} is a {type(value).__name__}, no packager",
        hint='give a packager, or in a profile a table such as {kind = "git", subpath = "src"}',
    )


def _with_credentials(packager: CapturingPackager, include: bool | str | list[str]) -> CapturingPackager:
    """Return the packager, allowing also the credentials that the hybrid one allows."""
    from dataclasses import replace

    if not include or packager.include_credentials is True:
        return packager
    if include is True:
        return replace(packager, include_credentials=True)
    own = packager.include_credentials
    both = [*([own] if isinstance(own, str) else own or []), *([include] if isinstance(include, str) else include)]
    return replace(packager, include_credentials=both)


def _placed(path: str, folder: str) -> str:
    if not folder or path == folder or path.startswith(folder + "/"):
        return path
    return f"{folder}/{path}"


def _merge_info(infos: list[CodeInfo]) -> CodeInfo:
    first = next((i for i in infos if i.commit), infos[0] if infos else CodeInfo())
    # Two packagers of one repository see the same changes: count them once.
    distinct = list({(i.root, i.commit, i.diff): i for i in infos}.values())
    diffs = list(dict.fromkeys(i.diff for i in distinct if i.diff))
    by_diff = {(i.commit, i.diff): i for i in distinct}.values()
    return CodeInfo(
        root=infos[0].root if infos else "",
        commit=first.commit,
        branch=first.branch,
        committed_only=bool(first.commit) and all(i.committed_only for i in infos if i.commit),
        modified=sum(i.modified for i in by_diff),
        untracked=sum(i.untracked for i in by_diff),
        diff="\n".join(diffs),
    )
