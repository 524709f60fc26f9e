"""Launch a resolved task: as a job, in this process, or as an experiment."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from runyard.cli.entrypoints import contexts, resolve
from runyard.cli.entrypoints.context import RunContext
from runyard.cli.entrypoints.registry import Entrypoint
from runyard.config.encoder import is_buildable
from runyard.config.overrides import types
from runyard.config.overrides.apply import as_config, built
from runyard.config.secret_values import revealed
from runyard.engine.launch import dry_runs, refuse_inside_job
from runyard.errors import ConfigError
from runyard.executors.base import Executor
from runyard.plugin import Plugin
from runyard.task import Script


def execute(entry: Entrypoint, ctx: RunContext, task: Any) -> Any:
    """Launch a task that is resolved.

    Returns:
        What the function returns, where it runs in this process; else what became of the task.

    Raises:
        TaskFailed: when it did not succeed.
        ConfigError: when it could not run; nothing is started then.
    """
    refuse_inside_job()
    parameter = contexts.context_parameter(entry)
    if entry.kind == "task" and entry.enable_executor and not parameter:
        if ctx.direct and not (ctx.dryrun or ctx.executor or ctx.plugins):
            return _built(task)()
        return launch(ctx, task)
    if entry.kind == "task":
        built = _built(task)
        return _in_this_process(ctx, lambda: built(**({parameter: ctx} if parameter else {})))
    function, arguments = task.__fn_or_cls__, _arguments(entry, task)
    if parameter:
        arguments[parameter] = ctx
    result = _in_this_process(ctx, lambda: function(**arguments))
    if entry.kind == "experiment":
        return result
    return _launch_tasks(entry, ctx, result, arguments)


def launch(ctx: RunContext, task: Any) -> Any:
    """Run one task where the context says."""
    return ctx.run(task, name=ctx.name)


def _built(task: Any) -> Any:
    import fiddle as fdl

    return fdl.build(revealed(task))


def _in_this_process(ctx: RunContext, function: Any) -> Any:
    """Call a function that may launch; in a dry run whatever it launches is only shown."""
    if not ctx.dryrun:
        return function()
    with dry_runs():
        return function()


def _arguments(entry: Entrypoint, task: Any) -> dict[str, Any]:
    """Return the arguments for an experiment's function. Configs stay Configs: they are for its tasks.

    So that it does not depend on what was overridden, defaults that are dataclasses are given as Configs too. What
    says where tasks run (executors, plugins) is given as it is used.
    """
    if any(not isinstance(key, str) for key in task.__arguments__):
        raise ConfigError(f"{entry.name} cannot take positional-only arguments from a command line")
    parameters = types.signature(entry.fn).parameters
    defaults = {name: param.default for name, param in parameters.items() if is_dataclass(param.default)}
    given = {name: value for name, value in defaults.items() if not isinstance(value, (RunContext, type))}
    given |= task.__arguments__
    return {name: _usable(value) for name, value in given.items()}


def _usable(value: Any) -> Any:
    if type(value) in (list, tuple):
        return type(value)(map(_usable, value))
    kind = getattr(value, "__fn_or_cls__", type(value))
    if isinstance(kind, type) and issubclass(kind, (Executor, Plugin)):
        return built(value)
    return as_config(copy.deepcopy(value)) if is_dataclass(value) and not isinstance(value, type) else value


def _launch_tasks(entry: Entrypoint, ctx: RunContext, result: Any, arguments: dict[str, Any]) -> Any:
    """Launch what the function added or returned; when it did neither, the Partials it was given."""
    if not ctx.has_experiment and result is not None:
        for task in result if isinstance(result, (list, tuple)) else [result]:
            ctx.add(task)
    if not ctx.has_experiment:
        for name, value in arguments.items():
            if isinstance(value, Script) or (is_buildable(value) and "Partial" in type(value).__name__):
                ctx.add(value, name=name)
    if not ctx.has_experiment:
        raise ConfigError(
            f"{entry.name} gave nothing to run",
            hint="return a list of tasks, add them with ctx.add(task), or take Partials as arguments",
        )
    return ctx.launch(ctx.experiment, sequential=entry.kind == "sequential_experiment")


def lazy_task(entry: Entrypoint, ctx: RunContext, words: Sequence[str]) -> Script:
    """Return a task that is this very command line, resolved in the job by the Runyard that is installed there.

    Only names of arguments are checked here, and only executor, plugins and options are resolved.

    Raises:
        ConfigError: when the command does not run in a job.
    """
    if entry.kind != "task" or not entry.enable_executor or contexts.context_parameter(entry):
        raise ConfigError(f"--lazy is for commands that run in a job, and {entry.name} runs here")
    given = contexts.split(entry, resolve.parse_words(entry, words))
    contexts.set_context(entry, ctx, given.context)
    resolve.check_names(entry, given.task)
    options = [f"--{name}={getattr(ctx, name)}" for name in ("factory", "load", "yaml") if getattr(ctx, name)]
    args = [*ctx.command, *(override.text for override in given.task), *options, "--direct", "--yes"]
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:  # python -m package.module
        return Script(spec.name.removesuffix(".__main__"), m=True, args=args)
    program = Path(sys.argv[0]).absolute()
    if program.name == "runyard":
        return Script("runyard", m=True, args=args)
    return Script(_relative(program), entrypoint="python", args=args)


def _relative(program: Path) -> str:
    """Return a script's path in the job's working directory, which is made of the one here."""
    path = os.path.relpath(program)
    return str(program) if path.startswith("..") else path
