"""``runyard experiment pull``."""

from __future__ import annotations

import os
import sys
import time

import click

from runyard.cli.experiment import SUMMARIES
from runyard.cli.output import emit_json, say
from runyard.cli.refs import complete_task, find, open_store, ref_argument, revive
from runyard.engine.choose import EVERYTHING
from runyard.engine.follow import names_of
from runyard.engine.pull import pull
from runyard.snapshots.sizes import format_size
from runyard.store import records
from runyard.terminal import is_terminal

_EVERY = 0.2
"""Seconds between two looks of a progress line."""


@click.command("pull", short_help=SUMMARIES["pull"])
@ref_argument
@click.argument("task", metavar="TASK", shell_complete=complete_task)
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1)
@click.option("--into", type=click.Path(file_okay=False), metavar="DIR", help="Folder for the files.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Output of this attempt, not the newest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    ref: str, task: str, patterns: tuple[str, ...], into: str | None, attempt: int | None, as_json: bool
) -> None:
    """Bring files of a TASK, given by name or number, from where it ran; only what is new.

    A PATTERN is a path or a glob ('checkpoints/**') in the task's output folder, or where nothing matches there, in
    its working directory. Without one, all outputs. Prints the paths here. The task may still be running.
    """
    with open_store() as db:
        row = find(db, ref)
        revive(db, row)
        rows = records.jobs(db, row.id)
        (name,) = names_of(rows, [task])
        job = next(r for r in rows if r.name == name)
        progress = _Progress()
        try:
            pulled = pull(db, job, patterns or EVERYTHING, into, attempt, progress)
        finally:
            progress.clear()
    if as_json:
        emit_json(
            {
                "folder": str(pulled.folder),
                "files": [str(path) for path in pulled.files],
                "pulled": pulled.fetched,
                "bytes": pulled.size,
                "warnings": list(pulled.warnings),
            }
        )
    else:
        _emit_paths([str(path) for path in pulled.files])
    for warning in pulled.warnings:
        say(f"warning: {warning}")
    say(f"{name}: {pulled.summary()}")


def _emit_paths(paths: list[str]) -> None:
    """Print paths byte for byte: a name need not be text."""
    sys.stdout.flush()
    sys.stdout.buffer.write(b"".join(os.fsencode(path) + b"\n" for path in paths))
    sys.stdout.flush()


class _Progress:
    """A line on a terminal that tells how far it is."""

    def __init__(self) -> None:
        self._live = is_terminal(sys.stderr)
        self._at = 0.0
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        """Show it, unless it was shown just now."""
        if self._live and time.monotonic() - self._at >= _EVERY:
            self._at = time.monotonic()
            self._shown = True
            sys.stderr.write(f"\r\033[K{format_size(done)} of {format_size(total)}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
