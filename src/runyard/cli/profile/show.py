"""``runyard profile show``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import click

from runyard.cli.output import emit, emit_json
from runyard.cli.profile import SUMMARIES, complete_profile
from runyard.config.toml import dumps
from runyard.profiles.book import Profile
from runyard.profiles.files import open_book
from runyard.profiles.load import filled
from runyard.secrets import MASK, Secret, looks_secret, redact


@click.command("show", short_help=SUMMARIES["show"])
@click.argument("name", shell_complete=complete_profile)
@click.option("--resolved", is_flag=True, help="With what it inherits, and variables filled in.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name: str, resolved: bool, as_json: bool) -> None:
    """Show what the profile NAME says. Secret values are never shown."""
    book = open_book()
    profile = filled(book.profile(name), os.environ) if resolved else book.written(name)
    fields = _hidden(profile.fields, [v for k, v in os.environ.items() if looks_secret(k)])
    if as_json:
        origins = {k: {"file": o.path, "section": o.section} for k, o in profile.origins.items() if k in fields}
        emit_json({"name": name, "chain": list(profile.chain), "fields": fields, "origins": origins})
        return
    emit("\n".join([*_heading(profile, resolved), dumps({name: fields}).rstrip("\n")]))


def _heading(profile: Profile, resolved: bool) -> list[str]:
    files = list(dict.fromkeys(origin.path for origin in profile.origins.values()))
    lines = [f"# {path}" for path in files]
    return [*lines, f"# {' -> '.join(profile.chain)}"] if resolved and len(profile.chain) > 1 else lines


def _hidden(value: Any, values: Sequence[str], name: str = "") -> Any:
    """Return plain data in which nothing secret can be read."""
    if isinstance(value, Secret) or (isinstance(value, (str, int, float)) and looks_secret(name)):
        written = isinstance(value, str) and value.startswith("${oc.env:") and "," not in value
        return value if written else MASK
    if isinstance(value, Mapping):
        if set(value) == {"secret"}:  # the name of a variable, not its value
            return dict(value)
        return {k: _hidden(v, values, str(k)) for k, v in value.items()}
    if isinstance(value, list):
        return [_hidden(v, values, v.partition("=")[0] if isinstance(v, str) and "=" in v else name) for v in value]
    return redact(value, values) if isinstance(value, str) else value
