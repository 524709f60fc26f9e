"""Values of the standard library, numpy and torch that travel as a call of their own constructor."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

Made = tuple[str, list[Any], dict[str, Any]]
"""The constructor's name, its positional and its keyword arguments."""

TRACKED = {f"collections.{name}" for name in ("deque", "OrderedDict", "defaultdict", "Counter")}
TRACKED |= {"builtins.bytearray"}
"""Types (by full name) whose identity matters, because they can be changed."""


def _moment(value: Any, *fields: str) -> list[Any]:
    return [getattr(value, name) for name in fields]


def _clock(value: Any) -> list[Any]:
    return _moment(value, "hour", "minute", "second", "microsecond", "tzinfo")


def _day(value: Any) -> list[Any]:
    return _moment(value, "year", "month", "day")


_ARGUMENTS: dict[str, Callable[[Any], list[Any]]] = {
    "builtins.complex": lambda v: [v.real, v.imag],
    "builtins.bytearray": lambda v: [bytes(v)],
    "builtins.slice": lambda v: [v.start, v.stop, v.step],
    "builtins.range": lambda v: [v.start, v.stop, v.step],
    "collections.deque": lambda v: [list(v), v.maxlen],
    "collections.OrderedDict": lambda v: [dict(v)],
    "collections.Counter": lambda v: [dict(v)],
    "collections.defaultdict": lambda v: [v.default_factory, dict(v)],
    "datetime.date": _day,
    "datetime.time": _clock,
    "datetime.datetime": lambda v: _day(v) + _clock(v),
    "datetime.timedelta": lambda v: [v.days, v.seconds, v.microseconds],
    "datetime.timezone": lambda v: list(v.__getinitargs__()),
    "decimal.Decimal": lambda v: [str(v)],
    "fractions.Fraction": lambda v: [v.numerator, v.denominator],
    "pathlib.PurePosixPath": lambda v: [str(v)],
    "pathlib.PureWindowsPath": lambda v: [str(v)],
    "re.Pattern": lambda v: [v.pattern, v.flags],
    "torch.Size": lambda v: [list(v)],
    "torch.device": lambda v: [str(v)],
    "types.GenericAlias": lambda v: [v.__origin__, v.__args__],
    "uuid.UUID": lambda v: [v.hex],
    "zoneinfo.ZoneInfo": lambda v: [v.key],
}
_CONSTRUCTORS = {"re.Pattern": "re:compile", "types.GenericAlias": "operator:getitem"}


def full_name(kind: type) -> str:
    """Return ``module.qualname`` of a type."""
    return f"{kind.__module__}.{kind.__qualname__}"


def constructor(value: Any) -> Made | None:
    """Return how to make ``value`` anew, or None when it is no value of a known type.

    Example:
        >>> constructor(range(3))
        ('builtins:range', [0, 3, 1], {})
    """
    kind = type(value)
    name = full_name(kind)
    if name in _ARGUMENTS:
        keywords = {"fold": 1} if getattr(value, "fold", 0) == 1 and name.startswith("datetime.") else {}
        target = _CONSTRUCTORS.get(name, f"{kind.__module__}:{kind.__qualname__}")
        return target, _ARGUMENTS[name](value), keywords
    return _numpy(value) if "numpy" in sys.modules else None


def _numpy(value: Any) -> Made | None:
    numpy: Any = sys.modules["numpy"]
    if isinstance(value, numpy.dtype) and value.names is None:
        return "numpy:dtype", [value.str], {}
    if isinstance(value, numpy.generic) and getattr(numpy, type(value).__name__, None) is type(value):
        item = value.item()
        if type(item) in (bool, int, float, complex, str, bytes):
            return f"numpy:{type(value).__name__}", [item], {}
    return None


def remedy(value: Any) -> tuple[str, str]:
    """Return what ``value`` is, in words, and what to do instead of sending it."""
    kind = full_name(type(value))
    top = kind.partition(".")[0]
    if top == "_io" or hasattr(value, "fileno"):
        return f"an open file or stream ({kind})", "pass its path, and open it in the task"
    if top in ("_thread", "threading", "multiprocessing", "asyncio", "socket"):
        return f"{kind}, which belongs to this process", "create it inside the task"
    if kind in ("builtins.generator", "builtins.coroutine") or hasattr(value, "__next__"):
        return f"an iterator ({kind})", "pass a list, or the function that makes it"
    if top == "runyard":
        return (
            f"an object of Runyard ({kind})",
            "the job has no Runyard: pass plain values or environment variables",
        )
    if kind in (
        "torch.Tensor",
        "torch.nn.parameter.Parameter",
        "numpy.ndarray",
        "pandas.core.frame.DataFrame",
    ):
        return f"data ({kind})", "save it to a file and pass its path"
    return (
        f"an instance of {kind}",
        f"wrap it in run.Config({type(value).__name__}, ...) so that it is built in the job",
    )
