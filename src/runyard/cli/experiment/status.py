"""``runyard experiment status``."""

from __future__ import annotations

import sys

import click

from runyard.cli.experiment import SUMMARIES
from runyard.cli.output import emit, emit_json
from runyard.cli.refs import find, open_store, ref_argument, revive
from runyard.engine import report
from runyard.store import records
from runyard.terminal import look


@click.command("status", short_help=SUMMARIES["status"])
@ref_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(ref: str, as_json: bool) -> None:
    """Show where each task of an experiment stands.

    An experiment whose controller has died goes on when somebody looks at it.
    """
    with open_store() as db:
        row = find(db, ref)
        revive(db, row)
        if as_json:
            row = records.experiment(db, row.id)
            about = {"id": row.id, "title": row.title, "created": row.created, "live": row.live}
            emit_json({**about, "tasks": report.status_dict(db, row.id)})
        else:
            emit(report.status_table(db, row.id, *look(sys.stdout)))
