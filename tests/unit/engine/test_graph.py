"""The graph of tasks, on plain values."""

from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.engine import graph
from runyard.errors import ConfigError
from runyard.states import DEPENDENCY_TYPES, JobState, dependency_met

NAMES = tuple("abcdefgh")
graphs = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3), max_size=8)


@given(graphs)
def test_check_agrees_with_the_standard_library(edges: dict[str, list[str]]) -> None:
    try:
        TopologicalSorter({n: edges.get(n, []) for n in NAMES}).prepare()
    except CycleError:
        with pytest.raises(ConfigError, match="cycle"):
            graph.check(NAMES, edges)
        return
    order = graph.check(NAMES, edges)
    assert sorted(order) == sorted(NAMES)
    for name, needs in edges.items():
        assert all(order.index(other) < order.index(name) for other in needs)


@given(graphs)
def test_a_cycle_is_shown_as_it_is(edges: dict[str, list[str]]) -> None:
    try:
        graph.check(NAMES, edges)
    except ConfigError as e:
        path = e.message.partition(": ")[2].split(" -> ")
        assert path[0] == path[-1]
        assert all(b in edges[a] for a, b in pairwise(path))


def test_order_is_the_one_of_adding_where_nothing_forbids_it() -> None:
    assert graph.check(["c", "a", "b"], {}) == ["c", "a", "b"]


def test_ten_thousand_in_a_row() -> None:
    names = [f"t{i}" for i in range(10_000)]
    assert graph.check(names, {names[i]: [names[i - 1]] for i in range(1, len(names))}) == names


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(DEPENDENCY_TYPES)), max_size=5),
    st.fixed_dictionaries({n: st.sampled_from(list(JobState)) for n in NAMES}),
)
def test_verdict(dependencies: list[tuple[str, str]], states: dict[str, JobState]) -> None:
    each = [dependency_met(kind, states[name]) for name, kind in dependencies]
    go, why = graph.verdict(dependencies, states)
    assert go is (False if False in each else None if None in each else True)
    assert bool(why) is (go is False)
    if go is False:
        name, kind = dependencies[each.index(False)]
        assert repr(name) in why
        assert kind in why
        assert states[name] in why
