"""Launching with a profile: ``--run NAME``, ``--batch NAME`` and ``run.FIELD=VALUE`` on a command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from runyard.cli.helpwidth import Context
from runyard.cli.profile import complete_profile
from runyard.errors import ConfigError, RunyardError
from runyard.executors.base import Executor

if TYPE_CHECKING:
    from runyard.profiles.load import Target

OVERRIDES = "runyard.overrides"
"""Where a command line's overrides are kept in the context's ``meta``."""
SCRIPT = "runyard.script"
"""There: the script that it launches, and all of its words."""
AFTER = "runyard.after"
"""There: the words for the script itself."""
LATE = "runyard.late"
"""There: an option of ours that stands behind a plain command."""
_LAUNCHING = ("--run", "--batch", "--dry-run", "--detach")
_SETTING = re.compile(r"[+~]{0,2}[^\W\d][\w.\[\]'\"-]*\s*[-+*/%|&]*=|~[^\W\d][\w.\[\]]*\Z")
_OVERRIDE = re.compile(r"\+{0,2}run\.[^\W\d][\w.\[\]'\"-]*\s*[-+*/%|&]*=")


class ProfiledCommand(click.Command):
    """A command before whose own arguments ``run.FIELD=VALUE`` may stand, in any order with options.

    Where it launches a script, options and overrides may stand anywhere before ``--``; what follows is the script's.
    """

    context_class = Context

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the overrides out, then parse the rest."""
        rest, found = self._split(args)
        ctx.meta[OVERRIDES] = found
        script = self._script(args)
        if script is None:
            left = super().parse_args(ctx, rest)
            if "--" not in args:
                words = ctx.params["words"]
                ctx.meta[LATE] = next((word for word in words if word.partition("=")[0] in _LAUNCHING), "")
            return left
        ctx.meta[SCRIPT] = (script, tuple(args))
        ctx.allow_interspersed_args = True
        own = args[: args.index("--", self._end(args))] if self._end(args) < len(args) else args
        ctx.meta[AFTER] = tuple(args[len(own) + 1 :])
        values = self._values(own)
        ctx.meta[OVERRIDES] = [w for i, w in enumerate(own) if _OVERRIDE.match(w) and i not in values]
        try:
            return super().parse_args(ctx, [w for i, w in enumerate(own) if i in values or not _OVERRIDE.match(w)])
        except click.NoSuchOption as error:
            raise click.UsageError(self.unknown(error), ctx) from None

    def script_of(self, free: list[str]) -> str | None:
        """Return which script a command line launches, given its words that are no options; None for none."""
        first = next((word for word in free if not looks_like(word)), "")
        return first if first.endswith(".py") else None

    def unknown(self, error: click.NoSuchOption) -> str:
        """Return what to say about an unknown option in the launch of a script."""
        return f"{error.format_message()} The script's own options stand at the end, after --."

    def _script(self, args: list[str]) -> str | None:
        own = args[: self._end(args)]
        values = self._values(own)
        return self.script_of([w for i, w in enumerate(own) if i not in values and not w.startswith("-")])

    def _end(self, args: list[str]) -> int:
        """Return where ``--`` stands, or the end."""
        values = self._values(args)
        return next((i for i, word in enumerate(args) if word == "--" and i not in values), len(args))

    def _values(self, args: list[str]) -> set[int]:
        """Return where the values of options stand."""
        valued = self._valued()
        found: set[int] = set()
        for i, word in enumerate(args):
            if word == "--" and i not in found:
                break
            if i not in found and _takes_value(word, valued):
                found.add(i + 1)
        return found

    def _valued(self) -> set[str]:
        return {o for p in self.params if isinstance(p, click.Option) and not p.is_flag for o in p.opts}

    def _split(self, args: list[str]) -> tuple[list[str], list[str]]:
        valued = self._valued()
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
            if _takes_value(word, valued):
                rest += [value for value in [next(words, None)] if value is not None]
        return [*rest, *words], found


def looks_like(word: str) -> bool:
    """Say whether a word of a command line is an override.

    Example:
        >>> [looks_like(w) for w in ("train.iters=5", "+a=1", "~a.b", "train.py", "--lr=1")]
        [True, True, True, False, False]
    """
    return _SETTING.match(word) is not None


def _takes_value(word: str, valued: set[str]) -> bool:
    short = word[:1] == "-" and word[1:2] not in ("-", "") and f"-{word[-1]}" in valued and word[:2] not in valued
    return word in valued or short


def named(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse an empty name, which is what an unset variable leaves (``--run "$CLUSTER"``).

    Raises:
        BadParameter: for one.
    """
    if value == "":
        raise click.BadParameter("it names nothing. Is a variable not set?", ctx, param)
    return value


def profile_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--run`` and ``--batch`` to a command."""
    batch = click.option(
        "--batch",
        "batch_profile",
        metavar="PROFILE",
        callback=named,
        shell_complete=complete_profile,
        help="Submit with a profile of env.toml and return at once.",
    )
    attached = click.option(
        "--run",
        "run_profile",
        metavar="PROFILE",
        callback=named,
        shell_complete=complete_profile,
        help="Run with a profile of env.toml and wait.",
    )
    return attached(batch(function))


def complete_config(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the configs of the script that is launched."""
    if SCRIPT not in ctx.meta:
        return []
    with suppress(RunyardError):
        from runyard.recipes import block, configs

        names = configs.names(block.read(Path(ctx.meta[SCRIPT][0])))
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return []


def target_of(ctx: click.Context, run_profile: str | None, batch_profile: str | None) -> Target | None:
    """Return where a command line's profile leads; None without one.

    Raises:
        UsageError: for both options together, or overrides without a profile.
        ProfileError: when the profile cannot be used.
    """
    overrides: list[str] = ctx.meta.get(OVERRIDES, [])
    refuse_both(ctx, run_profile, batch_profile)
    if not run_profile and not batch_profile:
        if overrides:
            told = f"{overrides[0]} changes a profile, and none is given: --run PROFILE."
            raise click.UsageError(f"{told} Without one: --set FIELD=VALUE.", ctx)
        return None
    from runyard.profiles.load import parse_overrides, resolve

    name = run_profile or batch_profile
    assert name
    return resolve(name, "run" if run_profile else "batch", parse_overrides(overrides))


def refuse_both(ctx: click.Context, run_profile: str | None, batch_profile: str | None) -> None:
    """Refuse ``--run`` and ``--batch`` together.

    Raises:
        UsageError: when both were given.
    """
    if run_profile and batch_profile:
        raise click.UsageError("--run and --batch contradict each other: one waits, the other does not.", ctx)


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
        if name not in given and (value := getattr(executor, name, None)):
            setattr(executor, name, value * several)
    executor.ntasks_per_node = 1  # type: ignore[attr-defined]
    return f"the command runs once per node; run.ntasks_per_node={several} runs it as often as the profile says"


def kind_given(ctx: click.Context) -> bool:
    """Say whether ``--executor`` was given."""
    return ctx.get_parameter_source("kind") is click.core.ParameterSource.COMMANDLINE


def refuse_kind(ctx: click.Context, profile: str) -> None:
    """Refuse ``--executor`` beside a profile.

    Raises:
        ConfigError: when it was given.
    """
    if kind_given(ctx):
        raise ConfigError(
            f"--executor: the profile {profile!r} names the executor",
            hint="leave --executor out, or write run.executor=KIND",
        )
