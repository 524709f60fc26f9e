"""Quoting, through the shells themselves."""

import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runyard.errors import ConfigError
from runyard.shell import Raw, check_env_name, from_json_word, quote, to_json_word

SHELLS = [path for name in ("sh", "dash", "bash", "busybox") if (path := shutil.which(name))]
words = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=30)


def told(shell: str, script: str) -> bytes:
    argv = [shell, "sh", "-c", script] if shell.endswith("busybox") else [shell, "-c", script]
    return subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("shell", SHELLS)
@given(st.lists(words, max_size=20))
@settings(max_examples=40, deadline=None)
@example(["it's", "$(echo x)", "`echo x`", "a\nb", "\\", "!", "", "-n", "'\"'\"'", "é", "~", "#", "a;b&c|d"])
def test_every_word_arrives_as_it_is(shell: str, several: list[str]) -> None:
    out = told(shell, f"for w in {' '.join(map(quote, several))}; do printf '%s\\0' \"$w\"; done")
    assert out.decode().split("\0")[:-1] == several


@pytest.mark.parametrize("shell", SHELLS)
@given(words, words)
@settings(max_examples=40, deadline=None)
@example("host:", ":80")
@example("'", '"')
def test_macros_expand_and_nothing_around_them_does(shell: str, before: str, after: str) -> None:
    word = f"{before}${{head}}{after}"
    out = told(shell, f"HEAD='n 1;*'; printf %s {quote(word, {'${head}': '$HEAD'})}")
    assert out.decode() == word.replace("${head}", "n 1;*")


@pytest.mark.parametrize("shell", SHELLS)
def test_raw_words_are_expanded_as_one_word(shell: str) -> None:
    script = f"X='a  b'; printf '[%s]' {quote(Raw('$X-$(echo 1)'))} {quote('$X')}"
    assert told(shell, script) == b"[a  b-1][$X]"


def test_no_program_can_be_given_a_nul() -> None:
    with pytest.raises(ConfigError, match="NUL"):
        quote("a\0b")


@given(words)
def test_the_raw_mark_survives_a_record(word: str) -> None:
    for value in (word, Raw(word)):
        back = from_json_word(to_json_word(value))
        assert (back, isinstance(back, Raw)) == (word, isinstance(value, Raw))


@given(st.text(max_size=12))
def test_names_that_shells_export(name: str) -> None:
    ok = bool(name) and name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()
    if ok:
        assert check_env_name(name, "env") == name
    else:
        with pytest.raises(ConfigError, match="here"):
            check_env_name(name, "here")
