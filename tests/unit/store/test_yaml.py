"""Records as YAML: any reader gets back exactly what was written."""

from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runyard.store.yaml import dump

texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20) | st.sampled_from(
    [
        "yes",
        "no",
        "on",
        "null",
        "~",
        "1",
        "1e3",
        "0x1",
        "2024-01-01",
        "- a",
        "a: b",
        "#c",
        "a\nb\n",
        "a\n\nb",
        "\n",
        " a\nb",
    ]
)
plain = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | texts
)
values = st.recursive(plain, lambda v: st.lists(v, max_size=4) | st.dictionaries(texts, v, max_size=4), max_leaves=15)


@given(values)
@settings(max_examples=300)
@example({"a": "x\n  y\n"})
@example({"a": {"b": ["x\ny", {"c": []}], "d": "\t\n"}})
@example({"script": "#!/bin/sh\n\techo\n\nend"})
@example([[["deep"]], {}])
@example({"lr": 1e-05, "most": 1e22, "none": float("inf")})
@example("\x85\u2028\ufeff\x00\x7f")
def test_round_trip(value: Any) -> None:
    assert yaml.safe_load(dump(value)) == value


def test_programs_stand_as_they_are_written() -> None:
    assert dump({"inline": "echo a\nif true; then\n  echo b\nfi\n"}) == (
        "inline: |\n  echo a\n  if true; then\n    echo b\n  fi\n"
    )


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x"])
def test_only_json_can_be_written(value: object) -> None:
    with pytest.raises(TypeError):
        dump({"a": value})
