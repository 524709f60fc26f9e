"""Pages made at build time, so that they never go stale.

- ``reference/generated/api-*``: one page per group of names in ``runyard.__all__``, from docstrings;
- ``reference/generated/cli-*``: one page per command, from the commands themselves;
- ``decisions/index``: the list of the decisions beside it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GROUPS = {
    "tasks": ("Tasks and configuration", ("task", "config")),
    "experiments": ("Running and experiments", ("experiment", "engine", "states", "notebook")),
    "executors": ("Executors", ("executors", "backends", "profiles")),
    "launchers": ("Launchers", ("launchers",)),
    "packagers": ("Packagers", ("packagers", "snapshots")),
    "tunnels": ("Tunnels", ("tunnels",)),
    "ray": ("Ray", ("ray",)),
    "cli": ("Command-line entrypoints", ("cli",)),
    "errors": ("Errors", ("errors",)),
    "other": ("More", ()),
}
"""Page → its title, and the parts of the package whose public names stand on it."""


def public_names() -> dict[str, Any]:
    """Return every name in ``runyard.__all__`` with its object."""
    package = importlib.import_module("runyard")
    return {name: getattr(package, name) for name in package.__all__}


def group_of(thing: object) -> str:
    """Return the page on which a public object stands: that of the part of the package it comes from."""
    module = getattr(thing, "__module__", None) or getattr(thing, "__name__", "")
    part = module.removeprefix("runyard").lstrip(".").split(".")[0]
    return next((page for page, (_, parts) in GROUPS.items() if part in parts), "other")


def api_pages() -> dict[str, str]:
    """Return the text of each page of the API reference, in reStructuredText."""
    grouped: dict[str, list[str]] = {page: [] for page in GROUPS}
    for name, thing in sorted(public_names().items(), key=lambda item: item[0].lower()):
        if name.startswith("__"):
            continue
        grouped[group_of(thing)].append(_entry(name, thing))
    return {
        f"api-{page}.rst": f"{_underlined(GROUPS[page][0])}\n\n" + "\n".join(entries)
        for page, entries in grouped.items()
        if entries
    }


def _entry(name: str, thing: object) -> str:
    if isinstance(thing, type):
        options = "   :members:\n" if thing.__module__.startswith("runyard") else ""
        return f".. autoclass:: runyard.{name}\n{options}"
    if callable(thing):
        return f".. autofunction:: runyard.{name}\n"
    if type(thing).__name__ == "module":
        return f".. automodule:: {thing.__name__}\n   :members:\n"  # type: ignore[attr-defined]
    return f".. autodata:: runyard.{name}\n"


def cli_pages() -> dict[str, str]:
    """Return the text of each page of the command reference: what ``--help`` prints, command by command."""
    import click

    root = importlib.import_module("runyard.cli.root").main
    pages: dict[str, list[str]] = {}
    for words, command in _commands(root, ("runyard",)):
        page = f"cli-{words[1] if len(words) > 1 else 'runyard'}.rst"
        context = click.Context(command, info_name=" ".join(words), max_content_width=90, terminal_width=90)
        text = command.get_help(context)
        title = _underlined(" ".join(words), "=" if page not in pages else "-")
        block = "\n".join(f"   {line}".rstrip() for line in text.splitlines())
        pages.setdefault(page, []).append(f"{title}\n\n.. code-block:: text\n\n{block}\n")
    return {page: "\n".join(parts) for page, parts in pages.items()}


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    import click

    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=words[-1])
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _commands(child, (*words, name))


def decisions_page(folder: Path) -> str:
    """Return the index of the decisions in a folder, with each one's title."""
    files = sorted(folder.glob("[0-9][0-9][0-9][0-9]-*.md"))
    return "\n".join(
        [
            "# Decisions",
            "",
            "Why things are as they are: for each decision its context, what was decided, and what follows.",
            "",
            "```{toctree}",
            ":maxdepth: 1",
            "",
            *(file.stem for file in files),
            "```",
            "",
        ]
    )


def write_pages(docs: Path) -> list[Path]:
    """Write all generated pages below ``docs`` and return their paths; unchanged ones are left alone."""
    target = docs / "reference" / "generated"
    pages = {target / name: text for name, text in (api_pages() | cli_pages()).items()}
    pages[docs / "decisions" / "index.md"] = decisions_page(docs / "decisions")
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for stale in set(target.glob("*.rst")) - set(pages):
        stale.unlink()
    return list(pages)


def _underlined(text: str, mark: str = "=") -> str:
    return f"{text}\n{mark * len(text)}"


def setup(app: Any) -> dict[str, Any]:
    """Make the pages before Sphinx reads the sources."""
    app.connect("config-inited", lambda app, _config: write_pages(Path(app.srcdir)))
    return {"version": "1", "parallel_read_safe": True}
