"""``runyard profile``: list, show or check execution profiles. One file per command."""

from __future__ import annotations

from contextlib import suppress

import click
from click.shell_completion import CompletionItem

from runyard.cli.lazy import LazyGroup
from runyard.errors import RunyardError

SUMMARIES = {
    "list": "List the profiles that can be used here.",
    "show": "Show what a profile says, without secret values.",
    "check": "Log in where a profile leads, and say what would not work.",
}

command = LazyGroup(
    name="profile",
    package="runyard.cli.profile",
    summaries=SUMMARIES,
    help="List, show and check execution profiles (env.toml).",
)


def complete_profile(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the profiles that can be used here."""
    with suppress(RunyardError):
        from runyard.profiles.files import open_book

        return [CompletionItem(name) for name in open_book().names() if name.startswith(incomplete)]
    return []
