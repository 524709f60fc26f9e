"""``runyard code``: what ships, what is stored, and its cleaning. One file per command."""

from __future__ import annotations

from runyard.cli.lazy import LazyGroup

SUMMARIES = {
    "show": "Show what would ship from here, and why.",
    "ls": "List stored code: how large, used by which experiments.",
    "gc": "Clean stored code by age and size.",
    "verify": "Check the hashes of stored code.",
}

command = LazyGroup(
    name="code",
    package="runyard.cli.code",
    summaries=SUMMARIES,
    help="See what ships, what is stored, and clean it.",
)
