"""Checking the hashes of all that a local store holds."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from runyard.errors import PackagingError
from runyard.home import runyard_home
from runyard.snapshots.index import Index
from runyard.snapshots.local import LocalStore
from runyard.snapshots.packs import ObjectReader


def damaged(home: Path | None = None, *, repair: bool = False) -> list[str]:
    """Read everything, and return the hashes of contents that are not what their name says.

    Args:
        home: Folder of all records; default ``RUNYARD_HOME``.
        repair: Take damaged objects out of the store; the next launch that needs one captures it anew. What a pack
            holds is forgotten in any case once it was found damaged.
    """
    folder = (home or runyard_home()) / "snapshots"
    found = {key.replace("/", "").removesuffix("x") for key in LocalStore(folder).verify(repair=repair)}
    with Index(folder) as index, ObjectReader(index, folder) as reader:
        for sha, size in index.rows("SELECT sha, size FROM objects ORDER BY pack, offset"):
            name = bytes(sha).hex()  # type: ignore[call-overload]
            try:
                deque(reader.chunks(bytes(sha), int(size), name), maxlen=0)  # type: ignore[call-overload]
            except PackagingError:
                found.add(name)
    return sorted(found)
