"""``run.run``: one task, launched and awaited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runyard.executors.base import Executor
from runyard.experiment import Experiment
from runyard.plugin import Plugin
from runyard.task import safe_name
from runyard.taskgraph import name_of

if TYPE_CHECKING:
    from runyard.engine.report import JobResult


def run(
    fn_or_script: Any,
    executor: Executor | None = None,
    plugins: Plugin | Sequence[Plugin] | None = None,
    name: str = "",
    dryrun: bool = False,
    direct: bool = False,
    detach: bool = False,
    tail_logs: bool = True,
    log_level: str = "INFO",
    raise_on_failure: bool = True,
) -> JobResult | None:
    """Run one task.

    Args:
        fn_or_script: A ``Script``, a ``Partial``, or a function without arguments.
        executor: Where; default: this machine.
        plugins: Applied before the launch.
        name: Its name; default: made from the task.
        dryrun: Only show what would be submitted.
        direct: Run it in this very process, unrecorded.
        detach: Return at once; it goes on by itself.
        tail_logs: Stream its log.
        log_level: Accepted for compatibility.
        raise_on_failure: Raise when it did not succeed.

    Returns:
        What became of it (``.status``, ``.exit_code``, ``.log_path``); ``None`` for a dry or direct run.

    Raises:
        TaskFailed: when it did not succeed, unless ``raise_on_failure=False``.
        ConfigError: when it could not run; nothing is started then.

    Example:
        >>> import runyard as run
        >>> run.run(run.Script(inline="echo hello")).exit_code  # doctest: +SKIP
        hello
        0
    """
    wanted = safe_name(name or name_of(fn_or_script))
    exp = Experiment(wanted, executor=executor, log_level=log_level)
    several = [plugins] if isinstance(plugins, Plugin) else plugins
    exp.add(fn_or_script, name=wanted, plugins=several)
    if dryrun:
        exp.dryrun()
        return None
    results = exp.run(detach=detach, tail_logs=tail_logs, direct=direct, raise_on_failure=raise_on_failure)
    return results.get(wanted)
