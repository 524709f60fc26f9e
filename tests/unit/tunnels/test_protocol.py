"""Frames through real shells, in all the kinds that stand behind ``sh`` somewhere."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runyard.tunnels import protocol
from runyard.tunnels.session import Lost, PreCommandFailed, Session

Make = Callable[..., Session]
KINDS = ["sh", "dash", "bash", "busybox", "ksh", "mksh"]


@pytest.fixture(params=[kind for kind in KINDS if shutil.which(kind)])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Start sessions on one kind of ``sh``."""
    tools = tmp_path / "tools"
    tools.mkdir()
    sh = tools / "sh"
    sh.symlink_to(str(shutil.which(request.param)))  # bash and busybox look at the name they are called by
    made: list[Session] = []

    def begin(*, path: str = "", **options: str) -> Session:
        env = os.environ | {"PATH": path or f"{tools}:{os.environ['PATH']}"}
        made.append(Session([str(sh), "-c", protocol.LOOP], env=env, group=True, **options))
        made[-1].greet(10)
        return made[-1]

    yield begin
    for session in made:
        session.close()


def ask(
    session: Session, script: bytes, stdin: Iterable[bytes] | None = None, **options: float
) -> tuple[int, bytes, bytes]:
    pieces = session.exchange(script, stdin, options.get("timeout"), limit="timeout" in options)
    streams: dict[bool, list[bytes]] = {False: [], True: []}
    while True:
        try:
            err, data = next(pieces)
        except StopIteration as end:
            return end.value, b"".join(streams[False]), b"".join(streams[True])
        streams[err].append(data)


def test_scripts_are_apart(make: Make) -> None:
    session = make()
    assert ask(session, b"x=1; cd /; set -eu; exit 7") == (7, b"", b"")
    assert ask(session, b"echo ${x-none} $#") == (0, b"none 0\n", b"")
    assert ask(session, b"cat")[1] == b""
    assert ask(session, b"false")[0] == 1
    assert ask(session, b"echo a; if then")[0] != 0
    assert ask(session, b"no-such-program")[0] == 127
    assert ask(session, b"echo still") == (0, b"still\n", b"")


def test_a_script_cannot_see_its_mark(make: Make) -> None:
    session = make()
    for size in (0, 5000):
        _, out, err = ask(session, b'set; echo "$*"; env; set -x; :\n' + b"#" * size)
        assert session._token.encode() not in out + err


def test_a_script_that_prints_what_looks_like_a_mark(make: Make) -> None:
    session = make()
    fake = b"\nry0123456789abcdef0123.1e 0\nry.\n\n"
    assert ask(session, b"printf '%s' '" + fake + b"'; exit 5") == (5, fake, b"")


def test_any_bytes_arrive(make: Make) -> None:
    session = make()

    @settings(max_examples=100, deadline=None)
    @given(data=st.binary(max_size=4000))
    def check(data: bytes) -> None:
        word = data.replace(b"\0", b"\n").replace(b"'", b"\\")
        assert ask(session, b"printf %s '" + word + b"'; exit 3") == (3, word, b"")
        assert ask(session, b"cat; echo end >&2", [data]) == (0, data, b"end\n")

    check()


@pytest.mark.parametrize("size", [protocol.INLINE - 30, protocol.INLINE, 100_000, 2_000_000])
def test_scripts_of_any_size(make: Make, size: int) -> None:
    session = make()
    script = b"x='" + b"a\n\xff\x01" * (size // 4) + b'\'; printf %s "$x" | wc -c; exit 4'
    for options in ({}, {"timeout": 30}):
        code, out, _ = ask(session, script, **options)
        assert (code, int(out)) == (4, size // 4 * 4)
    assert ask(session, script + b"\n:; cat", [b"in"])[0] == 4
    assert ask(session, b"echo on") == (0, b"on\n", b"")


@pytest.mark.parametrize("without", [(), ("head",), ("head", "dd")])
def test_streams_without_some_tools(make: Make, tmp_path: Path, without: tuple[str, ...]) -> None:
    """`head` may take too much from a pipe, as BusyBox's does; then `dd` is used, the slow way if it must be."""
    tools = tmp_path / "some"
    tools.mkdir()
    for name in ("cat", "head", "dd", "wc", "sha256sum", "timeout"):
        if name not in without:
            (tools / name).symlink_to(str(shutil.which(name)))
    (tools / "sh").symlink_to(tmp_path / "tools" / "sh")
    if "head" in without:
        greedy = tools / "head"
        greedy.write_text("#!/bin/sh\nexec dd bs=65536 count=1 2>/dev/null\n")
        greedy.chmod(0o755)
    if "dd" in without:
        plain = tools / "dd"
        real = shutil.which("dd")
        plain.write_text(f'#!/bin/sh\ncase $* in *fullblock*) exit 1;; esac\nexec {real} "$@"\n')
        plain.chmod(0o755)
    size = 3000 if "dd" in without else 1_000_000
    session = make(path=str(tools))
    data = [os.urandom(size // 3) for _ in range(3)]
    assert ask(session, b"cat; exit 6", data) == (6, b"".join(data), b"")
    assert ask(session, b"#" * 4000 + b"\nexit 8")[0] == 8
    assert ask(session, b"echo on") == (0, b"on\n", b"")


def test_a_script_that_does_not_read_its_input(make: Make) -> None:
    session = make()
    given = 0

    def endless() -> Iterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield b"x" * 100_000

    assert ask(session, b"head -c 10 >/dev/null; echo enough; exit 9", endless())[:2] == (9, b"enough\n")
    assert given < 200
    assert ask(session, b"echo on") == (0, b"on\n", b"")


def test_much_output_while_much_input(make: Make) -> None:
    session = make()
    data = [b"x" * 500_000] * 10
    assert ask(session, b"cat; cat /dev/null", data)[1] == b"".join(data)
    code, out, err = ask(session, b"head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2")
    assert (code, len(out), len(err)) == (0, 3_000_000, 2_000_000)


def test_time_limits(make: Make) -> None:
    session = make()
    begun = time.monotonic()
    assert ask(session, b"sleep 77; echo no", timeout=1)[0] in (124, 143)
    assert time.monotonic() - begun < 5
    assert ask(session, b"echo on; exit 3", timeout=5) == (3, b"on\n", b"")
    with pytest.raises(Lost) as lost:
        list(session.exchange(b"sleep 78", timeout=0.1))
    assert lost.value.expired
    assert lost.value.begun
    assert not session.usable


def test_preparation(make: Make) -> None:
    session = make(pre_command="X='it''s \"\n$HOME'; export X\nread line; echo \"noise $line\"", shell="sh")
    assert ask(session, b'printf "%s" "$X"')[1].startswith(b'its "\n')
    with pytest.raises(PreCommandFailed) as failed:
        make(pre_command="echo why >&2; (exit 42)")
    assert (failed.value.code, failed.value.said.strip()) == ("42", "why")
    with pytest.raises(Lost):
        make(pre_command="exit 0")
    with pytest.raises(Lost, match="nosuch"):
        make(shell="nosuch --option")


@given(
    before=st.binary(max_size=30),
    body=st.binary(max_size=60),
    after=st.binary(max_size=30),
    cuts=st.lists(st.integers(1, 20), max_size=30),
    code=st.integers(0, 255),
)
def test_output_is_cut_out_wherever_it_is_split(
    before: bytes, body: bytes, after: bytes, cuts: list[int], code: int
) -> None:
    token = "ryff.1"
    stream = before + b"\nryff.1b\n" + body + b"\nryff.1e %d\n" % code + after
    cutter = protocol.Cutter(token, coded=True)
    out = []
    position = 0
    for size in [*cuts, len(stream)]:
        out += cutter.feed(stream[position : position + size])
        position += size
    assert b"".join(out) == body
    assert (cutter.done, cutter.code) == (True, code)


def test_output_is_shown_as_it_arrives() -> None:
    cutter = protocol.Cutter("t", coded=False)
    assert list(cutter.feed(b"\ntb\nfirst line\n")) == [b"first line"]
    assert list(cutter.feed(b"a question? ")) == [b"\na question? "]
    assert list(cutter.feed(b"\nte")) == []
    assert list(cutter.feed(b"x\n")) == [b"\ntex"]


def test_the_remote_command_is_read_alike_by_every_login_shell() -> None:
    assert protocol.REMOTE_COMMAND.count("'") == 2
    assert not set(protocol.REMOTE_COMMAND) & set("!\\\n`")
