"""``runyard code show``."""

from __future__ import annotations

from typing import Any

import click

from runyard.cli.code import SUMMARIES
from runyard.cli.output import emit, emit_json, say
from runyard.cli.refs import complete_ref, find, open_store
from runyard.engine import replay
from runyard.errors import ConfigError
from runyard.packagers.base import Packager, make_packager
from runyard.snapshots.sizes import format_size
from runyard.snapshots.snapshot import Snapshot, launch_line

KINDS = ("git", "pattern", "hybrid", "project")


@click.command("show", short_help=SUMMARIES["show"])
@click.argument("folder", default=".", metavar="[FOLDER]", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--packager", "kind", type=click.Choice(KINDS), default="git", show_default=True, help="What chooses the files."
)
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="A field of the packager (subpath=src).")
@click.option("--explain", metavar="FILE", help="Say whether this file ships, and why.")
@click.option("--of", "ref", metavar="REF", shell_complete=complete_ref, help="The code an experiment ran with.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every file.")
def command(
    folder: str, kind: str, settings: tuple[str, ...], explain: str | None, ref: str | None, as_json: bool
) -> None:
    """Show what would ship from FOLDER: the files, and what stays behind.

    \b
    runyard code show
    runyard code show --explain data/big.bin
    runyard code show --packager pattern --set include_pattern='src/**'
    """
    if ref:
        snapshots = _recorded(ref)
    else:
        packager = make_packager(kind, **_options(settings))
        if explain:
            emit(packager.explain(explain, folder))
            return
        snapshots = [_taken(packager, folder)]
    if as_json:
        emit_json([s.to_dict(entries=True) for s in snapshots])
        return
    for snapshot in snapshots:
        say(launch_line(snapshot))
        for entry in snapshot.to_dict(entries=True)["entries"]:
            mark = {"executable": "*", "link": f" -> {entry['value']}", "folder": "/"}.get(entry["kind"], "")
            emit(f"{format_size(entry['size']):>10}  {entry['path']}{mark}")
        for left in snapshot.skipped:
            say(f"stays behind: {left.path} ({left.reason})")
        for warning in snapshot.warnings:
            say(f"warning: {warning}")


def _taken(packager: Packager, folder: str) -> Snapshot:
    snapshot = packager.snapshot(folder)
    if snapshot is None:
        raise ConfigError("this packager ships nothing", hint=f"choose one of {', '.join(KINDS)}")
    return snapshot


def _recorded(ref: str) -> list[Snapshot]:
    with open_store() as db:
        hashes = replay.code_of(db, find(db, ref).id).hashes
        return [Snapshot.load(h, home=db.home) for h in dict.fromkeys(hashes.values())]


def _options(settings: tuple[str, ...]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting} has no =", hint="write --set FIELD=VALUE")
        options[name] = {"true": True, "false": False}.get(value.lower(), value)
    return options
