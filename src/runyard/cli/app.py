"""``run.cli.App``: a program of your own, made of recipes."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from runyard.cli.failures import as_program, guarded
from runyard.cli.lazy import LazyGroup
from runyard.cli.profiled import ProfiledCommand

T = TypeVar("T")
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Group:
    """Commands of an :class:`App` below one word. :meth:`App.group` makes it.

    Args:
        name: The word.
        help: What they are for.
        base: Folder that relative paths of recipes begin at.
    """

    def __init__(self, name: str, help: str, base: Path) -> None:
        self.click_command = AppGroup(name, help)
        self._base = base

    def group(self, name: str, help: str = "") -> Group:
        """Add a word with commands of its own below it, and return it.

        Args:
            name: The word.
            help: What its commands are for.
        """
        made = Group(name, help, self._base)
        self.click_command.offer(name, lambda: made.click_command, lambda: help)
        return made

    def recipe(self, path: str | Path, name: str | None = None, help: str | None = None) -> None:
        """Add a script as a command. It is neither imported nor read before its command is used, or listed.

        Args:
            path: The script, relative to the file that makes the App.
            name: The command; default: the file's name without ``.py``, with dashes.
            help: One line about it; default: the first line of the script's docstring.
        """
        script = self._base / path
        name = name or script.stem.replace("_", "-")
        self.click_command.offer(
            name, lambda: RecipeCommand(name, script, help or ""), lambda: help or _first_line(script)
        )

    def command(self, function: T) -> T:
        """Add a click command, or a function that is a ``run.cli.entrypoint``; also as a decorator.

        Args:
            function: The command.

        Raises:
            ConfigError: when it is neither.
        """
        made = _as_command(function)
        self.click_command.offer(str(made.name), lambda: made, lambda: made.get_short_help_str(100))
        return function


class App(Group):
    """A program of nested commands that launch recipes: ``mytool nano3 pretrain -c tiny --run CLUSTER``.

    A recipe is a Python script with a block ``[tool.runspec]``, or without one. Its command takes configs (``-c``),
    overrides (``train.iters=5000``, ``run.nodes=8``) and profiles (``--run``, ``--batch``), in any order.

    The object is the program: call it, or name it as a console script (``mytool = "mytool.cli:app"``) or as a command
    of ``runyard`` (entry-point group ``runyard.commands``).

    Args:
        name: Name of the program.
        help: What it is for.

    Example:
        >>> import runyard as run
        >>> app = run.cli.App("mytool", help="Our training.")
        >>> nano3 = app.group("nano3", help="The small one.")
        >>> nano3.recipe("recipes/nano3/pretrain.py")
        >>> app(["nano3", "--help"])  # doctest: +SKIP
    """

    def __init__(self, name: str, help: str = "") -> None:
        caller = sys._getframe(1).f_globals.get("__file__")
        super().__init__(name, help, Path(caller).absolute().parent if caller else Path.cwd())

    def __call__(self, args: list[str] | None = None) -> NoReturn:
        """Run a command line, and end the process with its exit code.

        Args:
            args: The words after the program's name; default: those of the process.
        """
        as_program(self.click_command.main, args=args)


class AppGroup(LazyGroup):
    """A group whose commands are made when they are used.

    Args:
        name: Its name.
        help: What its commands are for.
    """

    def __init__(self, name: str, help: str) -> None:
        super().__init__(name, help=help or None, package="", summaries={}, context_settings=SETTINGS)
        self._makers: dict[str, tuple[Callable[[], click.Command], Callable[[], str]]] = {}

    def offer(self, name: str, make: Callable[[], click.Command], summary: Callable[[], str]) -> None:
        """Add a command.

        Args:
            name: Its name.
            make: Makes it.
            summary: Gives one line about it.
        """
        self._makers[name] = (functools.cache(make), summary)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order they were added."""
        return [*super().list_commands(ctx), *self._makers]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command, made now."""
        found = self._makers.get(cmd_name)
        return found[0]() if found else super().get_command(ctx, cmd_name)

    def rows(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Return the lines of the help page."""
        del ctx
        return [(name, summary()) for name, (_, summary) in self._makers.items()]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; the end of a pipe's reader is told apart from other errors."""
        return super().invoke(ctx) if ctx.parent else guarded(super().invoke, ctx)


class RecipeCommand(ProfiledCommand):
    """The command of a recipe.

    Args:
        name: Its name.
        script: The script.
        about: One line about it; empty for the script's own.
    """

    def __init__(self, name: str, script: Path, about: str) -> None:
        self.path, self.about = script, about
        super().__init__(
            name, params=_parameters(), callback=self._launch, context_settings=SETTINGS, options_metavar="[OPTIONS]"
        )

    def script_of(self, free: list[str]) -> str | None:
        """Return the script, which every command line of this command launches."""
        del free
        return str(self.path)

    def unknown(self, error: click.NoSuchOption) -> str:
        """Return what to say about an unknown option."""
        if error.option_name == "-d":
            return "No such option: -d. Did you mean --dry-run? To return at once: --batch, or --detach."
        return super().unknown(error)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help page."""
        from runyard.cli import recipehelp

        self.format_usage(ctx, formatter)
        recipehelp.write(self.path, self.about, formatter)
        self.format_options(ctx, formatter)
        recipehelp.panels(self.path, ctx.command_path, formatter)

    def _launch(self, words: tuple[str, ...], **given: Any) -> int:
        from runyard.cli.launching import Options
        from runyard.cli.scripts import launch_script

        taken = {n: given.pop(n) for n in ("run_profile", "batch_profile", "config", "kind")}
        ctx = click.get_current_context()
        return launch_script(ctx, self.path, words, options=Options(**given), **taken)


def _parameters() -> list[click.Parameter]:
    from runyard.cli.launching import launch_options

    def command() -> None:
        """Hold the options."""

    options = launch_options(command, short_detach=False).__click_params__  # type: ignore[attr-defined]
    words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED, metavar="[KEY=VALUE]... [-- ARG...]")
    return [*reversed(options), words]


def _as_command(function: Any) -> click.Command:
    from runyard.cli.entrypoints.command import as_command
    from runyard.errors import ConfigError

    function = getattr(function, "click_command", function)
    made = as_command(function, getattr(function, "__name__", ""))
    if made is None or inspect.ismodule(function):
        raise ConfigError(
            f"App.command: {function!r} is no command", hint="give a click command, or mark it with run.cli.entrypoint"
        )
    return made


def _first_line(script: Path) -> str:
    from runyard.cli import recipehelp

    return recipehelp.first_line(script)
