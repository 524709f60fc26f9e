"""Commands of other distributions, from the entry-point group ``runyard.commands``.

An entry names a click command or an entrypoint, ``sweep = "mypackage.cli:sweep"`` makes ``runyard sweep``, or a
module: ``llm = "mypackage.llm"`` makes every entrypoint that is defined in it a command, ``runyard llm train``. They
are looked up only for a name that Runyard itself does not have, and for lists of all commands.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import click

from runyard.errors import ConfigError

GROUP = "runyard.commands"


def found() -> dict[str, EntryPoint]:
    """Return the entry points, by name of the command."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name)}


def load(entry: EntryPoint) -> click.Command:
    """Return the command of an entry point.

    Raises:
        ConfigError: when it cannot be imported, or is no command; it names the package.
    """
    try:
        command = entry.load()
    except Exception as e:
        raise ConfigError(
            f"the command {entry.name!r} of {origin(entry)} cannot be loaded: {type(e).__name__}: {e}",
            hint="upgrade or remove that package",
        ) from e
    command = getattr(command, "click_command", command)  # a run.cli.App
    if isinstance(command, click.Command):
        return command
    from runyard.cli.entrypoints.command import as_command

    made = as_command(command, entry.name)
    if made is None:
        raise ConfigError(
            f"the command {entry.name!r} of {origin(entry)} is {entry.value}, which is no command and no entrypoint",
            hint="report it to that package",
        )
    return made


def origin(entry: EntryPoint) -> str:
    """Return the name of the distribution that brings an entry point."""
    return entry.dist.name if entry.dist else entry.value
