"""``--repl``: change a task by hand before it is launched."""

from __future__ import annotations

import sys
from typing import Any

from runyard.cli.entrypoints.context import RunContext
from runyard.cli.entrypoints.registry import Entrypoint
from runyard.config.encoder import is_buildable
from runyard.errors import ConfigError

BANNER = """\
task is what would be launched: task.ARGUMENT = VALUE changes it, print(task) shows it.
ctx has executor, plugins and options. Ctrl-D goes on.
"""


def change(entry: Entrypoint, ctx: RunContext, task: Any) -> Any:
    """Open an interactive shell (IPython where it is installed) on a task, and return what became of it.

    Raises:
        ConfigError: when ``task`` is no task any more.
    """
    import runyard

    module = sys.modules.get(getattr(entry.fn, "__module__", ""))
    names = {**vars(module)} if module else {}
    names |= {"task": task, "ctx": ctx, "run": runyard}
    _interact(names)
    changed = names.get("task")
    if not is_buildable(changed):
        raise ConfigError(f"task is no task any more, but {changed!r}", hint="leave a run.Partial in it")
    return changed


def _interact(names: dict[str, Any]) -> None:
    if sys.stdin.isatty():
        try:
            from IPython.terminal.embed import InteractiveShellEmbed
        except ImportError:
            pass
        else:
            shell: Any = InteractiveShellEmbed
            shell(banner1=BANNER, user_ns=names)(local_ns=names)
            return
    import code

    try:
        code.interact(BANNER.rstrip(), local=names, exitmsg="")
    except SystemExit:  # exit() goes on, like Ctrl-D
        return
