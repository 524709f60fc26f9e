"""``runyard code gc``."""

from __future__ import annotations

import click

from runyard.backends.codestore import CodeStore
from runyard.cli.code import SUMMARIES
from runyard.cli.code.elsewhere import profile_option, store_of
from runyard.cli.output import count, say
from runyard.cli.refs import open_store
from runyard.engine import clean, leftovers
from runyard.errors import ConfigError
from runyard.executors.duration import seconds
from runyard.snapshots.sizes import format_size, parse_size
from runyard.store.db import Database


@click.command("gc", short_help=SUMMARIES["gc"])
@click.option("--older-than", metavar="AGE", help="Remove what was not used for so long (14d, 36h).")
@click.option("--max-size", metavar="SIZE", help="Keep at most so much (10GB); what was used last stays.")
@profile_option
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def command(older_than: str | None, max_size: str | None, profile: str | None, dry_run: bool) -> None:
    """Clean stored code. Code of unfinished jobs is never touched.

    Without options, only what no snapshot needs any more is removed. The records, logs and outputs of experiments
    stay; their code trees go with their code. What experiments that are gone have left on the Docker engine is removed.

    With --profile it cleans the machine where the profile's jobs run: contents that no code tree there needs any more,
    and with --older-than first the code trees of experiments of yours that were launched longer ago and have ended.
    """
    if older_than is not None and older_than.strip().isdigit():
        raise ConfigError(f"--older-than {older_than} has no unit", hint=f"write {older_than}d for days")
    age = seconds(older_than, "--older-than") if older_than is not None else None
    if profile and max_size is not None:
        raise ConfigError("--max-size is for the code that is stored here", hint="use --older-than with --profile")
    with open_store() as db:
        if profile:
            _clean(db, store_of(profile, db.home), age, dry_run)
            return
        done = clean.clean(db, older_than=age, max_size=parse_size(max_size, name="--max-size"), dry_run=dry_run)
        left = leftovers.find(db)
        if not dry_run:
            leftovers.remove(left)
    verb = "would remove" if dry_run else "removed"
    say(
        f"{verb} {count(len(done.snapshots), 'snapshot')} and {count(len(done.trees), 'code tree')}, "
        f"{format_size(done.bytes)}; {format_size(done.kept_bytes)} kept"
    )
    for _, rest in left:
        words = f"{', '.join(rest.what)} of {rest.experiment}, which is not recorded any more"
        say(f"still running, and kept: {words}" if rest.live else f"{verb} {words}")


def _clean(db: Database, store: CodeStore, age: float | None, dry_run: bool) -> None:
    trees = clean.trees_at(db, store, age) if age is not None else []
    before = store.usage()
    removed = store.clean(trees, dry_run)
    if dry_run:
        say(
            f"{store.place}: would remove {count(len(trees), 'code tree')} of ended experiments, and "
            f"{count(removed, 'content')} that no code tree needs; {format_size(before.bytes)} are stored"
        )
        return
    after = store.usage()
    say(
        f"{store.place}: removed {count(removed, 'content')}, {format_size(before.bytes - after.bytes)}; "
        f"{format_size(after.bytes)} kept"
    )
