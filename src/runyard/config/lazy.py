"""Configure what is not imported: ``lazy_imports`` and ``LazyEntrypoint``."""

from __future__ import annotations

import builtins
import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from runyard.errors import ConfigError


@contextlib.contextmanager
def lazy_imports(fallback_to_lazy: bool = False) -> Iterator[None]:
    """Within this block, the imports that its own file writes make stand-ins instead of importing.

    ``Config`` and ``Partial`` take them, and the real module is imported in the job. Import modules, not
    names from them. Other modules' imports go on as usual.

    Args:
        fallback_to_lazy: Import for real, and use a stand-in only where that fails.

    Example:
        >>> with lazy_imports():
        ...     import no_such_module
        >>> from runyard.config import Partial, encode
        >>> encode(Partial(no_such_module.train, lr=1)).document["$call"]
        'no_such_module:train'
    """
    from fiddle.experimental import lazy_imports as fiddle_lazy

    caller = sys._getframe(2).f_globals  # past contextlib's own frame
    original = builtins.__import__
    with fiddle_lazy.lazy_imports():
        fake = builtins.__import__

        def dispatch(name: str, globals_: Any = None, locals_: Any = None, fromlist: Any = (), level: int = 0) -> Any:
            if globals_ is not caller:
                return original(name, globals_, locals_, fromlist, level)
            if fallback_to_lazy:
                with contextlib.suppress(ImportError):
                    return original(name, globals_, locals_, fromlist, level)
            if level:
                raise ConfigError("relative imports cannot be lazy", hint="import the module by its full name")
            return fake(name, globals_, locals_, fromlist, level)

        builtins.__import__ = dispatch  # type: ignore[assignment]
        yield


class LazyEntrypoint:
    """A task named but not imported; its arguments may be set, nested ones too, and are applied on resolving.

    Args:
        target: ``"pkg.mod.fn"``, ``"pkg.mod:fn"`` or the function itself.
        kwargs: Arguments.

    Example:
        >>> task = LazyEntrypoint("builtins.complex", real=1)
        >>> task.imag = 2
        >>> task.resolve()
        <Partial[complex(real=1, imag=2)]>
    """

    def __init__(self, target: Any, /, **kwargs: Any) -> None:
        object.__setattr__(self, "_target_", target)
        object.__setattr__(self, "_changes_", [((name,), value) for name, value in kwargs.items()])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Place(self, (name,))

    def __setattr__(self, name: str, value: Any) -> None:
        self._changes_.append(((name,), value))

    def __repr__(self) -> str:
        return f"LazyEntrypoint({self._target_!r})"

    def resolve(self) -> Any:
        """Import the target and return its Partial with every argument set.

        Raises:
            ConfigError: when the target or an argument does not exist.
        """
        import fiddle as fdl

        from runyard.config import naming
        from runyard.config.core import Config, Partial

        target = self._target_
        if isinstance(target, str):
            module, _, qualname = naming.find(target).partition(":")
            target = naming.lookup(module, qualname)
        if getattr(target, "__runyard_autoconvert__", False):
            target = target()
        task = target.clone() if isinstance(target, (Config, Partial)) else None
        task = Partial(target) if task is None else fdl.cast(Partial, task)
        for path, value in self._changes_:
            owner = task
            for name in path[:-1]:
                owner = getattr(owner, name)
            setattr(owner, path[-1], value)
        return task


class _Place:
    """A place below a LazyEntrypoint, such as ``task.trainer``: attributes set on it are recorded."""

    def __init__(self, root: LazyEntrypoint, path: tuple[str, ...]) -> None:
        object.__setattr__(self, "_root_", root)
        object.__setattr__(self, "_path_", path)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Place(self._root_, (*self._path_, name))

    def __setattr__(self, name: str, value: Any) -> None:
        self._root_._changes_.append(((*self._path_, name), value))
