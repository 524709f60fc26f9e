"""What a script says about itself: ``[tool.runspec]`` in its block of inline metadata. Pure, but for reading it.

Source: "Inline script metadata" in the Python Packaging User Guide (PEP 723).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from runyard.errors import ConfigError
from runyard.shell import check_env_name

_START = re.compile(r"# /// ([a-zA-Z0-9-]+)\Z")
_END = "# ///"

LAUNCHERS = {"direct": "", "python": "", "torchrun": "torchrun", "ft": "ft"}
"""``launch`` in a block → the launcher."""

_FIELDS: dict[str, dict[str, Any]] = {
    "": {"name": str, "image": str, "schema": object, "docs": object, "setup": (str, list), "env": dict},
    "run": {"launch": str, "cmd": str, "workdir": str},
    "config": {"dir": str, "default": str, "format": str},
    "resources": {"nodes": int, "gpus_per_node": int},
}


@dataclass(frozen=True)
class Recipe:
    """A script, and how it is launched.

    Args:
        path: The script.
        name: Its name.
        image: Container image.
        launcher: Name of the launcher, or empty.
        cmd: Template of its command, or empty.
        config_dir: Folder of its configurations, relative to the script, or empty.
        config_default: Name or path of the configuration that is used when none is given, or empty.
        nodes: Number of nodes, or None.
        gpus_per_node: GPUs on each, or None.
        setup: Lines of bash before the script.
        about: What it says of its surroundings, for people.
        env: Environment variables.
        block: All that stands in ``[tool.runspec]``; None for a plain script.
        notes: Lines for the user: what it says, and does not get.
    """

    path: Path
    name: str
    image: str = ""
    launcher: str = ""
    cmd: str = ""
    config_dir: str = ""
    config_default: str = ""
    nodes: int | None = None
    gpus_per_node: int | None = None
    setup: tuple[str, ...] = ()
    about: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    block: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder that the script stands in."""
        return self.path.parent


def read(path: Path) -> Recipe:
    """Return the recipe that a script is.

    Raises:
        ConfigError: when the file cannot be read, or its block cannot be used; names file and field.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as e:
        raise ConfigError(f"{path} cannot be read: {e.strerror or e}", hint="check the path") from e
    return parse(text, path)


def parse(text: str, path: Path) -> Recipe:
    """Return the recipe in a script's text.

    Raises:
        ConfigError: when its block cannot be used.

    Example:
        >>> text = "# /// script\\n# [tool.runspec]\\n# name = 'pretrain'\\n# run.launch = 'torchrun'\\n# ///\\n"
        >>> recipe = parse(text, Path("train.py"))
        >>> recipe.name, recipe.launcher
        ('pretrain', 'torchrun')
    """
    metadata = script_block(text, str(path))
    if metadata is None:
        unclosed = re.search(r"^# /// script$", text, re.MULTILINE)
        notes = (f"{path}: its script block is not used: no line `# ///` closes it",) if unclosed else ()
        return Recipe(path, path.stem, notes=notes)
    try:
        metadata.encode()
        found = tomllib.loads(metadata)
    except UnicodeEncodeError as e:
        raise ConfigError(f"{path}: its script block is no UTF-8", hint="save the file as UTF-8") from e
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        raise ConfigError(f"{path}: its script block is no TOML: {e}", hint="correct that line") from e
    tool = found.get("tool")
    block = tool.get("runspec") if isinstance(tool, dict) else None
    if block is None:
        return Recipe(path, path.stem)
    if not isinstance(block, dict):
        raise ConfigError(f"{path}: tool.runspec is no table", hint="write [tool.runspec]")
    return _recipe(block, path)


def script_block(text: str, where: str) -> str | None:
    """Return the text of the block of type ``script``, without comment signs; None where there is none.

    Raises:
        ConfigError: when there are several.

    Example:
        >>> script_block("# /// script\\n# a = 1\\n#\\n# b = 2\\n# ///\\n", "x.py")
        'a = 1\\n\\nb = 2\\n'
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    found: list[str] = []
    at = 0
    while at < len(lines):
        start = _START.match(lines[at])
        at += 1
        if not start:
            continue
        end = at
        last = None  # the last line of the comment that can end the block does
        while end < len(lines) and (lines[end] == "#" or lines[end].startswith("# ")):
            last = end if lines[end] == _END else last
            end += 1
        if last is None:
            continue  # not closed: no block
        if start[1] == "script":
            found.append("".join(f"{line[2:]}\n" for line in lines[at:last]))
        at = last + 1
    if len(found) > 1:
        raise ConfigError(f"{where} has {len(found)} script blocks", hint="keep one block `# /// script`")
    return found[0] if found else None


def _recipe(block: Mapping[str, Any], path: Path) -> Recipe:
    top = _checked({k: v for k, v in block.items() if k not in _FIELDS or not k}, "", path, tuple(_FIELDS))
    parts = {name: _checked(_table(block, name, path), name, path) for name in _FIELDS if name}
    launch = parts["run"].get("launch", "direct")
    if launch == "ray":
        raise ConfigError(
            f'{path}: launch = "ray": this Runyard starts no Ray clusters yet',
            hint='write launch = "direct" where the script connects to a cluster of its own',
        )
    if launch not in LAUNCHERS:
        near = get_close_matches(launch, [*LAUNCHERS, "ray"], n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"{path}: launch = {launch!r} is unknown", hint=f"{meant}known: {', '.join(LAUNCHERS)}")
    for name, least in (("nodes", 1), ("gpus_per_node", 0)):
        if parts["resources"].get(name, least) < least:
            raise ConfigError(f"{path}: {name} = {parts['resources'][name]}", hint=f"give {least} or more")
    setup = top.get("setup", "")
    if isinstance(setup, list) and not all(isinstance(line, str) for line in setup):
        raise ConfigError(f"{path}: setup is no list of texts", hint='write setup = ["module load cuda"]')
    return Recipe(
        path,
        top.get("name") or path.stem,
        image=top.get("image", ""),
        launcher=LAUNCHERS[launch],
        cmd=parts["run"].get("cmd", ""),
        config_dir=parts["config"].get("dir", ""),
        config_default=parts["config"].get("default", ""),
        nodes=parts["resources"].get("nodes"),
        gpus_per_node=parts["resources"].get("gpus_per_node"),
        setup=tuple(setup) if isinstance(setup, list) else (),
        about=setup.strip() if isinstance(setup, str) else "",
        env=_env(top.get("env", {}), path),
        block=block,
        notes=tuple(_unused(parts, path)),
    )


def _unused(parts: Mapping[str, Mapping[str, Any]], path: Path) -> Iterator[str]:
    """Yield what blocks of other tools say, and Runyard does otherwise."""
    if "workdir" in parts["run"]:
        yield f"{path}: run.workdir is not used: the script runs in the folder of its code"
    if (form := parts["config"].get("format", "yaml")) not in ("yaml", "omegaconf"):
        yield f"{path}: config.format = {form!r} is not used: the script gets YAML"


def _env(given: Mapping[str, Any], path: Path) -> dict[str, str]:
    out = {}
    for name, value in given.items():
        check_env_name(name, f"{path}: env")
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ConfigError(f"{path}: env.{name} = {value!r} is no text", hint=f'write {name} = "…"')
        out[name] = str(value)
    return out


def _table(block: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    table = block.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: tool.runspec.{name} is no table", hint=f"write [tool.runspec.{name}]")
    return table


def _checked(table: Mapping[str, Any], part: str, path: Path, more: tuple[str, ...] = ()) -> dict[str, Any]:
    known = _FIELDS[part]
    dotted = f"{part}." if part else ""
    for name, value in table.items():
        if name not in known:
            names = [n for n in (*known, *more) if n]
            near = get_close_matches(name, names, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(names)}"
            raise ConfigError(f"{path}: [tool.runspec] has no field {dotted + name!r}", hint=meant)
        if not isinstance(value, known[name]) or (known[name] is int and isinstance(value, bool)):
            wanted = {str: "a text", int: "a whole number", dict: "a table"}.get(
                known[name], "a text or a list of texts"
            )
            raise ConfigError(f"{path}: {dotted}{name} = {value!r}", hint=f"it is {wanted}")
    return dict(table)
