"""What happens between a command line and a launch: resolve, export, change by hand, ask, and go."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from runyard.cli.entrypoints.context import RunContext
from runyard.cli.entrypoints.registry import Entrypoint
from runyard.cli.output import emit, say
from runyard.errors import ConfigError
from runyard.terminal import look


class Declined(Exception):
    """The user answered no."""


def perform(entry: Entrypoint, ctx: RunContext, words: Sequence[str], exports: Mapping[str, str] | None = None) -> Any:
    """Do what a command line says.

    Args:
        entry: The command.
        ctx: Its options; executor and plugins are set here.
        words: Its overrides.
        exports: Forms (``yaml``, ``toml``, ``json``) and files to export to, instead of launching.

    Returns:
        What the function returns, where it runs in this process; else what became of the task.

    Raises:
        ConfigError: when something is unknown, does not fit or is missing.
        Declined: when the user answered no.
        TaskFailed: when the task did not succeed.
    """
    from runyard.cli.entrypoints import execute, resolve

    ctx.name = ctx.name or entry.name
    if ctx.direct and ctx.detach:
        raise ConfigError("--direct and --detach contradict each other: one runs here, the other does not wait")
    if ctx.lazy:
        if exports or ctx.repl:
            raise ConfigError("--lazy resolves nothing here, so there is nothing to look at", hint="leave it out")
        task = execute.lazy_task(entry, ctx, words)
        _ask(entry, ctx, f"{entry.name}, resolved in the job: {' '.join(task.args)}")
        return execute.launch(ctx, task)
    task = resolve.resolve(entry, ctx, words)
    if exports:
        return _export(entry, task, exports)
    if ctx.repl:
        from runyard.cli.entrypoints.lookup import Lookup
        from runyard.cli.entrypoints.repl import change

        task = change(entry, ctx, task)
        resolve.check_complete(entry, task, Lookup(entry))
    _ask(entry, ctx, _table(entry, ctx, task))
    return execute.execute(entry, ctx, task)


def _table(entry: Entrypoint, ctx: RunContext, task: Any) -> str:
    from runyard.cli.entrypoints.show import arguments_table

    return arguments_table(entry, ctx, task, *look(sys.stderr))


def _ask(entry: Entrypoint, ctx: RunContext, shown: str) -> None:
    """Show what is about to happen, and ask, unless that was declined beforehand.

    Raises:
        Declined: when the answer is no.
        ConfigError: when there is nobody to ask.
    """
    asks = entry.enable_executor and not (ctx.dryrun or ctx.skip_confirmation or entry.skip_confirmation)
    if asks or ctx.verbose or ctx.dryrun:
        say(shown)
    if not asks:
        return
    if not sys.stdin.isatty():
        raise ConfigError(
            f"{ctx.name} was not launched: there is no terminal to ask whether the above is meant",
            hint="add --yes to launch without asking, or --dryrun to see what would be submitted",
        )
    sys.stderr.write("Continue? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        say("nothing was launched")
        raise Declined


def _export(entry: Entrypoint, task: Any, exports: Mapping[str, str]) -> None:
    """Write the configuration, with every default, to files; ``-`` is the standard output."""
    from runyard.cli.entrypoints.show import complete, secrets_in
    from runyard.config import serialize

    writers = {"yaml": serialize.to_yaml, "toml": serialize.to_toml, "json": serialize.to_json}
    whole = complete(entry, task)
    hidden = secrets_in(whole)
    for form, path in exports.items():
        text = writers[form](whole)
        if path == "-":
            emit(text.rstrip("\n"))
            continue
        try:
            with open(os.path.expanduser(path), "w", encoding="utf-8", opener=_private if hidden else None) as file:
                file.write(text)
        except OSError as error:
            raise ConfigError(f"--to-{form}: {path} cannot be written: {error.strerror}") from error
        say(f"wrote {path}; nothing was launched")
        if hidden:
            say(f"warning: {path} holds {', '.join(hidden)} in plain text: keep it to yourself")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
