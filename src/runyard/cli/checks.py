"""What ``runyard doctor`` looks at. Each check returns findings, and changes nothing."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import runyard
from runyard.engine import controller as controllers
from runyard.engine.record import SECRETS
from runyard.errors import StoreError
from runyard.journal import on_network
from runyard.store import health, layout, lease, records
from runyard.store.db import NAME, Database
from runyard.store.migrations import STEPS
from runyard.terminal import paint

OK, WARNING, ERROR = "ok", "warning", "error"
DOES_NOT_WORK = "is here, and does not work"
LOW_SPACE, NO_SPACE = 1 << 30, 50 << 20
_SHOWN = 5
_TOOLS = {
    "git": ("git", "--version"),
    "ssh": ("ssh", "-V"),
    "docker": ("docker", "--version"),
    "sbatch": ("sbatch", "--version"),
    "kubectl": ("kubectl", "version", "--client"),
}
_PACKAGES = ("fiddle", "cloudpickle", "torch", "docker", "kubernetes", "skypilot", "leptonai", "ray")


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        state: ``ok``, ``warning`` or ``error``.
        about: What was looked at.
        detail: What was found.
        hint: What to do, unless it is fine.
    """

    state: str
    about: str
    detail: str
    hint: str = ""


_STYLES = {OK: "green", WARNING: "yellow", ERROR: "red"}


def finding_text(finding: Finding, colour: bool) -> str:
    """Return a finding as a line, with what to do below it."""
    mark = paint(f"{finding.state:<8}", _STYLES[finding.state], colour)
    hint = f"\n{'':<8} -> {finding.hint}" if finding.hint else ""
    detail = finding.detail.replace("\n", f"\n{'':<24}")
    return f"{mark} {finding.about:<14} {detail}{hint}"


def all_findings(home: Path) -> Iterator[Finding]:
    """Look at everything, one thing after the other."""
    yield _python()
    yield from _home(home)
    usable = yield from _store(home)
    if usable:
        with Database(home, create=False) as db:
            yield from _experiments(db)
            yield from _leftovers(db)
    yield from _shells()
    yield from _tools()


def _python() -> Finding:
    words = f"Runyard {runyard.__version__}, Python {platform.python_version()} ({sys.executable})"
    return Finding(
        OK, "versions", f"{words}, SQLite {sqlite3.sqlite_version}, {platform.system()} {platform.release()}"
    )


def _home(home: Path) -> Iterator[Finding]:
    place = next(p for p in [home, *home.parents] if p.exists())
    try:
        with tempfile.TemporaryFile(dir=place) as f:
            f.write(b"x" * 4096)
            f.flush()
    except OSError as e:
        hint = "make it writable for you, or set RUNYARD_HOME to another folder"
        yield Finding(ERROR, "home", f"cannot write to {place}: {e.strerror}", hint)
        return
    if place != home:
        yield Finding(OK, "home", f"{home} (not made yet)")
    elif home.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding(WARNING, "home", f"{home} is open to other users", f"chmod 700 {home}")
    else:
        yield Finding(OK, "home", f"{home}{' (a network file system)' if on_network(home) else ''}")
    free = shutil.disk_usage(place).free
    state = ERROR if free < NO_SPACE else WARNING if free < LOW_SPACE else OK
    hint = "" if state == OK else "runyard experiment rm --older-than 14d, runyard code gc"
    yield Finding(state, "disk", f"{free / (1 << 30):.1f} GiB free", hint)


def _store(home: Path) -> Generator[Finding, None, bool]:
    """Yield what the database is like; the generator's value says whether it can be used."""
    rebuild = "runyard doctor --rebuild"
    try:
        found = health.check(home)
    except StoreError as e:
        yield Finding(ERROR, "store", e.message, e.hint)
        return False
    if found.state == health.USABLE:
        upgrade = "" if found.version == len(STEPS) else f", brought to {len(STEPS)} at the next use"
        yield Finding(OK, "store", f"schema {found.version}{upgrade}")
        return True
    if found.state == health.NEWER:
        detail = f"{home / NAME} has schema {found.version}; this Runyard knows {len(STEPS)}"
        yield Finding(ERROR, "store", detail, "upgrade Runyard here, or set RUNYARD_HOME to another folder")
    elif found.state == health.DAMAGED:
        yield Finding(ERROR, "store", f"{home / NAME} is damaged: {found.detail}", rebuild)
    elif (home / layout.EXPERIMENTS).is_dir():
        yield Finding(ERROR, "store", f"{home / NAME} is gone, the folders are there", rebuild)
    else:
        yield Finding(OK, "store", "nothing recorded yet")
    return False


def _experiments(db: Database) -> Iterator[Finding]:
    live = records.experiments(db, live_only=True)
    me = controllers.me()
    abandoned = [row.id for row in live if not lease.held(db, row.id, me, controllers.is_alive)]
    yield Finding(OK, "experiments", f"{records.count(db)} recorded, {len(live)} unfinished")
    if abandoned:
        detail = f"{len(abandoned)} unfinished without a controller: {_some(abandoned)}"
        yield Finding(
            WARNING, "controllers", detail, f"they go on when looked at: runyard experiment status {abandoned[0]}"
        )
    recorded = {str(row["folder"]) for row in db.rows("SELECT folder FROM experiments")}
    on_disk = {
        str(p.relative_to(db.home))
        for p in (db.home / layout.EXPERIMENTS).glob("*/*")
        if p.is_dir() and not p.name.startswith(".")
    }
    if unknown := sorted(on_disk - recorded):
        detail = f"{len(unknown)} folder(s) without a record: {_some([Path(f).name for f in unknown])}"
        yield Finding(WARNING, "folders", detail, "record them with: runyard doctor --rebuild")
    drafts = {f for f in recorded - on_disk if (db.home / layout.draft_of(f)).is_dir()}
    if gone := sorted(recorded - on_disk - drafts):
        ids = [Path(f).name for f in gone]
        yield Finding(
            WARNING,
            "folders",
            f"{len(ids)} record(s) without a folder: {_some(ids)}",
            f"runyard experiment rm {ids[0]}",
        )


def _leftovers(db: Database) -> Iterator[Finding]:
    live = {row.id for row in records.experiments(db, live_only=True)}
    old = time.time() - layout.ORPHAN_SECONDS
    drafts = [
        p
        for mark in ("draft", "removed")
        for p in (db.home / layout.EXPERIMENTS).glob(f"*/.*.{mark}")
        if p.name[1:].rpartition(".")[0] not in live and _mtime(p) < old
    ]
    if drafts:
        detail = f"{len(drafts)} folder(s) of launches that died: {_some([str(p) for p in drafts])}"
        yield Finding(WARNING, "leftovers", detail, f"rm -r {drafts[0]}")
    kept = [p for p in (db.home / SECRETS).glob("*") if p.name not in live and _mtime(p) < old]
    if kept:
        detail = f"secrets of {len(kept)} experiment(s) that have ended: {_some([p.name for p in kept])}"
        yield Finding(WARNING, "leftovers", detail, f"rm -r {kept[0]}")


def _shells() -> Iterator[Finding]:
    for name, state, why in (
        ("sh", ERROR, "jobs need it"),
        ("bash", WARNING, "inline scripts and setup lines need it"),
    ):
        if shutil.which(name) is None:
            yield Finding(state, name, "not found", f"install {name}: {why}")


def _tools() -> Iterator[Finding]:
    found = {name: told for name, words in _TOOLS.items() if (told := _told(words))}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[f"py {name}"] = version(name)
    missing = [name for name in _TOOLS if name not in found]
    for name, told in found.items():
        yield Finding(WARNING if told.startswith(DOES_NOT_WORK) else OK, name, told)
    if missing:
        yield Finding(OK, "not here", f"{', '.join(missing)} (needed only by the executors that use them)")


def _told(words: tuple[str, ...]) -> str:
    if shutil.which(words[0]) is None:
        return ""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=5, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as e:
        return f"{DOES_NOT_WORK}: {type(e).__name__}"
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines() or ["(no version told)"]
    return lines[0] if done.returncode == 0 else f"{DOES_NOT_WORK}: {lines[0]}"


def _mtime(path: Path) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return time.time()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
