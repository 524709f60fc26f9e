"""A task as plain JSON, and back. Nothing of the user's is imported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from runyard import config
from runyard.secrets import split_env
from runyard.shell import from_json_word, to_json_word
from runyard.task import Script

if TYPE_CHECKING:
    from runyard.config.calltree import PyCall

Task: TypeAlias = "Script | PyCall"


def task_record(task: Task) -> dict[str, Any]:
    """Return a task as plain JSON, for its record; :func:`recorded_task` undoes it."""
    if not isinstance(task, Script):
        record: dict[str, Any] = {"type": "call", "name": task.name, "call": task.document}
        if task.main_script:
            record["main_script"] = task.main_script
        if task.main_package:
            record["main_package"] = task.main_package
        return record
    shown, hidden = split_env(task.env)
    names = {"files": sorted(task.files)} if task.files else {}  # their text lies beside this record
    return {
        "type": "script",
        "path": task.path,
        "inline": task.inline,
        "args": [to_json_word(a) if isinstance(a, str) else a for a in task.args],
        "env": {k: to_json_word(v) for k, v in shown.items()} | dict.fromkeys(hidden, "***"),
        "entrypoint": task.entrypoint,
        "m": task.m,
        "metadata": task.metadata,
        **names,
    }


def recorded_task(record: Mapping[str, Any], folder: Path) -> Task:
    """Return the task that a record describes. Imports nothing of the user's.

    Args:
        record: What :func:`task_record` made.
        folder: Where the task's files lie.
    """
    if record["type"] == "call":
        pickle = folder / "call.pkl"
        return config.PyCall(
            name=record["name"],
            document=record["call"],
            pickled=pickle.read_bytes() if pickle.exists() else None,
            main_script=record.get("main_script"),
            main_package=record.get("main_package"),
            secrets=config.recorded_secrets(record["call"]),
        )
    values = {k: record[k] for k in ("path", "inline", "entrypoint", "m", "metadata")}
    args = [from_json_word(a) if isinstance(a, (str, dict)) else a for a in record["args"]]
    files = {n: (folder / n).read_bytes().decode("utf-8", "surrogateescape") for n in record.get("files", ())}
    return Script(**values, args=args, env={k: from_json_word(v) for k, v in record["env"].items()}, files=files)
