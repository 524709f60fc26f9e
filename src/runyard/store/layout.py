"""The folder of an experiment, readable without Runyard.

::

    <home>/experiments/<title>/<id>/
        experiment.yaml          what was launched, when, from where
        <script>.py              the script that launched it
        events.jsonl             every change of a job's state
        controller.log           what the controller had to say
        .runner/                 the files that travel with every job
        <task>/task.yaml, executor.yaml, job.sh …
        <task>/attempts/<n>/     started, log, rc, output/
        <task>/log -> attempts/<n>/log

A folder is written under a temporary name beside its final one and renamed once it is
complete and recorded, so a reader sees all of it or nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runyard.errors import StoreError
from runyard.home import ensure_private_dir
from runyard.states import Status
from runyard.task import safe_name

EXPERIMENTS = "experiments"
EVENTS = "events.jsonl"
ORPHAN_SECONDS = 3600.0


def folder_of(title: str, id: str) -> str:
    """Return an experiment's folder below the home."""
    return f"{EXPERIMENTS}/{safe_name(title, 'experiment')}/{id}"


def draft_of(folder: str) -> str:
    """Return the temporary name that a folder has until it is recorded."""
    parent, _, name = folder.rpartition("/")
    return f"{parent}/.{name}.draft"


def reserve(home: Path, folder: str) -> bool:
    """Make the draft of a folder; ``False`` when the folder or its draft is there already.

    Raises:
        StoreError: when it cannot be made.
    """
    draft = home / draft_of(folder)
    try:
        ensure_private_dir(draft.parent)
        if (home / folder).exists():
            return False
        draft.mkdir(mode=0o700)
    except FileExistsError:
        return False
    except OSError as e:
        raise unwritable(draft, e) from e
    return True


def write(home: Path, folder: str, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files, by path relative to the draft of ``folder``, with mode 0600 in folders of 0700.

    Raises:
        StoreError: when one cannot be written; the draft is removed then.
    """
    draft = home / draft_of(folder)
    made = {draft}
    try:
        for name, data in files:
            path = draft / name
            if path.parent not in made:
                ensure_private_dir(path.parent)
                made.add(path.parent)
            if name.endswith("/"):
                ensure_private_dir(path)
                continue
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(fd, "wb", buffering=0) as f:
                view = memoryview(data)
                while view:
                    view = view[f.write(view) :]
    except OSError as e:
        discard(home, folder)
        raise unwritable(draft, e) from e


def publish(home: Path, folder: str) -> None:
    """Give a recorded draft its final name. Calling it again is harmless."""
    draft = home / draft_of(folder)
    try:
        draft.rename(home / folder)
    except FileNotFoundError:
        if not (home / folder).is_dir():
            raise StoreError(
                f"the folder {home / folder} of a recorded experiment is gone",
                hint=f"remove its record: runyard experiment rm {Path(folder).name}",
            ) from None
    except OSError as e:
        raise unwritable(home / folder, e) from e


def discard(home: Path, folder: str) -> None:
    """Remove the draft of a folder."""
    delete_tree(home / draft_of(folder))


def remove(home: Path, folder: str) -> None:
    """Remove an experiment's folder, by way of a rename, so that nobody sees half of it."""
    path = home / folder
    doomed = path.with_name(f".{path.name}.removed")
    try:
        delete_tree(doomed)
        path.rename(doomed)
    except FileNotFoundError:
        return
    except OSError as e:
        raise unwritable(path, e) from e
    delete_tree(doomed)
    with suppress(OSError):
        path.parent.rmdir()


def delete_tree(path: Path) -> None:
    """Delete a folder and all below it, as far as possible; links are removed, not followed."""
    for parent, folders, files in os.walk(path, topdown=False):
        for name in files:
            with suppress(OSError):
                os.unlink(os.path.join(parent, name))
        for name in folders:
            target = os.path.join(parent, name)
            with suppress(OSError):
                (os.unlink if os.path.islink(target) else os.rmdir)(target)
    with suppress(OSError):
        path.rmdir()


def sweep(home: Path, title_folder: str, recorded: Mapping[str, object] | set[str]) -> None:
    """Remove drafts of launches that died before they were recorded (older than an hour)."""
    try:
        entries = list(os.scandir(home / title_folder))
    except OSError:
        return
    for entry in entries:
        name = entry.name
        if not name.startswith(".") or not name.endswith((".draft", ".removed")):
            continue
        id = name[1:].rpartition(".")[0]
        with suppress(OSError):
            if id not in recorded and time.time() - entry.stat().st_mtime > ORPHAN_SECONDS:
                delete_tree(Path(entry.path))


def event_line(name: str, status: Status, at: float) -> str:
    """Return one line of ``events.jsonl``."""
    facts: dict[str, Any] = {
        "at": round(at, 3),
        "task": name,
        "attempt": status.attempt,
        "state": status.state,
    }
    for key in ("reason", "exit_code", "started", "ended", "where"):
        if (value := getattr(status, key)) not in (None, ""):
            facts[key] = value
    return json.dumps(facts) + "\n"


def unwritable(path: Path, error: OSError) -> StoreError:
    """Return the error for a file of the store that cannot be written."""
    return StoreError(
        f"cannot write {error.filename or path}: {error.strerror}",
        hint="free disk space or make the folder writable; or set RUNYARD_HOME to another place",
    )
