"""Launching a script with what it says about itself and a config: ``runyard run train.py``, and recipes of Apps."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import click

from runyard.cli.launching import Options, adjust, check_command, environment, go, settle_processes
from runyard.cli.output import say
from runyard.cli.profiled import AFTER, OVERRIDES, SCRIPT, kind_given, looks_like, refuse_both, refuse_kind
from runyard.executors.local import LocalExecutor
from runyard.recipes.prepare import Prepared, Wanted, prepare, task_name


def launch_script(
    ctx: click.Context,
    script: Path,
    words: tuple[str, ...],
    run_profile: str | None,
    batch_profile: str | None,
    config: str | None,
    kind: str,
    options: Options,
) -> int:
    """Launch a script as the command line says.

    Args:
        ctx: The command.
        script: The script.
        words: What stands before ``--``, besides options, ``run.FIELD=VALUE`` and the script.
        run_profile: Profile to run with, attached.
        batch_profile: Profile to submit with.
        config: Name or path of the config.
        kind: Kind of the executor.
        options: The other options.

    Returns:
        The exit code.
    """
    refuse_both(ctx, run_profile, batch_profile)
    profile = run_profile or batch_profile or ""
    if profile:
        refuse_kind(ctx, profile)
    wanted = Wanted(
        script=script,
        cwd=Path.cwd(),
        config=config or "",
        profile=profile,
        mode="batch" if batch_profile else "run",
        kind=kind if kind_given(ctx) else None,
        where=tuple(ctx.meta.get(OVERRIDES, ())),
        settings=tuple(word for word in words if looks_like(word)),
        args=tuple(ctx.meta.get(AFTER, ())),
        env=environment(options.env),
        # A dry-run shows what is recorded without it.
        command=(*ctx.command_path.split(), *(w for w in ctx.meta[SCRIPT][1] if w != "--dry-run")),
    )
    if others := [word for word in words if not looks_like(word)]:
        told = "a config is -c NAME, a change KEY=VALUE; what the script takes stands at the end, after --."
        raise click.UsageError(f"{others[0]!r}: {told}", ctx)
    prepared = prepare(wanted)
    target, executor = prepared.target, prepared.target.executor
    changed = adjust(executor, options)
    prepared = replace(prepared, target=replace(target, origins={**target.origins, **changed}))
    for line in target.warnings:
        say(f"warning: {line}")
    settle_processes(executor, target.given | changed.keys(), options.tell)
    executor.validate()
    if executor.kind == LocalExecutor.kind and not executor.setup_lines:
        _check(prepared)
    name = options.name or task_name(prepared.recipe)
    title = options.title or options.name or prepared.recipe.name
    return go(
        title,
        lambda id: prepared.entry(id, title, name, executor),
        executor,
        options,
        detach=options.detach or bool(batch_profile) or target.detach,
        dry_run=options.dry_run or target.dry_run,
        program=ctx.command_path,
    )


def _check(prepared: Prepared) -> None:
    words = prepared.task.interpreter()
    word = words[0] if words else prepared.task.path
    check_command(word if "/" not in word else os.path.join(prepared.wanted.cwd, word), prepared.task.env)
