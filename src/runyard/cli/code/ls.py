"""``runyard code ls``."""

from __future__ import annotations

import dataclasses
import sys
import time

import click

from runyard.backends.codestore import CodeStore
from runyard.cli.code import SUMMARIES
from runyard.cli.code.elsewhere import profile_option, store_of
from runyard.cli.output import age, count, emit, emit_json, say
from runyard.cli.refs import open_store
from runyard.engine import clean
from runyard.home import runyard_home
from runyard.snapshots.gc import store_bytes
from runyard.snapshots.sizes import format_size
from runyard.store.db import NAME
from runyard.terminal import has_colour, table


@click.command("ls", short_help=SUMMARIES["ls"])
@profile_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(profile: str | None, as_json: bool) -> None:
    """List stored code, the one used last first: how large, and which experiments ran with it."""
    found: list[clean.StoredCode] = []
    taken = 0
    if profile or (runyard_home() / NAME).exists():
        with open_store() as db:
            if profile:
                _elsewhere(store_of(profile, db.home), as_json)
                return
            found, taken = clean.stored(db), store_bytes(db.home)
    if as_json:
        emit_json({"disk_bytes": taken, "code": [dataclasses.asdict(c) for c in found]})
        return
    now = time.time()
    rows = [
        (c.hash[:12], str(c.files), format_size(c.bytes), age(now - c.used), _users(c), c.root or "-") for c in found
    ]
    if rows:
        emit(table(("CODE", "FILES", "SIZE", "USED", "BY", "FROM"), rows, has_colour(sys.stdout), {}))
    say(f"{count(len(rows), 'snapshot')}, {format_size(taken)} on disk (equal contents are stored once)")


def _elsewhere(store: CodeStore, as_json: bool) -> None:
    usage = store.usage()
    if as_json:
        emit_json({"place": store.place, **usage._asdict()})
        return
    emit(
        f"{store.place}: {count(usage.objects, 'content')}, {format_size(usage.bytes)}; no code tree needs "
        f"{usage.unused_objects} of them, {format_size(usage.unused_bytes)}"
    )


def _users(code: clean.StoredCode) -> str:
    users = code.experiments
    text = ", ".join(users[:2]) + (f" and {len(users) - 2} more" if len(users) > 2 else "") if users else "-"
    return f"{text} (running)" if code.live else text
