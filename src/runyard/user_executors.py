"""Executors that a user keeps in a Python file of their own."""

from __future__ import annotations

import importlib.util
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from runyard.errors import ConfigError
from runyard.home import runyard_home


def import_executor(name: str, file_path: str | Path | None = None, call: bool = True, **kwargs: Any) -> Any:
    """Return an executor by its name in a Python file.

    Args:
        name: Name of a function (or object) in the file.
        file_path: The file; default: ``executors.py`` in :func:`~runyard.home.runyard_home`.
        call: Call the function and return its result; else return it as it is.
        **kwargs: Arguments of the call.

    Raises:
        ConfigError: when the file or the name does not exist.

    Example:
        >>> import_executor("my_cluster", nodes=2)  # doctest: +SKIP
    """
    path = Path(file_path).expanduser() if file_path else runyard_home() / "executors.py"
    if not path.is_file():
        raise ConfigError(
            f"there is no executors file {path}",
            hint=f"define `def {name}(...): return run.LocalExecutor(...)` in it",
        )
    module_name = f"runyard_user_executors_{abs(hash(str(path.resolve())))}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    names = [n for n in vars(module) if not n.startswith("_")]
    if name not in names:
        near = get_close_matches(name, names, n=1)
        meant = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(names) or 'nothing'}"
        raise ConfigError(f"{path} defines no {name!r}", hint=meant)
    found = getattr(module, name)
    return found(**kwargs) if call and callable(found) else found
