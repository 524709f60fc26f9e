from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runyard.runner import redact
from runyard.runner.redact import Redactor, read_secrets

from .conftest import PYTHONS


def quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def env_file(**values: str) -> bytes:
    return "".join(f"export {name}={quoted(value)}\n" for name, value in values.items()).encode()


values = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@given(st.lists(values, max_size=4))
def test_every_quoting_is_read(texts):
    content = env_file(**{f"V{i}": text for i, text in enumerate(texts)})
    found = read_secrets(b"# a comment\n" + content)
    for text in texts:
        assert (text.encode() in found) == (len(text) >= 6)


def test_other_quotings_are_read():
    assert read_secrets(f"A={shlex.quote('plainvalue')}\nexport B=a\\ bcdef\n".encode()) == [
        b"plainvalue",
        b"a bcdef",
    ]


def test_the_shell_agrees(tmp_path):
    value = 'it\'s "$HOME" `x`\n\\two lines of it'
    (tmp_path / "env").write_bytes(env_file(V=value))
    shell = subprocess.run(["sh", "-c", '. ./env; printf %s "$V"'], cwd=tmp_path, capture_output=True, check=True)
    assert shell.stdout.decode() == value
    assert value.encode() in read_secrets(env_file(V=value))


def run_through(secrets: list[bytes], pieces: list[bytes], pauses: bool = False) -> bytes:
    stream = Redactor(secrets)
    out = b""
    for piece in pieces:
        out += stream.feed(piece)
        if pauses and stream.waiting:
            out += stream.pause()
    return out + stream.rest()


short = st.binary(min_size=6, max_size=9).map(lambda b: bytes(97 + x % 2 for x in b))


@settings(max_examples=500)
@given(
    st.lists(short, min_size=1, max_size=4),
    st.lists(st.binary(max_size=12).map(lambda b: bytes(97 + x % 3 for x in b))),
)
def test_no_secret_comes_out_however_it_is_split(secrets, pieces):
    whole = b"".join(pieces)
    out = run_through(secrets, pieces)
    assert out == run_through(secrets, [whole])
    for part in out.split(b"***"):
        assert not any(secret in part for secret in secrets)
    if not any(secret in whole for secret in secrets):
        assert out == whole


@settings(max_examples=300)
@given(short, st.lists(st.integers(1, 8), max_size=5), st.binary(max_size=5))
def test_a_secret_that_comes_with_pauses_is_cut_off(secret, cuts, noise):
    text, pieces = noise + secret + noise, []
    for cut in cuts:
        pieces.append(text[:cut])
        text = text[cut:]
    out = run_through([secret], [*pieces, text], pauses=True)
    assert secret not in out
    if noise.isascii() and not any(c in secret for c in noise):
        assert b"***" in out


def test_text_without_secrets_is_untouched():
    data = os.urandom(200_000)
    assert run_through([b"not in there at all"], [data[i : i + 777] for i in range(0, len(data), 777)]) == data
    assert run_through([], [data]) == data


@pytest.fixture(params=[sys.executable, *PYTHONS])
def child(request, tmp_path: Path):
    (tmp_path / "env").write_bytes(
        env_file(TOKEN="hunter2-secret", SHORT="abc", KEY="line one of key\nline two of key")
    )
    command = [request.param, redact.__file__, str(tmp_path / "env")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_as_a_program(child):
    out, _ = child.communicate(b"a hunter2-secret\rabc \xff\xfe line one of key\nline two of key\n  line two of key\n")
    assert out == b"a ***\rabc \xff\xfe ***\n  ***\n"
    assert child.returncode == 0


def read_soon(process, length: int) -> bytes:
    data = b""
    while len(data) < length:
        assert select.select([process.stdout], [], [], 60)[0], f"it keeps back what comes after {data!r}"
        data += os.read(process.stdout.fileno(), 100)
    return data


def test_output_is_not_delayed_and_signals_are_ignored(child):
    child.stdin.write(b"progress 5%")
    child.stdin.flush()
    assert read_soon(child, 11) == b"progress 5%"
    child.send_signal(signal.SIGTERM)
    child.send_signal(signal.SIGINT)
    child.stdin.write(b"ends with hunt")  # may be the beginning of the token
    child.stdin.flush()
    assert read_soon(child, 10) == b"ends with "
    assert read_soon(child, 4) == b"hunt"
    out, _ = child.communicate(b"er2-secret now\n")
    assert out == b"*** now\n"
    assert child.returncode == 0


def test_a_reader_that_goes_away_does_not_break_the_pipe(child):
    child.stdout.close()
    for _ in range(50):
        child.stdin.write(b"x" * 10_000 + b"\n")
        child.stdin.flush()
    child.stdin.close()
    assert child.wait(60) == 0


def test_unreadable_secrets_withhold_the_output(tmp_path):
    done = subprocess.run(
        [sys.executable, redact.__file__, str(tmp_path / "none")], input=b"hunter2", capture_output=True
    )
    assert done.returncode == 2
    assert b"withheld" in done.stdout
    assert b"hunter2" not in done.stdout
