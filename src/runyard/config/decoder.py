"""Turn a call tree back into Buildables."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from runyard.config import naming
from runyard.config.core import Config, Partial
from runyard.errors import ConfigError
from runyard.runner import pytask
from runyard.secrets import Secret, Unrecorded


class Decoder(pytask.Builder):
    """Like the job's builder, but a call becomes a Config and a partial becomes a Partial."""

    def call(self, target: Any, args: list[Any], kwargs: dict[str, Any], path: str) -> Any:
        del path
        return Config(target, *args, **kwargs)

    def partial(self, target: Any, args: list[Any], kwargs: dict[str, Any], path: str) -> Any:
        del path
        return Partial(target, *args, **kwargs)

    def secret(self, name: str, node: dict[str, Any], path: str) -> Any:
        del path
        return Unrecorded(name, node["at"]) if "at" in node else Secret(name)


def decode_tree(
    tree: dict[str, Any], values: Callable[[], Sequence[Any]] | None, main: str | None, package: str | None
) -> Partial[Any]:
    """See :func:`runyard.config.calltree.decode`."""

    def load_main() -> Any:
        running = naming.main_script()
        if main is None or (running is not None and os.path.realpath(main) == os.path.realpath(running[0])):
            return sys.modules["__main__"]
        return pytask.load_main(main, package)

    decoder = Decoder(tree, functools.cache(values) if values else None, load_main)
    try:
        target = decoder.target(tree["$call"], "task")
        args, kwargs = decoder.arguments(tree, "task")
        return Partial(target, *args, **kwargs)
    except pytask.CannotStart as error:
        raise ConfigError(str(error)) from None
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"cannot import {error.name!r}, which the task needs", hint="install it or set PYTHONPATH"
        ) from None
