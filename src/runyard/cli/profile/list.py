"""``runyard profile list``."""

from __future__ import annotations

import sys
from typing import Any

import click

from runyard.cli.output import emit, emit_json, say
from runyard.cli.profile import SUMMARIES
from runyard.errors import ProfileError
from runyard.profiles.book import Book
from runyard.profiles.files import NAME, open_book
from runyard.terminal import has_colour, table


@click.command("list", short_help=SUMMARIES["list"])
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the profiles that can be used here: those of the project's env.toml, and your own.

    Your own stand in ~/.config/runyard/env.toml. RUNYARD_PROFILES names another file for the project's.
    """
    book = open_book()
    rows = [_row(book, name) for name in book.names()]
    if as_json:
        emit_json(rows)
    elif rows:
        cells = [(r["name"], r["executor"], str(r["extends"] or "-"), ", ".join(r["files"])) for r in rows]
        emit(table(("PROFILE", "EXECUTOR", "EXTENDS", "FILE"), cells, has_colour(sys.stdout)))
    if not rows:
        files = ", ".join(file.path for file in book.files)
        say(f"no profiles in {files}" if files else f"no profiles: there is no {NAME} here or above")


def _row(book: Book, name: str) -> dict[str, Any]:
    try:
        executor = str(book.profile(name).fields.get("executor", "local"))
    except ProfileError:
        executor = "?"  # `runyard profile check` tells why
    files = [file.path for file in book.files if name in file.sections]
    extends = book.written(name).fields.get("extends")
    return {"name": name, "executor": executor, "extends": extends, "files": files}
