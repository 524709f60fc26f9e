"""Variables in the texts of a profile."""

import pytest

from runyard.profiles.interpolate import Unfilled, fill
from runyard.secrets import Secret

ENVIRON = {"A": "a", "EMPTY": "", "HF_TOKEN": "hf_secret", "TRICK": "${oc.env:HF_TOKEN}$(id)"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${oc.env:A}", "a"),
        ("x-${oc.env:A}-${oc.env: A }-y", "x-a-a-y"),
        ("${oc.env:A,other}", "a"),
        ("${oc.env:NOPE,other}", "other"),
        ("${oc.env:NOPE, a b }", "a b"),
        ("${oc.env:NOPE,}", ""),
        ("${oc.env:EMPTY,other}", ""),
        ("${oc.env:NOPE,${oc.env:NOPE2,deep}-${oc.env:A}}", "deep-a"),
        (r"\${oc.env:A}", "${oc.env:A}"),
        ("${SLURM_JOB_ID} $HOME ${x:-y}", "${SLURM_JOB_ID} $HOME ${x:-y}"),
        ("${oc.env:TRICK}", "${oc.env:HF_TOKEN}$(id)"),
        ("}${", "}${"),
    ],
)
def test_texts(text: str, filled: str) -> None:
    assert fill({"field": [text]}, ENVIRON) == {"field": [filled]}


def test_a_secret_stays_a_name_in_the_environment() -> None:
    assert fill({"env_vars": {"MINE": "${oc.env:HF_TOKEN}"}}, ENVIRON) == {"env_vars": {"MINE": Secret("HF_TOKEN")}}


def test_a_field_whose_name_is_secret_may_hold_one() -> None:
    assert fill({"client_secret": "${oc.env:HF_TOKEN}"}, ENVIRON) == {"client_secret": "hf_secret"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("${oc.env:NOPE}", "the variable NOPE is not set"),
        ("${oc.env:NOPE,${oc.env:NOPE2}}", "the variable NOPE2 is not set"),
        ("x ${oc.env:HF_TOKEN}", "the secret HF_TOKEN would be written into scripts and records here"),
        ("${oc.env:A", "'${oc.env:A' is not closed, or names no variable"),
        ("${oc.env:NOPE,x", "'${oc.env:NOPE,x' is not closed"),
        ("${oc.env:}", "'${oc.env:}' is not closed, or names no variable"),
        ("${oc.env:__import__('os')}", "is not closed, or names no variable"),
        ("${oc.eval:1}", "${oc.eval:…} is no interpolation of ours"),
        ("${oc.env}", "${oc.env…} is no interpolation of ours"),
        ("${oc.env:NOPE," * 30 + "}" * 30, "is not closed, or names no variable"),
    ],
)
def test_what_cannot_be_filled_in(text: str, reason: str) -> None:
    with pytest.raises(Unfilled) as told:
        fill({"field": [text]}, ENVIRON)
    assert reason in told.value.reason
    assert told.value.path == ("field", 0)
    assert "hf_secret" not in told.value.reason
