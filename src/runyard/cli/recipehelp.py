"""The help page of a recipe: what it is, its configs, the profiles here, what can be overridden, examples."""

from __future__ import annotations

import ast
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from runyard.errors import RunyardError
from runyard.recipes import block, configs
from runyard.recipes.block import Recipe

Rows = list[tuple[str, str]]
_SHOWN = 12


def first_line(script: Path) -> str:
    """Return the first line of a script's docstring, without running it."""
    try:
        text = ast.get_docstring(ast.parse(script.read_bytes())) or ""
    except OSError:
        return f"(there is no {script})"
    except (SyntaxError, ValueError, RecursionError):
        return ""
    return text.strip().partition("\n")[0]


def write(script: Path, about: str, formatter: click.HelpFormatter) -> None:
    """Write what a recipe is."""
    formatter.write_paragraph()
    about = about or first_line(script)
    if about:
        formatter.write_text(about)
        formatter.write_paragraph()
    try:
        recipe = block.read(script)
    except RunyardError as e:
        formatter.write_text(f"It cannot be used: {e.message}")
        return
    formatter.write_text(_described(recipe))


def panels(script: Path, command: str, formatter: click.HelpFormatter) -> None:
    """Write the sections about configs, profiles, overrides, and examples."""
    try:
        recipe = block.read(script)
    except RunyardError:
        return
    names, default = configs.names(recipe), configs.default(recipe)
    profiles = _profiles()
    _section(formatter, "Configs (-c NAME)", [*_configs(recipe, names, default), ("-c PATH", "any other file")])
    _section(formatter, "Profiles of env.toml (--run NAME, --batch NAME)", profiles)
    keys = _keys(recipe, default)
    _section(formatter, "Overrides (KEY=VALUE)", [*keys, *_FIELDS])
    named = [name for name, kind in profiles if kind != "local" and name != "-"] or ["CLUSTER"]
    profile = named[0]
    other = next((name for name in names if name != default), "")
    examples = [
        f"{command} --run {profile}",
        f"{command}{f' -c {other}' if other else ''} --batch {profile} run.nodes=2",
        f"{command} --run {profile} --dry-run",
    ]
    if keys:
        examples.append(f"{command} {keys[0][0]}=VALUE")
    with formatter.section("Examples"):
        for line in examples:
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


_FIELDS: Rows = [
    ("run.nodes, run.time, …", "any field of the executor: it wins over the profile"),
    ("run.env.NAME", "a variable of the job"),
]


def _described(recipe: Recipe) -> str:
    size = f"{recipe.nodes or 1} node{'s' if (recipe.nodes or 1) > 1 else ''}"
    if recipe.gpus_per_node:
        size += f" with {recipe.gpus_per_node} GPUs each"
    parts = [os.path.relpath(recipe.path), f"on {size}"]
    parts += [f"with {recipe.launcher}"] if recipe.launcher else []
    parts += [f"in {recipe.image}"] if recipe.image else []
    return ", ".join(parts) + "." + (f" {recipe.about}" if recipe.about else "")


def _section(formatter: click.HelpFormatter, title: str, rows: Rows) -> None:
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows, col_max=46)


def _configs(recipe: Recipe, names: list[str], default: str) -> Rows:
    rows = []
    for name in names:
        path = next(p for folder in configs.folders(recipe) for p in folder.glob(f"{name}.*"))
        rows.append((name, os.path.relpath(path) + ("  [the default]" if name == Path(default).stem else "")))
    return rows


def _profiles() -> Rows:
    from runyard.profiles.files import open_book

    try:
        book = open_book()
    except RunyardError as e:
        return [("-", f"cannot be read: {e.message}")]
    rows = []
    for name in book.names():
        kind = "?"
        with suppress(RunyardError):
            kind = str(book.profile(name).fields.get("executor", "local"))
        rows.append((name, kind))
    return rows


def _keys(recipe: Recipe, default: str) -> Rows:
    """Return the keys of the default config, with what stands there."""
    if not default:
        return []
    try:
        data = configs.load(configs.find(recipe, default, recipe.folder)).data
    except RunyardError as e:
        return [("-", f"the config {default} cannot be read: {e.message}")]
    rows: Rows = []
    for name, value in data.items():
        if name != "run":
            rows += (
                [(f"{name}.{k}", _short(v)) for k, v in value.items()]
                if isinstance(value, dict)
                else [(name, _short(value))]
            )
    return rows if len(rows) <= _SHOWN else [*rows[:_SHOWN], ("…", f"{len(rows) - _SHOWN} more in {default}")]


def _short(value: Any) -> str:
    from runyard.recipes.interpolate import masked

    text = f"a table of {len(value)}" if isinstance(value, dict) else str(masked(value))
    return text if len(text) <= 50 else text[:49] + "…"
