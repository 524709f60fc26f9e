"""The documents that the system must satisfy, read from where they lie: no copy of them is in this repository.

They are looked for in ``RUNYARD_SEEDS``, else in ``../shared/seeds`` beside the repository. A document is known by the
first part of its name, a block by its running number in it.
"""

from __future__ import annotations

import functools
import os
import re
import textwrap
from pathlib import Path

from code_blocks import ROOT, Block, blocks_of

FOLDER = Path(os.environ.get("RUNYARD_SEEDS") or ROOT.parent / "shared" / "seeds")
PLAIN = {
    "001": (),
    "002": (
        (31, 34, "listing"),
        (36, 36, "listing"),
        (40, 42, "listing"),
        (44, 45, "bash"),
        (48, 57, "python"),
    ),
}
"""Documents whose fences and indentation were lost: first and last line of each block, and its language."""

_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_PROGRAMS = frozenset({"cd", "find", "git", "kubectl", "pip", "python", "sky", "uv"})
_BRANCH = re.compile(r"^(?P<indent>(?:[│ ]   )*(?:[├└]── )|(?:  )*- |)(?P<name>\S.*)$")


def missing() -> str:
    """Return why the documents cannot be read; "" when they can."""
    return "" if FOLDER.is_dir() else f"{FOLDER} is not there: set RUNYARD_SEEDS to the folder of the seed documents"


@functools.cache
def text_of(document: str) -> str:
    """Return the text of a document."""
    (path,) = FOLDER.glob(f"{document}_*.txt")
    return path.read_text()


def documents() -> list[str]:
    """Return how the names of all documents begin."""
    return sorted(path.name.partition("_")[0] for path in FOLDER.glob("*.txt"))


@functools.cache
def blocks(document: str) -> tuple[Block, ...]:
    """Return the blocks of a document, with ``nemo_run`` read as ``runyard``; a list item's lose their indentation."""
    if document not in PLAIN:
        found = blocks_of(text_of(document), document)
    else:
        lines = text_of(document).splitlines()
        found = [
            Block(document, first, language, "\n".join(lines[first - 1 : last]) + "\n")
            for first, last, language in PLAIN[document]
        ]
    return tuple(Block(b.page, b.line, b.language, ours(textwrap.dedent(b.text))) for b in found)


def block(document: str, number: int) -> Block:
    """Return one block of a document; the first is number 1."""
    return blocks(document)[number - 1]


def ours(text: str) -> str:
    """Return text with our names in it."""
    return text.replace("nemo_run", "runyard")


def commands(document: str) -> dict[tuple[int, int], str]:
    """Return the commands in a document's running text, by line and running number in that line."""
    fenced = {
        line
        for b in (blocks_of(text_of(document), document) if document not in PLAIN else [])
        for line in range(b.line, b.line + b.text.count("\n") + 2)
    }
    found = {}
    for line, text in enumerate(text_of(document).splitlines(), 1):
        spans = [] if line in fenced else [span[1] for span in _SPAN.finditer(text)]
        told = [span for span in spans if span.split()[0] in _PROGRAMS and " " in span]
        found |= {(line, number): ours(span) for number, span in enumerate(told, 1)}
    return found


def table(document: str, heading: str, number: int = 1) -> list[dict[str, str]]:
    """Return the rows of the (first) table whose first column has this heading, by column, without backticks."""
    lines = [line.strip().replace("`", "") for line in text_of(document).splitlines()]
    starts = [i for i, line in enumerate(lines) if line.startswith("|") and _cells(line)[0] == heading]
    start = starts[number - 1]
    names, rows = _cells(lines[start]), []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(names, _cells(line), strict=True)))
    return rows


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def tree_of(listing: str) -> set[str]:
    """Return the paths that a drawing of folders shows; a folder's ends with a slash.

    Example:
        >>> sorted(tree_of("- docs\\n- src\\n  - lib\\n"))
        ['docs/', 'src/', 'src/lib/']
    """
    found: set[str] = set()
    above: list[str] = []
    for line in listing.splitlines():
        if not line.strip():
            continue
        branch = _BRANCH.match(line)
        assert branch, line
        depth = len(branch["indent"]) // (4 if "─" in branch["indent"] else 2)
        if "─" not in branch["indent"] and branch["indent"].endswith("- "):
            depth -= 1
        name = branch["name"].rstrip("/")
        folder = "." not in name
        above[depth:] = [name]
        found.add("/".join(above) + ("/" if folder else ""))
    return found
