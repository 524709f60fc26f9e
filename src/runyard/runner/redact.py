"""Copy stdin to stdout with secret values replaced by ``***``: ``redact.py secrets.env < log``.

This file travels with the job; it needs Python 3.8 or newer and its standard library. The argument
is a shell file of lines ``export NAME='value'`` (POSIX quoting; values may span lines). Values
of fewer than six characters are not searched for. Of a value with several lines, every long line
counts as a secret of its own, because logs indent and split.

Output is delayed only while its end may be the beginning of a secret: 0.2 s at most, but as long as it
takes when at least half a secret stands there. A secret that goes on after such a pause is still
cut off.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # annotations are never evaluated here, so they may be newer than Python 3.8
    from collections.abc import Iterable

SHORTEST = 6
"""Characters below which a value is not searched for."""

SHORTEST_LINE = 12
"""Characters below which one line of a longer value is not searched for."""

PATIENCE = 0.2
"""Seconds for which the possible beginning of a secret is held back."""

STARS = b"***"

_QUOTED = rb"""'[^']*'|"[^"\\$`]*"|\\.|[^\s'"\\]"""
_EXPORT = re.compile(rb"\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*=((?:" + _QUOTED + rb")*)", re.DOTALL)
_PIECE = re.compile(rb"""'([^']*)'|"([^"\\$`]*)"|\\(.)|([^\s'"\\]+)""", re.DOTALL)


def read_secrets(content: bytes) -> list[bytes]:
    """Return the values in a shell env file, the long lines of those with several, and how shells quote them.

    Example:
        >>> read_secrets(b"export A='top secret'\\n")
        [b'top secret']
    """
    found = []
    position = 0
    while position < len(content):
        match = _EXPORT.match(content, position)
        if match is None or match.end() == position:
            end = content.find(b"\n", position)  # a comment, or something that is no assignment
            position = len(content) if end < 0 else end + 1
            continue
        position = match.end()
        value = b"".join(b"".join(piece) for piece in _PIECE.findall(match.group(1)))
        found += _searched(value)
    return found


def _searched(value: bytes) -> list[bytes]:
    texts = [text for text in (value, value.strip()) if _length(text) >= SHORTEST]
    lines = value.splitlines()
    if len(lines) > 1:
        texts += [line.strip() for line in lines if _length(line.strip()) >= SHORTEST_LINE]
    # As `set -x` prints them: bash writes a quote in one way, dash in the other.
    texts += [text.replace(b"'", quote) for text in texts for quote in (b"'\\''", b"""'"'"'""")]
    return list(dict.fromkeys(texts))


def _length(text: bytes) -> int:
    return len(text.decode("utf-8", "replace"))


class Redactor:
    """Replace secrets in a stream that comes in pieces.

    Example:
        >>> stream = Redactor([b"hunter2!"])
        >>> stream.feed(b"password: hun"), stream.feed(b"ter2! ok")
        (b'password: ', b'*** ok')
    """

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self.secrets = sorted(set(secrets), key=len, reverse=True)  # the longest that matches wins
        self.pattern = re.compile(b"|".join(re.escape(secret) for secret in self.secrets))
        self.firsts = {secret[0] for secret in self.secrets}
        self.longest = max(map(len, self.secrets), default=0)
        self.held = b""  # may be the beginning of a secret
        self.shown = 0  # how much of it was printed because nothing more came

    def feed(self, data: bytes) -> bytes:
        """Return what can be printed now that ``data`` has come."""
        if not self.secrets:
            return data
        text = self.held + data
        position, out = 0, []
        while True:
            hold = self.beginning(text, position)
            match = self.pattern.search(text, position)
            if match is None or match.start() >= hold:
                break
            out.append(text[max(position, self.shown) : match.start()])
            if match.end() > self.shown:
                out.append(STARS)
            position = match.end()
        out.append(text[max(position, self.shown) : hold])
        self.held = text[hold:]
        self.shown = max(0, self.shown - hold)
        return b"".join(out)

    def beginning(self, text: bytes, position: int) -> int:
        """Return where the end of ``text`` starts that may be the beginning of a secret."""
        for index in range(max(position, len(text) - self.longest + 1), len(text)):
            if text[index] in self.firsts:
                end = text[index:]
                if any(len(end) < len(secret) and secret.startswith(end) for secret in self.secrets):
                    return index
        return len(text)

    @property
    def waiting(self) -> bool:
        """True when something is held back that :meth:`pause` would print."""
        if self.shown >= len(self.held):
            return False
        return all(2 * len(self.held) < len(s) for s in self.secrets if s.startswith(self.held))

    def pause(self) -> bytes:
        """Return what was held back, because nothing more came for a while."""
        out = self.rest()
        self.shown = len(self.held)
        return out

    def rest(self) -> bytes:
        """Return what was held back, at the end of the stream."""
        return self.pattern.sub(STARS, self.held[self.shown :]) if self.secrets else b""


def write(data: bytes) -> None:
    """Write all of ``data``; a reader that has gone is no reason to stop the job by a broken pipe."""
    while data:
        try:
            data = data[os.write(1, data) :]
        except OSError:
            return


def main() -> None:
    """Copy until the end of stdin."""
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):  # the job is told; its last words must still come through
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if len(sys.argv) != 2:
        sys.exit("usage: redact.py secrets.env < log")
    try:
        with open(sys.argv[1], "rb") as file:
            stream = Redactor(read_secrets(file.read()))
    except OSError as error:
        write(f"runyard: output withheld, because the secrets to hide cannot be read: {error}\n".encode())
        while os.read(0, 65536):
            pass
        sys.exit(2)
    while True:
        if stream.waiting and not select.select([0], [], [], PATIENCE)[0]:
            write(stream.pause())
            continue
        data = os.read(0, 65536)
        if not data:
            break
        write(stream.feed(data))
    write(stream.rest())


if __name__ == "__main__":
    main()
