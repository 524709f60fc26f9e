"""What all commands that launch have in common: their options, and what becomes of them."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from runyard.cli.attend import attend, leave
from runyard.cli.fields import first_field, set_field, set_fields
from runyard.cli.output import emit, hush, say
from runyard.cli.profiled import complete_config, named, once_per_node, profile_options
from runyard.cli.refs import complete_ref, find, open_store
from runyard.engine import launch, replay, report
from runyard.engine.code import Pinned
from runyard.engine.plan import Entry
from runyard.errors import ConfigError
from runyard.executors.base import Executor
from runyard.executors.local import LocalExecutor
from runyard.home import runyard_home
from runyard.packagers.base import make_packager
from runyard.secrets import hide_known

_GPU_FIELDS = ("gpus_per_task", "gpus_per_node", "num_gpus", "gpus")


@dataclass(frozen=True)
class Options:
    """What the options of a launch say; see their help."""

    name: str | None
    title: str | None
    env: tuple[str, ...]
    retries: int | None
    limit: str | None
    gpus: int | None
    settings: tuple[str, ...]
    packager: str | None
    reuse_code: str | None
    detach: bool
    dry_run: bool
    quiet: bool

    @property
    def tell(self) -> Callable[[str], None]:
        """Says what only matters to a person who wants to know."""
        return hush if self.quiet else say


def launch_options(function: Callable[..., Any], short_detach: bool = True) -> Callable[..., Any]:
    """Add the options of a launch to a command; all but ``run_profile``, ``batch_profile``, ``config``, ``kind`` are
    fields of :class:`Options`.

    Args:
        function: The command's function.
        short_detach: ``-d`` is ``--detach``.
    """
    detach = ["--detach", "-d"] if short_detach else ["--detach"]
    options = [
        profile_options,
        click.option(
            "--config",
            "-c",
            metavar="CONFIG",
            callback=named,
            shell_complete=complete_config,
            help="Config of a script: a name, or a path.",
        ),
        click.option("--name", "-n", metavar="NAME", help="Name of the task.  [default: made from the command]"),
        click.option("--title", metavar="TITLE", help="Title of the experiment.  [default: the name]"),
        click.option("--env", "-e", multiple=True, metavar="K[=V]", help="A variable for it; without V, yours."),
        click.option("--retries", type=click.IntRange(min=0), metavar="N", help="Start it again after a failure."),
        click.option("--time", "limit", metavar="LIMIT", help="Wall-time limit: HH:MM:SS, 90s, 1h30m."),
        click.option("--gpus", type=click.IntRange(min=0), metavar="N", help="GPUs for the command."),
        click.option("--executor", "kind", default="local", show_default=True, metavar="KIND", help="Where it runs."),
        click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="A field of the executor."),
        click.option(
            "--packager",
            metavar="KIND",
            callback=named,
            help="Run in a snapshot of the code here: git, pattern, project …",
        ),
        click.option(
            "--reuse-code",
            metavar="REF",
            callback=named,
            shell_complete=complete_ref,
            help="Run with the code of an experiment.",
        ),
        click.option(*detach, is_flag=True, help="Return at once and print the id; it goes on by itself."),
        click.option("--dry-run", is_flag=True, help="Print what would be submitted, byte for byte, and stop."),
        click.option("--quiet", "-q", is_flag=True, help="Print warnings and the command's own output only."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def adjust(executor: Executor, options: Options) -> dict[str, str]:
    """Change an executor as the options say.

    Returns:
        For each field that was changed, the option.

    Raises:
        ConfigError: when it has no such field, or a value does not fit.
    """
    set_fields(executor, options.settings)
    changed = {setting.partition("=")[0]: "--set" for setting in options.settings}
    if options.retries is not None:
        executor.retries = options.retries
        changed["retries"] = "--retries"
    for option, text, names in (("--time", options.limit, ("time",)), ("--gpus", options.gpus, _GPU_FIELDS)):
        if text is not None:
            there = (name for name in names if getattr(executor, name, None) is not None)
            field = next(there, None) or first_field(executor, names, f"{option} {text}")
            set_field(executor, field, str(text), f"{option} {text}")
            changed[field] = option
    if options.packager or options.reuse_code:
        executor.packager = make_packager(options.packager or "git")
        changed["packager"] = "--packager" if options.packager else "--reuse-code"
    return changed


def settle_processes(executor: Executor, given: frozenset[str], tell: Callable[[str], None]) -> None:
    """Let what has no launcher run once on each node of a profile, unless more was asked for."""
    if executor.kind != LocalExecutor.kind and (note := once_per_node(executor, given)):
        tell(note)


def go(
    title: str,
    entry: Callable[[str], Entry],
    executor: Executor,
    options: Options,
    *,
    detach: bool,
    dry_run: bool,
    program: str,
) -> int:
    """Launch one task, or show what would be launched.

    Args:
        title: Title of the experiment.
        entry: Gives the task, once the experiment's id is known.
        executor: Where it goes.
        options: The options.
        detach: Return at once.
        dry_run: Only show.
        program: What launches, for the record.

    Returns:
        The exit code.
    """
    pinned = _code_of(options.reuse_code) if options.reuse_code else None

    def entries(id: str) -> list[Entry]:
        executor.experiment_id = id
        return [entry(id)]

    if dry_run:
        where, jobs, code = launch.preview(runyard_home(), title, int(time.time()), entries, pinned=pinned)
        emit(report.dryrun(where, jobs, code).rstrip("\n"))
        return 0
    facts = {"program": program, "script": ""}
    db, id, jobs, controller = launch.launch(
        runyard_home(), title, int(time.time()), entries, facts, pinned=pinned, say=options.tell
    )
    with db:
        quiet = options.quiet
        return leave(db, id, controller, quiet) if detach else attend(db, id, jobs, controller, quiet)


def _code_of(ref: str) -> Pinned:
    with open_store() as db:
        return replay.code_of(db, find(db, ref).id)


def environment(given: Sequence[str]) -> dict[str, Any]:
    """Return variables written as ``NAME=VALUE``, or as ``NAME`` for one that is set here; secrets apart.

    Raises:
        ConfigError: for one that is not.
    """
    out = {}
    for setting in given:
        name, equals, value = setting.partition("=")
        if not equals:
            if name not in os.environ:
                raise ConfigError(f"--env {name}: {name} is not set here", hint=f"write --env {name}=VALUE")
            value = os.environ[name]
        out[name] = value
    return hide_known(out, os.environ)


def check_command(word: str, env: Mapping[str, str]) -> None:
    """Refuse a command that this machine cannot start, before anything is recorded.

    Raises:
        ConfigError: with the nearest that it can.
    """
    if "/" in word:
        if Path(word).is_file() and not os.access(word, os.X_OK):
            raise ConfigError(
                f"{word} is not executable", hint=f"chmod +x {word}, or name its interpreter: bash {word}"
            )
        return
    path = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.environ.get("PATH", os.defpath))])
    if shutil.which(word, path=path):
        return
    if word.startswith("run."):
        meant = f"did you mean {word.partition('=')[0]}=VALUE? "
    elif Path(word).is_file():
        meant = f"did you mean ./{word}? "
    else:
        near = get_close_matches(word, _programs(path), n=1, cutoff=0.75)
        meant = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(
        f"command not found: {word!r} is not on PATH",
        hint=f"{meant}a line for the shell needs one: runyard run -- bash -c '…'",
    )


def _programs(path: str) -> set[str]:
    folders = [Path(p) for p in path.split(os.pathsep) if p]
    return {entry.name for folder in folders if folder.is_dir() for entry in folder.iterdir()}
