"""The options of an entrypoint's command, and the context they make."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import click

from runyard.cli.entrypoints.context import RunContext
from runyard.cli.entrypoints.registry import Entrypoint
from runyard.cli.entrypoints.tracebacks import THEMES
from runyard.config.overrides.plain import meant
from runyard.errors import ConfigError

EXPORTS = ("yaml", "toml", "json")
_LAUNCHING = ("name", "direct", "dryrun", "detach", "tail_logs", "skip_confirmation", "lazy")
_ALIASES = {"yes": "skip_confirmation", "no_confirm": "skip_confirmation"}


def make(entry: Entrypoint, defaults: Mapping[str, Any] | None = None) -> list[click.Parameter]:
    """Return the options and the arguments of an entrypoint's command.

    Args:
        entry: The entrypoint; one without executor has no options of a launch.
        defaults: Other defaults for options, by name.

    Raises:
        ConfigError: when there is no option of a name in ``defaults``.
    """
    options = [*_launching(), *_describing(), *_talking()]
    if not entry.enable_executor:  # --yes may stand there all the same
        options = [option for option in options if option.name not in _LAUNCHING]
        options.append(click.Option(["--yes", "--no-confirm", "skip_confirmation"], is_flag=True, hidden=True))
    known = {option.name: option for option in options}
    for name, value in (defaults or {}).items():
        plain = name.lstrip("-").replace("-", "_")
        option = known.get(_ALIASES.get(plain, plain))
        if option is None:
            raise ConfigError(f"cmd_defaults: {entry.name} has no option {name!r}", hint=meant(plain, map(str, known)))
        option.default = value
    words = click.Argument(["overrides"], nargs=-1, metavar="[ARGUMENT=VALUE]...", type=click.UNPROCESSED)
    return [*options, words]


def _launching() -> list[click.Option]:
    return [
        click.Option(["--name", "-n"], metavar="NAME", help="Name of the run.  [default: the command's]"),
        click.Option(["--direct/--no-direct"], default=None, help="Run in this very process, unrecorded."),
        click.Option(["--dryrun", "--dry-run"], is_flag=True, default=None, help="Show what would be submitted."),
        click.Option(["--detach"], is_flag=True, default=None, help="Return at once with the id; it goes on."),
        click.Option(["--tail-logs/--no-tail-logs"], default=None, help="Stream the logs."),
        click.Option(
            ["--yes", "--no-confirm", "skip_confirmation"],
            is_flag=True,
            default=None,
            help="Launch without asking.",
        ),
        click.Option(["--lazy"], is_flag=True, default=None, help="Resolve the arguments in the job, not here."),
    ]


def _describing() -> list[click.Option]:
    exports = [
        click.Option([f"--to-{form}"], metavar="FILE", help=f"Write the configuration as {form.upper()}, and stop.")
        for form in EXPORTS
    ]
    return [
        click.Option(["--factory", "-f"], metavar="FACTORY", help="Begin with a factory: NAME, NAME(x=1) or @FILE."),
        click.Option(["--load", "-l"], metavar="PATH", help="Begin with an exported configuration: a file or folder."),
        click.Option(["--yaml", "-y"], metavar="FILE", help="Take arguments, or a whole configuration, from a file."),
        click.Option(["--repl", "-r"], is_flag=True, default=None, help="Change it in an interactive shell first."),
        *exports,
    ]


def _talking() -> list[click.Option]:
    return [
        click.Option(["--verbose", "-v"], is_flag=True, default=None, help="Say more; show whole tracebacks."),
        click.Option(["--rich-exceptions/--no-rich-exceptions"], default=False, help="Colour tracebacks."),
        click.Option(["--rich-theme"], type=click.Choice(list(THEMES)), default="dark", help="Their colours."),
        click.Option(["--rich-traceback-short/--rich-traceback-full"], default=False, hidden=True),
        click.Option(["--rich-show-locals/--rich-hide-locals"], default=False, hidden=True),
    ]


def set_options(ctx: RunContext, given: Mapping[str, Any]) -> None:
    """Set on a context the options that were given; those that are ``None`` were not."""
    names = {field.name for field in dataclasses.fields(ctx)}
    for name, value in given.items():
        if name in names and value is not None:
            setattr(ctx, name, value)


def exports(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the forms and files to export to."""
    return {form: given[f"to_{form}"] for form in EXPORTS if given.get(f"to_{form}")}
