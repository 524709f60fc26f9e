"""Real files, real tar, real sh; records in a temporary home."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard.snapshots.capture import capture
from runyard.snapshots.listing import CodeInfo, Found, Listing, look
from runyard.snapshots.snapshot import Snapshot

NOBODY = 65534


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "records"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with some of everything."""
    top = tmp_path / "tree"
    (top / "pkg/empty").mkdir(parents=True)
    (top / "pkg/a.py").write_text("a = 1\n")
    (top / "pkg/same.py").write_text("a = 1\n")
    (top / "pkg/__init__.py").write_text("")
    (top / "run.sh").write_text("#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    (top / "link").symlink_to("pkg/a.py")
    (top / "new\nline 'quoted' \"x\" $(id).txt").write_text("hostile")
    (top / "-rf").write_text("dash")
    return top


def listing_of(top: Path) -> Listing:
    found: list[Found] = []
    for folder, folders, files in os.walk(top):
        for name in [*files, *(f for f in folders if os.path.islink(f"{folder}/{f}"))]:
            item = look(f"{folder}/{name}", os.path.relpath(f"{folder}/{name}", top))
            assert item is not None
            found.append(item)
        if not files and not folders:
            found.append(Found(os.path.relpath(folder, top), "d", folder))
    return Listing(found, (str(top),), CodeInfo(root=str(top)))


def take(top: Path) -> Snapshot:
    return capture(listing_of(top))


def assert_same(one: Path, other: Path) -> None:
    done = subprocess.run(
        ["diff", "-r", "--no-dereference", str(one), str(other)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@contextlib.contextmanager
def as_nobody() -> Iterator[Path]:
    """Act as an ordinary user; gives a folder of its own. Skips the test where this process may not."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    folder = Path(tempfile.mkdtemp(prefix="runyard-nobody-"))
    os.chown(folder, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        os.seteuid(0)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """Mount a file system of some size. Skips the test where this process may not."""
    path.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("may not mount a file system")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
