"""``runyard version``."""

from __future__ import annotations

import click

import runyard
from runyard.cli.output import emit
from runyard.cli.root import SUMMARIES


@click.command("version", help=SUMMARIES["version"])
def command() -> None:
    """Print the version."""
    emit(f"runyard {runyard.__version__}")
