"""Show a Config to a person: text, HTML, SVG, differences, dry-runs and help."""

from __future__ import annotations

import functools
import html
import inspect
import shutil
from typing import Any

from runyard.config.encoder import is_buildable
from runyard.config.secret_values import masked, revealed
from runyard.errors import ConfigError

_MISSING = object()


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Return path → value of every leaf in nested Configs and containers, and of the Configs' callables."""
    found: dict[str, Any] = {}
    _flatten(value, path, found, {})
    return found


def _flatten(value: Any, path: str, found: dict[str, Any], seen: dict[int, str]) -> None:
    if is_buildable(value):
        if id(value) in seen:
            found[path] = f"<same as {seen[id(value)] or 'the top'}>"
            return
        seen[id(value)] = path
        found[path] = f"{type(value).__name__}[{_title(value.__fn_or_cls__)}]"
        for key, item in value.__arguments__.items():
            place = f"[{key}]" if isinstance(key, int) else f".{key}" if path else str(key)
            _flatten(item, path + place, found, seen)
    elif isinstance(value, dict) and value:
        for key, item in value.items():
            _flatten(item, f"{path}[{key!r}]", found, seen)
    elif isinstance(value, (list, tuple)) and value:
        for index, item in enumerate(value):
            _flatten(item, f"{path}[{index}]", found, seen)
    else:
        found[path] = value


def diff_text(old: Any, new: Any) -> str:
    """Return the lines that differ: ``-`` of ``old``, ``+`` of ``new``; ``""`` when none does."""
    before, after = flatten(old), flatten(new)
    was, now = flatten(masked(old)), flatten(masked(new))
    lines = []
    for path in [*before, *(path for path in after if path not in before)]:
        left, right = before.get(path, _MISSING), after.get(path, _MISSING)
        if left is right or _shown(left) == _shown(right):
            continue
        lines += [f"- {path or '(top)'} = {_shown(was[path])}"] if left is not _MISSING else []
        lines += [f"+ {path or '(top)'} = {_shown(now[path])}"] if right is not _MISSING else []
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, str) and value.startswith(("<same as ", "Config[", "Partial[")):
        return value
    return _title(value) if callable(value) else repr(value)


def _title(target: Any) -> str:
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    if not isinstance(name, str):
        return repr(target)
    return name if module in (None, "builtins", "__main__") else f"{module}.{name}"


# ---------------------------------------------------------------- notebooks


def has_graphviz() -> bool:
    """Tell whether graphviz's ``dot`` program is installed."""
    return shutil.which("dot") is not None


def svg(value: Any) -> str | None:
    """Return a Config as an SVG graph; None without graphviz."""
    if not has_graphviz():
        return None
    try:
        from fiddle import graphviz

        return str(graphviz.render(masked(value)).pipe(format="svg", encoding="utf-8"))
    except Exception:  # noqa: BLE001 - a picture is never worth an error
        return None


def html_tree(value: Any) -> str:
    """Return a Config as a plain, foldable HTML tree."""
    return f'<div style="font-family:monospace">{_html("", masked(value))}</div>'


def _html(label: str, value: Any) -> str:
    prefix = f"<b>{html.escape(label)}</b> = " if label else ""
    children: list[tuple[str, Any]] = []
    head = ""
    if is_buildable(value):
        head = html.escape(f"{type(value).__name__}[{_title(value.__fn_or_cls__)}]")
        children = [(str(key), item) for key, item in value.__arguments__.items()]
    elif isinstance(value, dict):
        head, children = f"dict of {len(value)}", [(repr(key), item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        head = f"{type(value).__name__} of {len(value)}"
        children = [(f"[{index}]", item) for index, item in enumerate(value)]
    if not children:
        return f"<div>{prefix}{head or html.escape(_shown(value))}</div>"
    inner = "".join(_html(name, item) for name, item in children)
    body = f'<div style="margin-left:1.5em">{inner}</div>'
    return f"<details open><summary>{prefix}{head}</summary>{body}</details>"


# ---------------------------------------------------------------- printing


def dryrun_fn(partial: Any, executor: Any = None, build: bool = False) -> None:
    """Print what would be called, with every argument, and where.

    Args:
        partial: A Partial, a Config, a ``functools.partial`` or a function.
        executor: Shown by its type and its own repr.
        build: Also build the arguments here, which finds errors before the job does. Nothing is called.

    Raises:
        ConfigError: when an argument is missing or cannot travel.
    """
    from runyard.config.calltree import encode, summary

    call = encode(partial)
    print(f"Dry run for task {call.name}")
    print(summary(call.document))
    if executor is not None:
        print(f"Executor: {executor!r}")
    if build:
        print(f"Built: {masked(_build(revealed(partial)))!r}")


def _build(task: Any) -> Any:
    if not is_buildable(task):
        return task
    import fiddle as fdl

    from runyard.config.core import Partial

    return fdl.build(task if isinstance(task, fdl.Partial) else fdl.cast(Partial, task))


def help(entity: Any) -> None:
    """Print an entity's signature, documentation and each argument's default.

    Args:
        entity: A function, a class, a Config, a Partial or an object.

    Raises:
        ConfigError: when it has no signature.
    """
    target = entity.__fn_or_cls__ if is_buildable(entity) else entity
    target = target.func if isinstance(target, functools.partial) else target
    target = inspect.unwrap(target) if callable(target) else type(target)
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{_title(target)} has no signature: {error}") from None
    print(_title(target))
    doc = inspect.getdoc(target)
    if doc:
        print("\n" + "\n".join(f"    {line}".rstrip() for line in doc.splitlines()))
    if signature.parameters:
        print("\nArguments:")
    entity = masked(entity)
    for param in signature.parameters.values():
        text = str(param.replace(default=param.empty))
        print(f"    {text}{_default(entity, param)}")


def _default(entity: Any, param: inspect.Parameter) -> str:
    if is_buildable(entity) and param.name in entity.__arguments__:
        return f" = {entity.__arguments__[param.name]!r}  (set)"
    if param.default is not param.empty:
        return f" = {_shown(masked({param.name: param.default})[param.name])}"
    return "" if param.kind in (param.VAR_POSITIONAL, param.VAR_KEYWORD) else "  (required)"
