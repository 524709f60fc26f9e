"""``runyard run``: a plain command as a task."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import click

from runyard.cli.attend import attend, leave
from runyard.cli.fields import first_field, set_field, set_fields
from runyard.cli.output import emit, hush, say
from runyard.cli.profiled import ProfiledCommand, once_per_node, profile_options, refuse_kind, target_of
from runyard.cli.refs import complete_ref, find, open_store
from runyard.cli.root import SUMMARIES
from runyard.engine import launch, replay, report
from runyard.engine.code import Pinned
from runyard.engine.plan import Entry
from runyard.errors import ConfigError
from runyard.executors import executor_class
from runyard.executors.base import Executor
from runyard.executors.local import LocalExecutor
from runyard.home import runyard_home
from runyard.packagers.base import make_packager
from runyard.task import Script, safe_name

_GPU_FIELDS = ("gpus_per_task", "gpus_per_node", "num_gpus", "gpus")


@click.command(
    "run",
    cls=ProfiledCommand,
    short_help=SUMMARIES["run"],
    context_settings={"allow_interspersed_args": False},
)
@profile_options
@click.option("--name", "-n", metavar="NAME", help="Name of the task.  [default: made from the command]")
@click.option("--title", metavar="TITLE", help="Title of the experiment.  [default: the name]")
@click.option("--env", "-e", multiple=True, metavar="K[=V]", help="A variable for the command; without V, yours.")
@click.option("--retries", type=click.IntRange(min=0), metavar="N", help="Start it again after a failure.")
@click.option("--time", "limit", metavar="LIMIT", help="Wall-time limit: HH:MM:SS, 90s, 1h30m.")
@click.option("--gpus", type=click.IntRange(min=0), metavar="N", help="GPUs for the command.")
@click.option("--executor", "kind", default="local", show_default=True, metavar="KIND", help="Where it runs.")
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Any other field of the executor.")
@click.option("--packager", metavar="KIND", help="Run in a snapshot of the code here: git, pattern, project …")
@click.option("--reuse-code", metavar="REF", shell_complete=complete_ref, help="Run with the code of an experiment.")
@click.option("--detach", "-d", is_flag=True, help="Return at once and print the id; it goes on by itself.")
@click.option("--dry-run", is_flag=True, help="Print what would be submitted, byte for byte, and stop.")
@click.option("--quiet", "-q", is_flag=True, help="Print the command's own output only.")
@click.argument("words", metavar="[run.FIELD=VALUE]... [--] CMD...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(
    ctx: click.Context,
    run_profile: str | None,
    batch_profile: str | None,
    name: str | None,
    title: str | None,
    env: tuple[str, ...],
    retries: int | None,
    limit: str | None,
    gpus: int | None,
    kind: str,
    settings: tuple[str, ...],
    packager: str | None,
    reuse_code: str | None,
    detach: bool,
    dry_run: bool,
    quiet: bool,
    words: tuple[str, ...],
) -> int:
    """Run a command as a task and wait for it.

    Its output is streamed, and recorded. Its arguments reach it as they are. The exit code is its own.

    \b
    runyard run -- python train.py --lr 0.1
    runyard run --gpus 1 --time 2h --retries 2 --detach -- ./train.sh
    runyard run --run CLUSTER run.nodes=8 -- python train.py

    With a profile it runs once on each node, unless the profile has a launcher. Options count before the profile.
    """
    if not words or not words[0]:
        raise click.UsageError("There is no command to run. Put it at the end: runyard run -- echo hello")
    script = Script(path=words[0], entrypoint="", args=list(words[1:]), env=_environment(env))
    target = target_of(ctx, run_profile, batch_profile)
    if target:
        refuse_kind(ctx, target)
        detach = detach or bool(batch_profile) or target.detach
        dry_run = dry_run or target.dry_run
    executor = target.executor if target else executor_class(kind)()
    set_fields(executor, settings)
    if retries is not None:
        executor.retries = retries
    if limit is not None:
        set_field(executor, first_field(executor, ("time",), f"--time {limit}"), limit, f"--time {limit}")
    if gpus is not None:
        set_field(executor, first_field(executor, _GPU_FIELDS, f"--gpus {gpus}"), str(gpus), f"--gpus {gpus}")
    if packager or reuse_code:
        executor.packager = make_packager(packager or "git")
    pinned = _code_of(reuse_code) if reuse_code else None
    tell = hush if quiet else say
    if target:
        for line in target.warnings:
            say(f"warning: {line}")
        given = target.given | {setting.partition("=")[0] for setting in settings}
        if executor.kind != LocalExecutor.kind and (note := once_per_node(executor, given)):
            tell(note)
    executor.validate()
    if executor.kind == LocalExecutor.kind and not executor.setup_lines:
        _check_command(words[0], script.env)
    task_name = safe_name(name or script.get_name())
    title = title or name or task_name

    def entries(id: str) -> list[Entry]:
        executor.experiment_id = id
        return [_entry(task_name, script, executor)]

    if dry_run:
        where, jobs, code = launch.preview(runyard_home(), title, int(time.time()), entries, pinned=pinned)
        emit(report.dryrun(where, jobs, code).rstrip("\n"))
        return 0
    facts = {"program": "runyard run", "script": ""}
    db, id, jobs, controller = launch.launch(
        runyard_home(), title, int(time.time()), entries, facts, pinned=pinned, say=tell
    )
    with db:
        return leave(db, id, controller, quiet) if detach else attend(db, id, jobs, controller, quiet)


def _code_of(ref: str) -> Pinned:
    with open_store() as db:
        return replay.code_of(db, find(db, ref).id)


def _entry(name: str, script: Script, executor: Executor) -> Entry:
    return Entry(name, (script,), (executor,), tail_logs=True)


def _environment(given: Sequence[str]) -> dict[str, str]:
    out = {}
    for setting in given:
        name, equals, value = setting.partition("=")
        if not equals:
            if name not in os.environ:
                raise ConfigError(f"--env {name}: {name} is not set here", hint=f"write --env {name}=VALUE")
            value = os.environ[name]
        out[name] = value
    return out


def _check_command(word: str, env: Mapping[str, str]) -> None:
    """Refuse a command that this machine cannot start, before anything is recorded."""
    if "/" in word:
        if Path(word).is_file() and not os.access(word, os.X_OK):
            raise ConfigError(
                f"{word} is not executable", hint=f"chmod +x {word}, or name its interpreter: bash {word}"
            )
        return
    path = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.environ.get("PATH", os.defpath))])
    if shutil.which(word, path=path):
        return
    if Path(word).is_file():
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
