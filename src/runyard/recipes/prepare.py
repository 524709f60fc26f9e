"""From a script and a command line to a task, and to where it goes. Reads files; writes and contacts nothing."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from runyard.engine.plan import Entry
from runyard.errors import ConfigError
from runyard.executors.base import Executor
from runyard.profiles.load import Target, parse_overrides
from runyard.recipes import block, configs, interpolate, overrides, records
from runyard.recipes.block import Recipe
from runyard.recipes.resolve import Asked, target
from runyard.secrets import Secret, resolve, split_env
from runyard.snapshots import Snapshot
from runyard.task import Script, safe_name

_PLACE = re.compile(r"(?<![\${])\{[A-Za-z_]\w*(?:\}|\Z)")
_PLAIN = re.compile(r"\{(\{\w+\})\}")
_FILLED = re.compile(rf"{_PLAIN.pattern}|\{{config\}}")


@dataclass(frozen=True)
class Wanted:
    """What a command line asks for.

    Args:
        script: The script, as it was given.
        cwd: Where the user is.
        config: Name or path of the configuration; empty for the recipe's own default.
        profile: Name of the profile; empty for none.
        mode: ``run`` or ``batch``.
        kind: Kind of the executor where there is no profile; None for this machine.
        where: Overrides of the executor, ``run.nodes=8``.
        settings: Overrides of the configuration, ``train.iters=5``.
        args: Words for the script itself.
        env: Variables for the script.
        command: The whole command line, for the record.
    """

    script: Path
    cwd: Path
    config: str = ""
    profile: str = ""
    mode: str = "run"
    kind: str | None = None
    where: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A recipe that is ready to launch.

    Args:
        wanted: What was asked for.
        recipe: The recipe.
        task: Its task; ``train.yaml`` is one of its files.
        target: Where it goes.
        config: The resolved configuration; None for none.
        files: What was read for it, the weakest first.
    """

    wanted: Wanted
    recipe: Recipe
    task: Script
    target: Target
    config: Mapping[str, Any] | None = None
    files: tuple[Path, ...] = ()

    def entry(self, id: str, title: str, name: str, executor: Executor) -> Entry:
        """Return the task for an experiment, which writes ``job.yaml`` once its code is known.

        Args:
            id: The experiment's id.
            title: Its title.
            name: The task's name.
            executor: Where it goes, as the command line changed it.
        """
        env = dict(self.task.env)
        own = {name: value for name, value in (self.config or {}).items() if name != records.RUN}
        for variable, needed in interpolate.secrets(own).items():
            # The script reads it in the job. Without a default it must be set here.
            if variable not in executor.env_vars and (needed or variable in os.environ):
                env.setdefault(variable, Secret(variable))  # type: ignore[arg-type]
        task = replace(self.task, env=env)
        hidden = split_env({**executor.env_vars, **env})[1]
        secrets = [*records.known_secrets(os.environ), *resolve(hidden).values()]

        def more_files(snapshot: Snapshot | None) -> Mapping[str, str]:
            return {records.JOB: self._job(id, title, executor, snapshot, secrets)}

        return Entry(name, (task,), (executor,), tail_logs=True, more_files=more_files)

    def _job(self, id: str, title: str, executor: Executor, snapshot: Snapshot | None, secrets: Sequence[str]) -> str:
        wanted, profile = self.wanted, self.target.profile
        chain = {"name": profile.name, "mode": wanted.mode, "chain": list(profile.chain)} if profile.name else {}
        config = {
            "files": [str(p) for p in self.files],
            "overrides": list(wanted.settings),
            "resolved": self.config,
        }
        return records.job(
            id=id,
            title=title,
            recipe={"script": str(self.recipe.path), "name": self.recipe.name, "block": self.recipe.block},
            config=config if self.config is not None else {},
            profile=chain,
            executor=executor,
            origins=self.target.origins,
            command=wanted.command,
            cwd=wanted.cwd,
            script=self.recipe.path,
            snapshot=snapshot,
            secrets=secrets,
        )


def prepare(wanted: Wanted) -> Prepared:
    """Return a recipe that is ready to launch.

    Raises:
        ConfigError: when script, configuration, overrides or profile cannot be used.
    """
    recipe = block.read(found(wanted.script, wanted.cwd))
    name = wanted.config or configs.default(recipe)
    if not name and recipe.block is None:
        task = _task(recipe, wanted, [*wanted.settings, *wanted.args], False)
        return Prepared(wanted, recipe, task, target(recipe, _asked(wanted, {}, "")))
    if not name:
        if wanted.settings:
            raise ConfigError(
                f"{wanted.settings[0]!r} changes a config, and {recipe.name} has none",
                hint="name one with -c; what the script itself takes stands after --",
            )
        return Prepared(
            wanted, recipe, _task(recipe, wanted, wanted.args, False), target(recipe, _asked(wanted, {}, ""))
        )
    path = configs.find(recipe, name, wanted.cwd if wanted.config else recipe.folder)
    loaded = configs.load(path)
    where = os.path.relpath(path, wanted.cwd)
    notes: list[str] = []
    config = interpolate.fill(overrides.apply(loaded.data, wanted.settings, notes), os.environ, where)
    task = _task(recipe, wanted, wanted.args, True)
    task = replace(task, files={records.TRAIN: records.train(config, where, os.environ)})
    section = config.get(records.RUN) or {}
    place = target(recipe, _asked(wanted, section, where))
    place = replace(place, warnings=(*place.warnings, *notes))
    return Prepared(wanted, recipe, task, place, config, loaded.files)


def found(script: Path, cwd: Path) -> Path:
    """Return a script's path.

    Raises:
        ConfigError: when there is no such file, with the nearest.
    """
    path = cwd / os.path.expanduser(script)
    if path.is_file():
        return path
    near: list[str] = []
    if path.parent.is_dir():
        near = get_close_matches(path.name, [p.name for p in path.parent.iterdir() if p.suffix == ".py"], n=1)
    meant = f"did you mean {script.parent / near[0]}?" if near else f"looked in {path.parent}"
    what = "is a folder" if path.is_dir() else "does not exist"
    raise ConfigError(f"the script {script} {what}", hint=meant)


def _asked(wanted: Wanted, section: Mapping[str, Any], where: str) -> Asked:
    fields = parse_overrides(list(wanted.where))
    return Asked(wanted.profile, wanted.mode, fields, wanted.kind, section, where)


def _task(recipe: Recipe, wanted: Wanted, args: Sequence[str], with_config: bool) -> Script:
    """Return the task from the recipe's command: a template with ``{script}`` and ``{config}``, never a shell's."""
    words = _words(recipe, with_config)
    filled = [_filled(word, str(recipe.path), Script.file(records.TRAIN)) for word in words]
    env: dict[str, str] = dict(wanted.env)
    if "{script}" not in words:
        return Script(filled[0], entrypoint="", args=[*filled[1:], *args], env=env)
    at = words.index("{script}")
    rest = filled[at + 1 :]
    path = os.path.relpath(recipe.path, wanted.cwd)
    script = str(recipe.path) if path.startswith("..") else path if at or "/" in path else f"./{path}"
    return Script(script, entrypoint=shlex.join(filled[:at]), args=[*rest, *args], env=env)


def _filled(word: str, script: str, config: str) -> str:
    if word == "{script}":
        return script
    return _FILLED.sub(lambda found: found[1] or config, word)


def _words(recipe: Recipe, with_config: bool) -> list[str]:
    template = recipe.cmd or ("python {script} --config {config}" if with_config else "python {script}")
    try:
        words = shlex.split(template)
    except ValueError as e:
        raise ConfigError(f"{recipe.path}: cmd = {template!r}: {e}", hint="close the quote") from e
    for word in words:
        bare = _PLAIN.sub("", word)
        if unknown := _PLACE.search(bare.replace("{script}", "").replace("{config}", "")):
            name = unknown[0].strip("{}")
            raise ConfigError(
                f"{recipe.path}: cmd: {unknown[0]} stands for nothing",
                hint=f"{{script}} and {{config}} do; for the text {{{name}}} itself write {{{{{name}}}}}",
            )
        if "{script}" in bare and word != "{script}":
            raise ConfigError(f"{recipe.path}: cmd: {word!r}", hint="let {script} stand as a word of its own")
        head, held, tail = bare.partition("{config}")
        if held and (tail or (head and not (head.startswith("-") and head.endswith("=")))):
            raise ConfigError(f"{recipe.path}: cmd: {word!r}", hint="write {config}, or --option={config}")
        if held and not with_config:
            raise ConfigError(f"{recipe.name} has no config, which its cmd names", hint="name one with -c")
    if not words:
        raise ConfigError(f"{recipe.path}: cmd is empty", hint='write cmd = "python {script} --config {config}"')
    return words


def task_name(recipe: Recipe) -> str:
    """Return the name of a recipe's task: the last part of its own.

    Example:
        >>> task_name(Recipe(Path("train.py"), "nano3/pretrain"))
        'pretrain'
    """
    return safe_name(recipe.name.rstrip("/").rpartition("/")[2])
