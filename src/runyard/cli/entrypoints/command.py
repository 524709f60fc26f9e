"""An entrypoint as a click command, and entrypoints as a group."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import click

from runyard.cli.entrypoints import contexts, options, registry, tracebacks
from runyard.cli.entrypoints.flow import Declined, perform
from runyard.cli.entrypoints.registry import Entrypoint
from runyard.cli.helpwidth import Context
from runyard.config.overrides import types


class EntrypointCommand(click.Command):
    """The command of an entrypoint.

    Args:
        entry: The entrypoint.
        defaults: Other defaults for its options.
    """

    context_class = Context

    def __init__(self, entry: Entrypoint, defaults: Mapping[str, Any] | None = None) -> None:
        self.entry = entry
        summary = (entry.help or (entry.fn.__doc__ or "")).strip().partition("\n")[0]
        super().__init__(
            entry.name,
            params=options.make(entry, defaults),
            callback=self._run,
            short_help=summary,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        )

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help page."""
        from runyard.cli.entrypoints import helppage

        self.format_usage(ctx, formatter)
        helppage.write(self.entry, formatter)
        self.format_options(ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line; an argument written like an option is told how it is written."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-").partition("=")[0].replace("-", "_")
            names = list(types.signature(self.entry.fn).parameters)
            near = [name] if name in names else get_close_matches(name, names, n=1)
            if not near or (error.possibilities and name not in names):
                raise
            raise click.UsageError(
                f"No such option: {error.option_name}. Arguments have no dashes: {near[0]}=VALUE", ctx
            ) from None
        except click.UsageError as error:
            about = " It is --yaml FILE; --yes launches without asking." if _is_short_yaml(error) else ""
            raise click.UsageError(error.format_message() + about, error.ctx or ctx) from None

    def _run(self, overrides: Sequence[str], **given: Any) -> int:
        if given.get("verbose"):
            os.environ["RUNYARD_DEBUG"] = "1"
        tracebacks.install(given)
        ctx = contexts.default_context(self.entry)
        options.set_options(ctx, given)
        ctx.command = _words(click.get_current_context())
        try:
            perform(self.entry, ctx, overrides, options.exports(given))
        except Declined:
            return 1
        return 0


def _is_short_yaml(error: click.UsageError) -> bool:
    return isinstance(error, click.BadOptionUsage) and error.option_name == "-y"


def _words(ctx: click.Context) -> tuple[str, ...]:
    """Return the names that lead from the program to the command."""
    words: list[str] = []
    while ctx.parent is not None:
        words.insert(0, str(ctx.info_name))
        ctx = ctx.parent
    return tuple(words)


class EntrypointGroup(click.Group):
    """Entrypoints as commands: those of a namespace, and below it further namespaces as groups.

    Args:
        name: Name of the program or group.
        namespace: Only what is in it.
        of: Only entrypoints of these modules, and what lies below them.
    """

    context_class = Context

    def __init__(self, name: str, namespace: str = "", of: str = "", help: str = "") -> None:
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
        super().__init__(name, help=help or None, context_settings=settings)
        self.namespace = namespace
        self.of = of

    def _found(self) -> dict[str, Entrypoint | str]:
        """Return what is in here: entrypoints, and the namespaces below by their full name."""
        found: dict[str, Entrypoint | str] = {}
        for entry in registry.entrypoints():
            if self.of and not f"{entry.fn.__module__}.".startswith(f"{self.of}."):
                continue
            if entry.namespace == self.namespace:
                found[entry.name] = entry
            elif entry.namespace.startswith(f"{self.namespace}.") or not self.namespace:
                rest = entry.namespace[len(self.namespace) :].lstrip(".").partition(".")[0]
                found.setdefault(rest, f"{self.namespace}.{rest}".lstrip("."))
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands and groups."""
        return list(dict.fromkeys([*self._found(), *super().list_commands(ctx)]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of an entrypoint, or the group of a namespace."""
        found = self._found().get(cmd_name)
        if isinstance(found, Entrypoint):
            return EntrypointCommand(found)
        return EntrypointGroup(cmd_name, found, self.of) if found else super().get_command(ctx, cmd_name)

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return what the list of commands says: for a namespace without help, what is in it."""
        return super().get_short_help_str(limit) or ", ".join(self._found())

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant; for an unknown one, name the nearest."""
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing and not args[0].startswith("-"):
            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No such command {args[0]!r}.{meant}", ctx)
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run a command line; end the process with its exit code, with errors as one message."""
        from runyard.cli.failures import guarded

        if not settings.get("standalone_mode", True):
            return super().main(*args, **settings)
        sys.exit(guarded(super().main, *args, **(settings | {"standalone_mode": False})))


def as_command(found: Any, name: str) -> click.Command | None:
    """Return what an entry point of a distribution names as a command: an entrypoint, or all those of a module."""
    if isinstance(found, click.Command):
        return found
    if isinstance(entry := getattr(found, registry.MARK, None), Entrypoint):
        return EntrypointCommand(entry)
    if type(found).__name__ != "module":
        return None
    inside = [e for e in registry.entrypoints() if f"{e.fn.__module__}.".startswith(f"{found.__name__}.")]
    if not inside:
        return None
    namespace = name if all(f"{e.namespace}.".startswith(f"{name}.") for e in inside) else ""
    summary = (found.__doc__ or "").strip().partition("\n")[0]
    return EntrypointGroup(name, namespace, found.__name__, summary)
