"""How experiments show themselves in notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def table(title: str, rows: Sequence[tuple[str, Sequence[str], str]]) -> str:
    """Return an HTML table of tasks, their dependencies and states."""
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in (name, ', '.join(needs), state))}</tr>"
        for name, needs, state in rows
    )
    return f"<table><caption>{escape(title)}</caption><tr><th>task</th><th>after</th><th>state</th></tr>{body}</table>"
