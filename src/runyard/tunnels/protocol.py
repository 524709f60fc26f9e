"""How scripts travel through one ``sh``: frames with random marks. Pure; nothing here starts a process.

The shell on the target runs :data:`LOOP`, which evaluates its standard input line by line. ``read`` takes a pipe byte
by byte and never more than its line (POSIX requires it), so what follows a line can be read by another program: a
script of some size, or a stream for a script's own standard input. ``sh`` reading commands from a pipe could not be
used: ``dash`` reads ahead.

Each script runs in a subshell, so ``exit``, ``cd``, ``set`` and ``umask`` stay inside it. Its output stands between
two marks that nobody can guess, on stdout and stderr each; what else comes (a banner, a greeting from ``.bashrc``, a
background process) lies outside of them and is dropped.

``head -c N`` of GNU takes exactly N bytes from a pipe, that of BusyBox and BSD takes more; ``dd iflag=fullblock`` is
exact on GNU, BusyBox and newer BSD. The shell tries which of them is, when it first needs one.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator

LOOP = 'while IFS= read -r RY; do eval "$RY"; done'
REMOTE_COMMAND = f"exec sh -c '{LOOP}'"
"""What sshd hands to the login shell: bash, dash, zsh, ksh, fish and tcsh all read it alike (no ``!``, no ``\\``)."""

INLINE = 1500
"""Scripts up to this many bytes stand in the frame's line: below, byte-wise ``read`` is faster than a ``head``."""

CHUNK = 1 << 18
"""Bytes of a stream that go over in one piece."""

_NEWLINE = r"ry_n=$(printf '\nx'); ry_n=${ry_n%x}"

# SHLVL: a bash started by sshd sources ~/.bashrc even for scripts (bash(1), INVOCATION), greeting included; at level
# 1 or more it does not. `unset RY; set --`: the script cannot see the marks.
_SETUP = rf"""{_NEWLINE}; ry_k=; ry_t=; SHLVL=1; export SHLVL
ry_o() {{ printf '\n%s\n' "$1"; printf '\n%s\n' "$1" >&2; }}
ry_e() {{ printf '\n%s %s\n' "$1" "$2"; printf '\n%s\n' "$1" >&2; }}
ry_v() {{ unset RY; ry_s=$2; set --; eval "$ry_s"; }}
ry() {{ ry_o "$1b"; ( ry_v "$@" ) </dev/null; ry_e "$1e" $?; }}
ry_p() {{ [ -z "$ry_k" ] || return 0; if [ "$(printf abcdef | {{ head -c 3 >/dev/null; cat; }} 2>/dev/null)" = def ]; then ry_k=h; elif [ "$(printf abcdef | {{ dd bs=3 count=1 iflag=fullblock >/dev/null 2>&1; cat; }})" = def ]; then ry_k=d; else ry_k=s; fi; }}
ry_r() {{ case $ry_k in h) head -c "$1" ;; d) dd bs="$1" count=1 iflag=fullblock 2>/dev/null ;; *) dd bs=1 count="$1" 2>/dev/null ;; esac; }}
ry_f() {{ while read -r ry_c && [ "$ry_c" -gt 0 ]; do ry_r "$ry_c"; done; }}
ry_i() {{ ry_p; ry_o "$1b"; ry_f | {{ ( ry_v "$@" ); ry_e "$1e" $?; cat >/dev/null; }}; }}
ry_w() {{ [ -z "$ry_t" ] || return 0; if timeout 5 true >/dev/null 2>&1; then ry_t=y; else ry_t=n; fi; }}
ry_q() {{ ry_w; ry_o "$1b"; if [ $ry_t = n ]; then ( ry_v "$1" "$3" ) </dev/null; elif [ "${{#3}}" -gt 30000 ]; then printf %s "$3" | timeout -k 5 "$2" sh -c 'eval "$(cat)"'; else timeout -k 5 "$2" sh -c "$3" </dev/null; fi; ry_e "$1e" $?; }}
"""  # noqa: E501 - one function is one line of the protocol


def new_token() -> str:
    """Return a mark that no output holds by chance or by intent."""
    return f"ry{secrets.token_hex(10)}."


def quote(script: bytes) -> bytes:
    """Quote a script as one word on one line; ``$ry_n`` is a newline on the target."""
    return b"'" + script.replace(b"'", b"'\"'\"'").replace(b"\n", b"'\"$ry_n\"'") + b"'"


def opening(token: str, shell: str = "", pre_command: str = "") -> bytes:
    """Return what starts a session; its answer is ``token`` on a line of its own, on both streams.

    Args:
        token: Mark of the greeting.
        shell: Command of a POSIX-like shell whose environment the session gets, for example ``bash -l``.
        pre_command: Lines to evaluate in it first; when they fail, ``<token>pre CODE`` is the answer.
    """
    stage = ""
    if shell or pre_command:
        script = f"exec sh -c {shlex.quote(LOOP)}"
        if pre_command:
            failed = f"{{ printf '\\n%spre %s\\n' {token} $?; exit 1; }}"
            script = f"{{ :\n{pre_command}\n}} </dev/null || {failed}\n{script}"
        word = quote(script.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
        find = "if command -v bash >/dev/null 2>&1; then ry_b=bash; else ry_b=sh; fi; exec $ry_b"
        start = f"exec {shlex.join(shlex.split(shell))}" if shell else find
        stage = f"{_NEWLINE}; {start} -c {word}\n"
    return f"{stage}{_SETUP}ry_o {token}\n".encode("utf-8", "surrogateescape")


def frame(token: str, script: bytes, *, stdin: bool = False, seconds: int | None = None) -> bytes:
    """Return the bytes that run one script.

    Args:
        token: Its mark.
        script: POSIX ``sh``, without NUL bytes.
        stdin: :func:`chunk` s follow, and :data:`LAST`.
        seconds: The target itself ends the script after this time, where it has ``timeout``.
    """
    verb = f"ry_i {token}" if stdin else f"ry_q {token} {seconds}" if seconds is not None else f"ry {token}"
    if len(script) <= INLINE:
        return verb.encode() + b" " + quote(script) + b"\n"
    return f'ry_p; ry_s=$(ry_r {len(script)}); {verb} "$ry_s"; ry_s=\n'.encode() + script


def chunk(data: bytes) -> bytes:
    """Return one piece of a script's standard input, framed."""
    return b"%d\n" % len(data) + data


LAST = b"0\n"
"""The end of a script's standard input."""


class Cutter:
    """Cuts one script's output out of a stream.

    Args:
        token: The script's mark.
        coded: The end mark carries an exit code (stdout); stderr's does not.
    """

    def __init__(self, token: str, *, coded: bool) -> None:
        self._begin = f"\n{token}b\n".encode()
        self._end = f"\n{token}e".encode() + (b" " if coded else b"\n")
        self._coded = coded
        self._buffer = b""
        self.begun = False
        self.done = False
        self.code = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what arrived, and yield what of it the script printed."""
        if self.done:
            return  # a background process that goes on printing
        data = self._buffer + data
        if not self.begun:
            head, found, rest = data.partition(self._begin)
            if not found:
                self._buffer = head[-len(self._begin) :]
                return
            self.begun, data = True, rest
        end = data.find(self._end)
        if end < 0:
            # Only a newline may begin an end mark: output without one goes on at once.
            keep = data.rfind(b"\n", max(0, len(data) - len(self._end) + 1))
            self._buffer = b"" if keep < 0 else data[keep:]
            body = data if keep < 0 else data[:keep]
            if body:
                yield body
            return
        if end:
            yield data[:end]
        self._buffer = data[end:]
        if not self._coded:
            self.done = True
            return
        # The code may still be on its way; what is kept begins with the mark, so that the next call finds it again.
        line, newline, _ = data[end + len(self._end) :].partition(b"\n")
        if newline:
            self.done, self.code = True, int(line)
