"""``runyard completion``: the script that teaches a shell to complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from runyard.cli.output import emit
from runyard.cli.root import cli
from runyard.errors import ConfigError

VARIABLE = "_RUNYARD_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that makes a shell complete commands.

    \b
    bash:  eval "$(runyard completion bash)"             in ~/.bashrc
    zsh:   eval "$(runyard completion zsh)"              in ~/.zshrc
    fish:  runyard completion fish > ~/.config/fish/completions/runyard.fish

    Options, commands, experiments (REF), tasks, profiles and configs of scripts are completed.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise ConfigError(f"no completion for {shell} in this version of click", hint="pip install --upgrade click")
    emit(kind(cli, {}, "runyard", VARIABLE).source())
