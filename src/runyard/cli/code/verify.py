"""``runyard code verify``."""

from __future__ import annotations

import click

from runyard.cli.code import SUMMARIES
from runyard.cli.code.elsewhere import profile_option, store_of
from runyard.cli.output import emit, say
from runyard.cli.refs import open_store
from runyard.snapshots.check import damaged


@click.command("verify", short_help=SUMMARIES["verify"])
@profile_option
@click.option("--repair", is_flag=True, help="Remove damaged objects, so that a launch writes them anew.")
def command(profile: str | None, repair: bool) -> int:
    """Check the hashes of stored code. Exit code 1 when something is damaged."""
    with open_store() as db:
        bad = store_of(profile, db.home).damaged(repair) if profile else damaged(db.home, repair=repair)
    for key in bad:
        emit(key)
    if bad:
        done = " taken out; the next launch captures them anew" if repair else "; --repair takes them out"
        say(f"{len(bad)} damaged object(s){done}")
        return 1
    say("all stored code is whole")
    return 0
