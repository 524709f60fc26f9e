"""The graph of an experiment's tasks: checks, order, and what a change of state releases. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from runyard.errors import ConfigError
from runyard.states import JobState, dependency_met


def check(names: Sequence[str], dependencies: Mapping[str, Iterable[str]]) -> list[str]:
    """Check a graph and return its tasks in an order that respects the dependencies.

    Args:
        names: All tasks, in the order they were added.
        dependencies: For a task, the tasks it depends on.

    Raises:
        ConfigError: for a dependency on an unknown task, on itself, or a cycle; it names them.

    Example:
        >>> check(["b", "a"], {"b": ["a"]})
        ['a', 'b']
    """
    known = set(names)
    waiting: dict[str, set[str]] = {}
    dependents: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        needs = set(dependencies.get(name, ()))
        for other in needs:
            if other not in known:
                near = get_close_matches(other, names, n=1)
                meant = f"did you mean {near[0]!r}? " if near else ""
                raise ConfigError(
                    f"task {name!r} depends on the unknown task {other!r}",
                    hint=f"{meant}the tasks are: {', '.join(names)}",
                )
            dependents[other].append(name)
        waiting[name] = needs
    ready = [name for name in names if not waiting[name]]
    order: list[str] = []
    while ready:
        name = ready.pop(0)
        order.append(name)
        for other in dependents[name]:
            waiting[other].discard(name)
            if not waiting[other]:
                ready.append(other)
    if len(order) < len(names):
        raise ConfigError(
            f"the dependencies form a cycle: {' -> '.join(_cycle(waiting))}",
            hint="remove one of these dependencies",
        )
    return order


def _cycle(waiting: Mapping[str, set[str]]) -> list[str]:
    name = next(n for n, needs in waiting.items() if needs)
    path: list[str] = []
    while name not in path:
        path.append(name)
        name = next(n for n in sorted(waiting[name]) if waiting[n])
    return [*path[path.index(name) :], name]


def verdict(dependencies: Iterable[tuple[str, str]], state_of: Mapping[str, JobState]) -> tuple[bool | None, str]:
    """Say whether a task may start.

    Args:
        dependencies: (task, kind) it depends on.
        state_of: The state of every task.

    Returns:
        ``(True, "")`` it may; ``(None, "")`` not yet; ``(False, reason)`` it never can.

    Example:
        >>> verdict([("a", "afterok")], {"a": JobState.FAILED})
        (False, "its dependency 'a' (afterok) ended FAILED")
    """
    result: bool | None = True
    for name, kind in dependencies:
        met = dependency_met(kind, state_of[name])
        if met is False:
            return False, f"its dependency {name!r} ({kind}) ended {state_of[name]}"
        if met is None:
            result = None
    return result, ""
