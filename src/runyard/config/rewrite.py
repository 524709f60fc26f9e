"""``@autoconvert``: a function that makes an object becomes one that makes its Config."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable
from typing import Any, cast, overload

from runyard.errors import ConfigError

Function = Callable[..., Any]
_PARTIAL = re.compile(r"(\w+\.)*Partial(\[|$)")


@overload
def autoconvert(fn: Function, *, partial: bool = False) -> Function: ...
@overload
def autoconvert(fn: None = None, *, partial: bool = False) -> Callable[[Function], Function]: ...
def autoconvert(fn: Function | None = None, *, partial: bool = False) -> Any:
    """Make a function return the Config of what it would build, instead of building it.

    The calls in its body become Configs; loops, conditions and comprehensions run as usual. Where the
    source cannot be rewritten (``with``, ``try``, nested functions, no source at hand), the function runs as
    it is, and the object that it returns is turned into a Config: a dataclass, a ``functools.partial``, or a
    list or dict of them. A function that returns a Config itself may be decorated too.

    Args:
        fn: The function.
        partial: Return a Partial; so does a return annotation ``-> Partial[X]``.

    Raises:
        ConfigError: on the call, when the result cannot become a Config.

    Example:
        >>> @autoconvert
        ... def unit(angle: float = 0.0) -> complex:
        ...     return complex(1.0, angle)
    """
    if fn is None:
        return functools.partial(autoconvert, partial=partial)
    wants_partial = partial or _annotated_partial(fn)

    @functools.wraps(fn)
    def convert(*args: Any, **kwargs: Any) -> Any:
        return _finish(_result(fn, args, kwargs), fn, wants_partial)

    convert.__runyard_autoconvert__ = True  # type: ignore[attr-defined]  # the job calls __wrapped__
    return convert


def _annotated_partial(fn: Function) -> bool:
    annotation = getattr(fn, "__annotations__", {}).get("return")
    if isinstance(annotation, str):
        return _PARTIAL.match(annotation) is not None
    origin = getattr(annotation, "__origin__", annotation)
    return getattr(origin, "__name__", "") == "Partial"


def _result(fn: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    rewritten = _rewrite(fn)
    if rewritten is not None:
        # It may fail, for example at arithmetic on what is now a Config. Then the function itself
        # decides: an error of its own is raised again.
        with contextlib.suppress(Exception):
            return rewritten(*args, **kwargs)
    return fn(*args, **kwargs)


@functools.lru_cache(maxsize=1024)
def _rewrite(fn: Function) -> Function | None:
    """Return ``fn`` with its calls turned into Configs, or None when its source does not allow it."""
    from fiddle.experimental import auto_config

    from runyard.config.core import Config, Partial

    types = auto_config.ConfigTypes(config_cls=Config, partial_cls=Partial)
    try:
        made = auto_config.auto_config(
            fn,
            experimental_allow_control_flow=True,
            experimental_allow_dataclass_attribute_access=True,
            experimental_exemption_policy=_exempt,
            experimental_config_types=types,
            experimental_result_must_contain_buildable=False,
        )
    except (SyntaxError, OSError, TypeError, ValueError, AssertionError, NotImplementedError):
        return None
    return cast(Function, made.as_buildable)


def _exempt(target: Any) -> bool:
    """Tell whether a call happens as it is instead of becoming a Config."""
    import fiddle as fdl
    from fiddle.experimental import auto_config_policy

    if getattr(target, "__runyard_autoconvert__", False) is True:
        return True
    if isinstance(target, type) and issubclass(target, fdl.Buildable):
        return True
    if isinstance(getattr(target, "__self__", None), fdl.Buildable):
        return True  # cfg.clone(), cfg.walk(...)
    module = getattr(target, "__module__", None) or ""
    return module.split(".")[0] in ("fiddle", "runyard") or bool(auto_config_policy.latest(target))


def _finish(result: Any, fn: Function, wants_partial: bool) -> Any:
    import fiddle as fdl

    from runyard.config.convert import to_config
    from runyard.config.core import Partial, nested

    result = to_config(result)
    if next(nested(result), None) is None:
        raise ConfigError(
            f"{fn.__qualname__} returned {type(result).__name__}, which cannot become a Config",
            hint="return a call of a class or function, or a dataclass",
        )
    if wants_partial and isinstance(result, fdl.Config):
        return fdl.cast(Partial, result)
    return result
