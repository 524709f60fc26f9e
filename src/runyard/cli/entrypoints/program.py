"""``run.cli.main`` and ``run.cli.create_cli``: a script's command line."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from runyard.cli.entrypoints.decorate import make_entrypoint
from runyard.cli.entrypoints.registry import MARK, Entrypoint
from runyard.errors import LaunchInsideJob


def main(
    fn: Any,
    default_factory: Any = None,
    default_executor: Any = None,
    default_plugins: Any = None,
    cmd_defaults: Mapping[str, Any] | None = None,
) -> None:
    """Run a script's command line for one function, and end the process where that fails.

    Args:
        fn: The function; decorated with :func:`entrypoint` or not.
        default_factory: A factory (or its name) of the task, used when ``--factory`` is not given.
        default_executor: An executor, its Config, or a function that returns one.
        default_plugins: A plugin, a list of plugins, or a function that returns them.
        cmd_defaults: Other defaults for options, by name: ``{"direct": True, "yes": True}``.

    Raises:
        SystemExit: with 2 for arguments that cannot be used, else with the exit code of what was run.

    Example:
        >>> import sys
        >>> def train(model: str, epochs: int = 10):
        ...     print(f"Training {model} for {epochs} epochs")
        >>> sys.argv = ["train.py", "model=alexnet", "epochs=5", "--direct", "--yes"]
        >>> main(train)
        Training alexnet for 5 epochs
    """
    if os.environ.get("RUNYARD_LOADING"):  # a job loads this script to find the function
        raise LaunchInsideJob("this script is being loaded inside a job that it launched")
    from runyard.cli.entrypoints.command import EntrypointCommand
    from runyard.cli.failures import guarded

    given = {"factory": default_factory, "executor": default_executor, "plugins": default_plugins}
    changes = {f"default_{name}": value for name, value in given.items() if value is not None}

    def run() -> Any:
        command = EntrypointCommand(dataclasses.replace(entry_of(fn), **changes), cmd_defaults)
        return command.main(standalone_mode=False)

    if code := guarded(run):
        sys.exit(code)


def entry_of(fn: Any, kind: str = "") -> Entrypoint:
    """Return the description of a function as a command; ``kind`` wins over what it is decorated with.

    Raises:
        ConfigError: when it is no function.
    """
    base = None
    if type(fn).__name__ == "LazyEntrypoint":
        base = fn.resolve()
        fn = base.__fn_or_cls__
    entry = getattr(fn, MARK, None) or make_entrypoint(fn)
    entry = entry if base is None else dataclasses.replace(entry, default_factory=base)
    return dataclasses.replace(entry, kind=kind) if kind else entry


def create_cli(
    name: str = "",
    help: str = "",
    namespace: str = "",
    add_verbose_callback: bool = False,
    nested_entrypoints_creation: bool = True,
) -> click.Group:
    """Return a command with every registered entrypoint as a subcommand; namespaces are groups.

    ``experiment`` looks after what was launched, as ``runyard experiment`` does, unless an entrypoint has that name.

    Args:
        name: Name of the program; default: the script's.
        help: What its help page says.
        namespace: Only the entrypoints of this one.
        add_verbose_callback: Accepted for compatibility; every command has ``--verbose``.
        nested_entrypoints_creation: Accepted for compatibility.

    Example:
        >>> create_cli("mytool").name
        'mytool'
    """
    del add_verbose_callback, nested_entrypoints_creation
    from runyard.cli import experiment
    from runyard.cli.entrypoints.command import EntrypointGroup

    group = EntrypointGroup(name or os.path.basename(sys.argv[0]), namespace, help=help)
    group.add_command(experiment.command)
    return group
