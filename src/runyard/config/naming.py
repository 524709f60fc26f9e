"""Names for functions, classes and modules that a job can import."""

from __future__ import annotations

import importlib
import os
import re
import sys
import types
from typing import Any

from runyard.errors import ConfigError
from runyard.runner.pytask import MAIN

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_MAINS = ("__main__", MAIN)


def main_script(module: str = "__main__") -> tuple[str, str | None] | None:
    """Return the launching script's path and package; None in a notebook, at a prompt, for ``-c``."""
    main = sys.modules.get(module)
    file = getattr(main, "__file__", None)
    if not file or not os.path.isfile(file) or (module == "__main__" and in_notebook()):
        return None
    return os.path.abspath(file), getattr(main, "__package__", None) or None


def in_notebook() -> bool:
    """Tell whether this is an IPython shell or notebook, where ``__main__`` is no file."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def lookup(module: str, qualname: str) -> Any:
    """Return ``module``'s ``qualname``, or None when either does not exist."""
    found: Any = sys.modules.get(module)
    if found is None:
        try:
            found = importlib.import_module(module)
        except Exception:  # noqa: BLE001 - a module that cannot be imported names nothing
            return None
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def by_name(obj: Any) -> str | None:
    """Return ``"pkg.mod:qualname"`` when importing that in a job gives ``obj``; else None (by value).

    What the launching script defines is named ``"__main__:qualname"``.

    Example:
        >>> import json
        >>> by_name(json.dumps)
        'json:dumps'
        >>> by_name(lambda: None) is None
        True
    """
    if isinstance(obj, types.ModuleType):
        return f"{obj.__name__}:" if sys.modules.get(obj.__name__) is obj and obj.__name__ not in _MAINS else None
    qualname = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
    if not isinstance(qualname, str) or "<" in qualname:  # <lambda>, <locals>
        return None
    place = _place(obj, qualname)
    if place is None:
        return None
    module, qualname = place
    if module not in _MAINS:
        return f"{module}:{qualname}"
    typed = getattr(getattr(obj, "__code__", None), "co_filename", "").startswith("<")  # at python -i's prompt
    return None if typed or main_script(module) is None else f"__main__:{qualname}"


def _place(obj: Any, qualname: str) -> tuple[str, str] | None:
    """Return the module and qualified name under which ``obj`` itself can be found."""
    module = getattr(obj, "__module__", None)
    short = str(getattr(obj, "__name__", qualname))
    if isinstance(module, str):
        for name in (qualname, short):  # torch.relu calls itself _VariableFunctionsClass.relu
            if lookup(module, name) is obj:
                return module, name
        if module == "builtins" and isinstance(obj, type):  # "function" is types.FunctionType
            return next((("types", name) for name, known in vars(types).items() if known is obj), None)
    if not isinstance(obj, types.BuiltinFunctionType):
        return None
    for module, loaded in list(sys.modules.items()):  # C functions often do not know their module
        if isinstance(loaded, types.ModuleType) and module not in _MAINS and vars(loaded).get(short) is obj:
            return module, short
    return None


def find(dotted: str) -> str:
    """Return the ``"pkg.mod:qualname"`` of a dotted name, importing its module.

    Raises:
        ConfigError: when there is no such module or attribute.

    Example:
        >>> find("collections.OrderedDict.fromkeys")
        'collections:OrderedDict.fromkeys'
    """
    given = dotted.partition(":")
    parts = given[0].split(".")
    problem = "it is no dotted name"
    if not all(part.isidentifier() for part in dotted.replace(":", ".", 1).split(".") if part or not given[1]):
        raise ConfigError(f"unknown target {dotted!r}: {problem}")
    for cut in (len(parts),) if given[1] else range(len(parts), 0, -1):
        module, qualname = ".".join(parts[:cut]), given[2] or ".".join(parts[cut:])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            problem = f"there is no module {missing!r}"
            if module == missing or module.startswith(missing + "."):
                continue
            raise ConfigError(f"unknown target {dotted!r}: {module} needs {missing!r}, which is missing") from error
        except Exception as error:
            raise ConfigError(f"unknown target {dotted!r}: importing {module} failed: {error!r}") from error
        for part in qualname.split(".") if qualname else ():
            if not hasattr(found, part):
                raise ConfigError(f"unknown target {dotted!r}: {module} has no {qualname!r}")
            found = getattr(found, part)
        return f"{module}:{qualname}"
    raise ConfigError(f"unknown target {dotted!r}: {problem}", hint="install it, or set PYTHONPATH")


def by_text(obj: Any) -> str | None:
    """Return the name of an object that prints as its own dotted name (``torch.float32``); else None."""
    if type(obj).__module__ == "builtins":
        return None
    try:
        texts = (str(obj), repr(obj))
    except Exception:  # noqa: BLE001 - an object that cannot even be printed has no name
        return None
    for text in texts:
        if _DOTTED.fullmatch(text) and text.partition(".")[0] in sys.modules:
            parts = text.split(".")
            for cut in range(len(parts) - 1, 0, -1):
                module, qualname = ".".join(parts[:cut]), ".".join(parts[cut:])
                if module in sys.modules and lookup(module, qualname) is obj:
                    return f"{module}:{qualname}"
    return None


def title(obj: Any) -> str:
    """Return a readable name of a callable: ``__name__`` without decoration."""
    name = getattr(obj, "__name__", None) or type(obj).__name__
    return str(name).strip("<>")
