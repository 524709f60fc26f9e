"""The command line: ``run.cli.entrypoint``, ``factory`` and ``main`` for your own functions, and ``runyard`` itself.
:class:`run.cli.App` makes a program of recipes.

A script makes a function a command with typed arguments, ``python train.py model.size=3 executor=slurm``; factories
give names to what the arguments can be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runyard.lazynames import lazy_names

if TYPE_CHECKING:
    from runyard.cli.app import App as App
    from runyard.cli.entrypoints.context import RunContext as RunContext
    from runyard.cli.entrypoints.decorate import entrypoint as entrypoint
    from runyard.cli.entrypoints.decorate import factory as factory
    from runyard.cli.entrypoints.decorate import list_entrypoints as list_entrypoints
    from runyard.cli.entrypoints.decorate import list_factories as list_factories
    from runyard.cli.entrypoints.decorate import resolve_factory as resolve_factory
    from runyard.cli.entrypoints.program import create_cli as create_cli
    from runyard.cli.entrypoints.program import main as main

# Besides these the package has one module (or package) per command of ``runyard``, loaded when it is used; its
# attribute ``command`` is the command. What a command prints on standard output is data; everything that is said
# to a person goes to standard error.
_NAMES = {
    "App": "app",
    "entrypoint": "entrypoints.decorate",
    "factory": "entrypoints.decorate",
    "main": "entrypoints.program",
    "RunContext": "entrypoints.context",
    "create_cli": "entrypoints.program",
    "resolve_factory": "entrypoints.decorate",
    "list_factories": "entrypoints.decorate",
    "list_entrypoints": "entrypoints.decorate",
}

__all__ = list(_NAMES)

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
