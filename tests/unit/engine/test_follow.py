"""A person who interrupts a run that they watch."""

from __future__ import annotations

import io
import pty
import signal
import sys
from pathlib import Path

import pytest

from runyard.engine.follow import Detached, Follower, View
from runyard.store import records
from runyard.store.db import Database


class Screen(io.StringIO):
    """A terminal before which somebody presses Ctrl-C as soon as they see one of some words."""

    def __init__(self, *words: str) -> None:
        super().__init__()
        self.words = list(words)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        count = super().write(text)
        if self.words and self.words[0] in text:
            del self.words[0]
            signal.raise_signal(signal.SIGINT)
        return count


@pytest.mark.parametrize("again", ["Interrupted. [d]etach", ""])
def test_a_second_ctrl_c_detaches_however_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: str) -> None:
    """While the question is being written, or (nothing in particular is waited for) before that."""
    monkeypatch.delenv("TERM", raising=False)
    ours, theirs = pty.openpty()
    with Database(tmp_path) as db, open(theirs, encoding="utf-8") as keyboard, open(ours, "wb"):
        monkeypatch.setattr(sys, "stdin", keyboard)
        jobs = [(name, {}, {}, "") for name in ("one", "two")]
        records.create(db, id="watched_1", title="watched", created=0.0, folder="x", facts={}, jobs=jobs)
        screen = Screen("0/2 done", again)
        with pytest.raises(Detached):
            Follower(db, "watched_1", View(["one", "two"], frozenset(), io.StringIO(), screen)).run()
        assert screen.words == []
