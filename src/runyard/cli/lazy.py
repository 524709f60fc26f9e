"""Groups of commands whose modules are imported only when a command is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import click

from runyard.cli.helpwidth import Context


class LazyGroup(click.Group):
    """A group that knows the names and summaries of its commands, and imports one when it is asked for.

    Args:
        package: Package with a module per command; its attribute ``command`` is the command.
        summaries: For each command its one-line summary, in the order of the help page.
    """

    def __init__(self, *args: Any, package: str, summaries: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.context_class = Context
        self.package = package
        self.summaries = dict(summaries)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return [*self.summaries, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command, imported now."""
        if cmd_name not in self.summaries:
            return super().get_command(ctx, cmd_name)
        found = importlib.import_module(f"{self.package}.{cmd_name}").command
        assert isinstance(found, click.Command)
        found.context_class = Context
        return found

    def rows(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Return the lines of the help page: name and summary of each command, without importing any."""
        del ctx
        return list(self.summaries.items())

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, where there are any."""
        if rows := self.rows(ctx):
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant; for an unknown one, name the nearest."""
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing and not name.startswith("-"):
            near = get_close_matches(name, self.list_commands(ctx), n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            if name.endswith(".py") and "run" in self.summaries:
                meant = f" Did you mean `{ctx.command_path} run {name}`?"
            raise click.UsageError(f"No such command {name!r}.{meant}", ctx)
        return super().resolve_command(ctx, args)
