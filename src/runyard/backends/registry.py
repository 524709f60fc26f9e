"""From an executor to the backend that serves it."""

from __future__ import annotations

import importlib
from typing import cast

from runyard.backends.base import Backend
from runyard.errors import ConfigError
from runyard.executors.base import Executor


def backend_class(executor: Executor) -> type[Backend]:
    """Return the backend class that an executor names.

    Raises:
        ConfigError: when it cannot be imported; a missing SDK is named by the backend itself.
    """
    return backend_class_of(type(executor))


def backend_class_of(executor: type[Executor]) -> type[Backend]:
    """Return the backend class that a class of executors names.

    Raises:
        ConfigError: as :func:`backend_class`.
    """
    module, _, name = executor.backend.partition(":")
    if not name:
        raise ConfigError(
            f"{executor.__name__} names no backend",
            hint='set its class variable backend = "module:Class"',
        )
    try:
        return cast("type[Backend]", getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError) as e:
        raise ConfigError(
            f"the backend {executor.backend} of {executor.__name__} cannot be imported: {e}",
            hint="check the package that offers this executor",
        ) from e
