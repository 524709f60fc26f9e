"""What is a secret, and how it is blotted out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.errors import ConfigError
from runyard.secrets import MASK, SHORTEST_SEARCHED, Secret, looks_secret, redact, resolve, split_env


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "WANDB_API_KEY", "my_password", "AWS_SECRET_ACCESS_KEY", "KEY", "Db_Credential"]
)
def test_names_that_sound_secret(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name", ["TOKENIZERS_PARALLELISM", "MAX_TOKENS", "KEYBOARD", "MONKEY", "PATH", "SECRETARY", ""]
)
def test_names_that_do_not(name: str) -> None:
    assert not looks_secret(name)


@given(st.text(max_size=40), st.lists(st.text(max_size=12), max_size=4))
def test_no_long_value_survives(text: str, values: list[str]) -> None:
    out = redact(text, values)
    for value in values:
        if len(value) >= SHORTEST_SEARCHED and "*" not in value:
            assert value not in out
    if not any(len(v) >= SHORTEST_SEARCHED and v in text for v in values):
        assert out == text


def test_the_longest_goes_first() -> None:
    assert redact("abcdefgh abcdef", ["abcdef", "abcdefgh"]) == f"{MASK} {MASK}"


def test_split_and_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "from here")
    monkeypatch.setenv("OLD_KEY", "anew")
    shown, hidden = split_env({"A": "1", "HF_TOKEN": "typed", "B": Secret("HERE"), "OLD_KEY": MASK})
    assert shown == {"A": "1"}
    assert resolve(hidden) == {"HF_TOKEN": "typed", "B": "from here", "OLD_KEY": "anew"}
    assert "from here" not in repr(Secret("HERE"))
    monkeypatch.delenv("HERE")
    with pytest.raises(ConfigError, match="HERE is not set"):
        resolve(hidden)
