"""Launching with a profile: ``--run NAME``, ``--batch NAME`` and ``run.FIELD=VALUE`` on a command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from runyard.cli.profile import complete_profile
from runyard.errors import ConfigError
from runyard.executors.base import Executor

if TYPE_CHECKING:
    from runyard.profiles.load import Target

OVERRIDES = "runyard.overrides"
"""Where a command line's overrides are kept in the context's ``meta``."""
_OVERRIDE = re.compile(r"run\.[^\W\d][\w.\[\]'\"-]*\s*[-+*/%|&]*=")


class ProfiledCommand(click.Command):
    """A command before whose own arguments ``run.FIELD=VALUE`` may stand, in any order with options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the overrides out, then parse the rest."""
        rest, found = self._split(args)
        ctx.meta[OVERRIDES] = found
        return super().parse_args(ctx, rest)

    def _split(self, args: list[str]) -> tuple[list[str], list[str]]:
        valued = {o for p in self.params if isinstance(p, click.Option) and not p.is_flag for o in p.opts}
        rest: list[str] = []
        found: list[str] = []
        words = iter(args)
        for word in words:
            if _OVERRIDE.match(word):
                found.append(word)
                continue
            rest.append(word)
            if word == "--" or not word.startswith("-"):
                break  # from here on it is the command's
            if word in valued or (word[1:2] != "-" and f"-{word[-1]}" in valued):
                rest += [value for value in [next(words, None)] if value is not None]
        return [*rest, *words], found


def profile_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--run`` and ``--batch`` to a command."""
    batch = click.option(
        "--batch",
        "batch_profile",
        metavar="PROFILE",
        shell_complete=complete_profile,
        help="Submit with a profile of env.toml and return at once.",
    )
    attached = click.option(
        "--run",
        "run_profile",
        metavar="PROFILE",
        shell_complete=complete_profile,
        help="Run with a profile of env.toml and wait.",
    )
    return attached(batch(function))


def target_of(ctx: click.Context, run_profile: str | None, batch_profile: str | None) -> Target | None:
    """Return where a command line's profile leads; None without one.

    Raises:
        UsageError: for both options together, or overrides without a profile.
        ProfileError: when the profile cannot be used.
    """
    overrides: list[str] = ctx.meta.get(OVERRIDES, [])
    if run_profile and batch_profile:
        raise click.UsageError("--run and --batch contradict each other: one waits, the other does not.", ctx)
    if not run_profile and not batch_profile:
        if overrides:
            raise click.UsageError(f"{overrides[0]} changes a profile, and none is given: --run PROFILE.", ctx)
        return None
    from runyard.profiles.load import parse_overrides, resolve

    name = run_profile or batch_profile
    assert name
    return resolve(name, "run" if run_profile else "batch", parse_overrides(overrides))


def once_per_node(executor: Executor, given: frozenset[str]) -> str:
    """Let a plain command run once on each node, with all that the profile's several processes had there.

    Args:
        executor: What to change.
        given: Fields that were given on the command line, which stay.

    Returns:
        A line for the user, or nothing when nothing was changed.
    """
    several = getattr(executor, "ntasks_per_node", 1)
    if several == 1 or executor.get_launcher().kind != "default" or "ntasks_per_node" in given:
        return ""
    for name in ("cpus_per_task", "gpus_per_task"):
        if value := getattr(executor, name, None):
            setattr(executor, name, value * several)
    executor.ntasks_per_node = 1  # type: ignore[attr-defined]
    return f"the command runs once per node; run.ntasks_per_node={several} runs it as often as the profile says"


def refuse_kind(ctx: click.Context, target: Target) -> None:
    """Refuse ``--executor`` beside a profile.

    Raises:
        ConfigError: when it was given.
    """
    if ctx.get_parameter_source("kind") is click.core.ParameterSource.COMMANDLINE:
        raise ConfigError(
            f"--executor: the profile {target.profile.name!r} names the executor",
            hint="leave --executor out, or write run.executor=KIND",
        )
