"""How an exception of the user's function is shown when it ends the program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

THEMES = {"dark": "monokai", "light": "default", "monochrome": "bw"}
"""Themes of ``--rich-theme``, and what rich calls them."""
_OURS = frozenset({"click", "fiddle", "runyard"})
Hook = Callable[[type[BaseException], BaseException, TracebackType | None], Any]


def install(given: Mapping[str, Any]) -> None:
    """Have uncaught exceptions shown as the options say: in colours, and from the user's own code on.

    Args:
        given: Options by name; ``verbose`` shows what lies above that code, too.
    """
    if given.get("rich_exceptions"):
        from rich.console import Console
        from rich.traceback import install

        install(
            console=Console(file=sys.stderr),
            theme=THEMES[given["rich_theme"]],
            show_locals=given["rich_show_locals"],
            max_frames=4 if given["rich_traceback_short"] else 100,
        )
    if not given.get("verbose"):
        sys.excepthook = _beginning_below(sys.excepthook)


def _beginning_below(hook: Hook) -> Hook:
    def show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        hook(kind, error.with_traceback(first := below_ours(traceback)), first)

    return show


def below_ours(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames that led into the user's code; whole where it ends in ours."""
    within, entry = False, traceback
    while entry is not None:
        ours = str(entry.tb_frame.f_globals.get("__name__")).partition(".")[0] in _OURS
        if within and not ours:
            return entry
        within, entry = within or ours, entry.tb_next
    return traceback
