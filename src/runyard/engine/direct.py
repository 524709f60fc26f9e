"""Running tasks one after the other in this very process, unrecorded: for debugging."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runyard import config
from runyard.backends.results import reason_for
from runyard.engine import graph
from runyard.engine.plan import Entry
from runyard.errors import TaskFailed
from runyard.secrets import resolve, split_env
from runyard.task import Script


def run(entries: Sequence[Entry], tasks: Mapping[str, Sequence[Any]], say: Callable[[str], None]) -> None:
    """Run all entries in an order that respects their dependencies.

    Args:
        entries: The tasks with executors (their environment and setup are used, nothing else).
        tasks: The original objects by entry, so that functions run as they are in this process.
        say: Called with a line before each task.

    Raises:
        TaskFailed: at the first script that fails. An exception of a function passes as it is.
    """
    by_name = {e.name: e for e in entries}
    for name in graph.check(list(by_name), {e.name: [d.name for d in e.dependencies] for e in entries}):
        entry = by_name[name]
        for task, executor in zip(tasks[name], entry.executors, strict=True):
            executor.validate()
            say(f"{name}: running in this process")
            shown, hidden = split_env(executor.env_vars)
            env = {k: str(v) for k, v in shown.items()} | resolve(hidden)
            if isinstance(task, Script):
                _run_script(name, task, env)
            else:
                _call(task, env)


def _run_script(name: str, task: Script, env: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="runyard-direct-") as folder:
        filename = None
        if task.inline:
            filename = str(Path(folder, "script"))
            Path(filename).write_text(task.inline)
        argv = task.to_command(filename=filename)
        if argv[0] in ("python", "python3"):
            argv[0] = sys.executable
        sys.stdout.flush()
        code = subprocess.run(argv, env=os.environ | env | task.env, check=False).returncode
    if code:
        shell_code = 128 - code if code < 0 else code
        raise TaskFailed(name, reason_for(shell_code), exit_code=shell_code)


def _call(task: Any, env: Mapping[str, str]) -> None:
    before = {k: os.environ.get(k) for k in env}
    os.environ.update(env)
    try:
        if hasattr(task, "__fn_or_cls__"):
            import fiddle

            built = fiddle.build(config.revealed(task))
            if callable(built):
                built()
        else:
            config.revealed(task)()
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
