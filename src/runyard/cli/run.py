"""``runyard run``: a script, or a plain command, as a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from runyard.cli.launching import Options, adjust, check_command, environment, go, launch_options, settle_processes
from runyard.cli.output import say
from runyard.cli.profiled import LATE, SCRIPT, ProfiledCommand, refuse_kind, target_of
from runyard.cli.root import SUMMARIES
from runyard.engine.plan import Entry
from runyard.executors import executor_class
from runyard.executors.local import LocalExecutor
from runyard.task import Script, safe_name


class RunCommand(ProfiledCommand):
    """``runyard run``, whose help page is that of the script where one is named."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help page."""
        script = Path(ctx.meta[SCRIPT][0]) if SCRIPT in ctx.meta else None
        if script is None or not script.is_file():
            super().format_help(ctx, formatter)
            return
        from runyard.cli import recipehelp

        formatter.write_usage(ctx.command_path, f"{script} [OPTIONS] [KEY=VALUE]... [-- ARG...]")
        recipehelp.write(script, "", formatter)
        self.format_options(ctx, formatter)
        recipehelp.panels(script, f"{ctx.command_path} {script}", formatter)


@click.command(
    "run",
    cls=RunCommand,
    short_help=SUMMARIES["run"],
    context_settings={"allow_interspersed_args": False},
)
@launch_options
@click.argument("words", metavar="[run.FIELD=VALUE]... [--] CMD...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    run_profile: str | None,
    batch_profile: str | None,
    config: str | None,
    kind: str,
    words: tuple[str, ...],
    **given: Any,
) -> int:
    """Run a command or a script as a task, and wait for it.

    Its output is streamed, and recorded. Its arguments reach it as they are. The exit code is its own.

    \b
    runyard run -- python train.py --lr 0.1
    runyard run --gpus 1 --time 2h --retries 2 --detach -- ./train.sh
    runyard run --run CLUSTER run.nodes=8 -- python train.py
    runyard run train.py -c tiny --run CLUSTER train.iters=5000 run.nodes=8

    With a profile it runs once on each node, unless the profile has a launcher. Options win over the profile.

    A Python script that stands without -- is launched as it says in its [tool.runspec] block, with a config. Options
    may stand anywhere then; KEY=VALUE changes the config, and what the script itself takes stands after --.
    """
    options = Options(**given)
    if own := ctx.meta.get(LATE):
        options.tell(f"{own} stands after the command, so it is the command's own; ours stand before it, or before --")
    if SCRIPT in ctx.meta:
        script: str = ctx.meta[SCRIPT][0]
        rest = list(words)
        rest.remove(script)
        return launch_script(ctx, Path(script), tuple(rest), run_profile, batch_profile, config, kind, options)
    if not words or not words[0]:
        raise click.UsageError("There is no command to run. Put it at the end: runyard run -- echo hello")
    if config:
        raise click.UsageError("-c names the config of a script: runyard run train.py -c NAME", ctx)
    return _plain(ctx, words, run_profile, batch_profile, kind, options)


def launch_script(*args: Any) -> int:
    """Launch a script; what that needs is imported now."""
    from runyard.cli.scripts import launch_script as launch

    return launch(*args)


def _plain(
    ctx: click.Context,
    words: tuple[str, ...],
    run_profile: str | None,
    batch_profile: str | None,
    kind: str,
    options: Options,
) -> int:
    """Launch a plain command."""
    script = Script(path=words[0], entrypoint="", args=list(words[1:]), env=environment(options.env))
    target = target_of(ctx, run_profile, batch_profile)
    detach, dry_run = options.detach, options.dry_run
    if target:
        refuse_kind(ctx, target.profile.name)
        detach = detach or bool(batch_profile) or target.detach
        dry_run = dry_run or target.dry_run
    executor = target.executor if target else executor_class(kind)()
    changed = adjust(executor, options)
    if target:
        for line in target.warnings:
            say(f"warning: {line}")
        settle_processes(executor, target.given | changed.keys(), options.tell)
    executor.validate()
    if executor.kind == LocalExecutor.kind and not executor.setup_lines:
        check_command(words[0], script.env)
    name = safe_name(options.name or script.get_name())
    title = options.title or options.name or name
    return go(
        title,
        lambda _: Entry(name, (script,), (executor,), tail_logs=True),
        executor,
        options,
        detach=detach,
        dry_run=dry_run,
        program="runyard run",
    )
