"""Snapshots: what a code tree held at one moment, kept by content, sent once, materialised by hard links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runyard.lazynames import lazy_names

if TYPE_CHECKING:
    from runyard.snapshots.listing import CodeInfo as CodeInfo
    from runyard.snapshots.local import LocalStore as LocalStore
    from runyard.snapshots.manifest import Entry as Entry
    from runyard.snapshots.manifest import SnapshotDiff as SnapshotDiff
    from runyard.snapshots.snapshot import Snapshot as Snapshot
    from runyard.snapshots.snapshot import launch_line as launch_line

_WHERE = {
    "Snapshot": "snapshot",
    "launch_line": "snapshot",
    "Entry": "manifest",
    "SnapshotDiff": "manifest",
    "CodeInfo": "listing",
    "LocalStore": "local",
}

__getattr__, __dir__ = lazy_names(__name__, _WHERE)
