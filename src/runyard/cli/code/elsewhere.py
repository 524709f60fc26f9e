"""The option ``--profile`` of the commands on stored code: the store where a profile's jobs run."""

from __future__ import annotations

from pathlib import Path

import click

from runyard.backends.codestore import CodeStore
from runyard.cli.profile import complete_profile
from runyard.engine import clean
from runyard.errors import ConfigError
from runyard.profiles.load import resolve

profile_option = click.option(
    "--profile",
    metavar="NAME",
    shell_complete=complete_profile,
    help="Code stored where this profile of env.toml leads, instead of here.",
)


def store_of(name: str, home: Path) -> CodeStore:
    """Return the store of code where a profile leads.

    Raises:
        ProfileError: when the profile cannot be used.
        ConfigError: when its code is in no store elsewhere: its jobs run here, or the scheduler keeps it by itself.
    """
    store = clean.code_store(resolve(name).executor, home)
    if store is None:
        raise ConfigError(
            f"--profile {name}: Runyard keeps no folder with code of its jobs elsewhere",
            hint="leave --profile out to see and clean what is stored here",
        )
    return store
