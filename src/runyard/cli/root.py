"""The root of the command line. Imports next to nothing, so that ``runyard --help`` is there at once."""

from __future__ import annotations

import importlib
from typing import Any

import click

from runyard.cli.failures import as_program, guarded
from runyard.cli.lazy import LazyGroup

SUMMARIES = {
    "run": "Run a command or a script as a task, and wait for it.",
    "experiment": "Look at, follow, cancel, repeat or remove experiments.",
    "profile": "List, show and check execution profiles (env.toml).",
    "code": "See what ships, what is stored, and clean it.",
    "doctor": "Check this installation and its records; repair them.",
    "completion": "Print the script that makes a shell complete commands.",
    "version": "Print the version.",
}


class Root(LazyGroup):
    """The command ``runyard``: its own commands, and those of plug-ins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, those of plug-ins last."""
        return list(dict.fromkeys([*super().list_commands(ctx), *_plugins().found()]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command; plug-ins are looked at when it is none of ours."""
        command = super().get_command(ctx, cmd_name)
        if command is None and not cmd_name.startswith("-"):
            entry = _plugins().found().get(cmd_name)
            return _plugins().load(entry) if entry else None
        return command

    def rows(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Return name and summary of each command; a plug-in is named, not imported."""
        plugins = _plugins()
        others = [(n, f"(from {plugins.origin(e)})") for n, e in plugins.found().items() if n not in self.summaries]
        return [*super().rows(ctx), *others]

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command line; end the process with its exit code, with errors as one message."""
        if not options.get("standalone_mode", True):
            return super().main(*args, **options)
        options["prog_name"] = options.get("prog_name") or "runyard"
        return as_program(super().main, *args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; the end of a pipe's reader is told apart from other errors."""
        return guarded(super().invoke, ctx)


def _plugins() -> Any:
    return importlib.import_module("runyard.cli.plugins")


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"runyard {importlib.import_module('runyard').__version__}")
        ctx.exit()


main = Root(
    name="runyard",
    package="runyard.cli",
    summaries=SUMMARIES,
    help="Configure, launch and manage training tasks on this machine, a cluster or the cloud.",
    epilog="Where a command takes REF, give an experiment's id, its title (the latest run) or the beginning of "
    "its id. RUNYARD_HOME says where records are kept (default: ~/.runyard).",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_version,
            help="Print the version and exit.",
        )
    ],
)
cli = main
