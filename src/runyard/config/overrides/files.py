"""Files that overrides name: ``@model.yaml`` and ``@model.yaml:section``, in YAML, TOML or JSON."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from runyard.config.overrides.plain import meant
from runyard.errors import OverrideError

FORMS = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json"}


def read(path: str, section: str = "") -> Any:
    """Return the content of a file, or of one section of it.

    Args:
        path: The file; its suffix says how it is read.
        section: Dotted keys; a number is a place in a list.

    Raises:
        OverrideError: when there is no such file or section, or the content is damaged.
    """
    from runyard.config.formats import parse
    from runyard.errors import ConfigError

    file = Path(os.path.expanduser(path))
    form = form_of(file)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise OverrideError(f"there is no file {path}", hint=_near(file)) from None
    except (OSError, ValueError) as error:  # ValueError: bytes that are no text, a name that no file can have
        raise OverrideError(f"{path} cannot be read: {error}") from None
    try:
        data = parse(text, form)
    except ConfigError as error:
        raise OverrideError(f"{path}: {error.message}") from None
    return _section(data, section, path)


def form_of(path: Path) -> str:
    """Return ``yaml``, ``toml`` or ``json``, by a file's suffix.

    Raises:
        OverrideError: when it has none of theirs.
    """
    form = FORMS.get(path.suffix.lower())
    if form is None:
        raise OverrideError(f"{path} is no configuration by its name", hint=f"one of {', '.join(FORMS)}")
    return form


def _section(data: Any, section: str, path: str) -> Any:
    for key in re.split(r"\.", section) if section else ():
        if isinstance(data, list) and key.isdecimal() and int(key) < len(data):
            data = data[int(key)]
        elif isinstance(data, dict) and key in data:
            data = data[key]
        else:
            known = map(str, data) if isinstance(data, dict) else ()
            raise OverrideError(f"{path} has no section {section!r}", hint=meant(key, known, "it has"))
    return data


def _near(file: Path) -> str:
    try:
        names = [entry.name for entry in file.parent.iterdir() if entry.suffix in FORMS]
    except OSError:
        return f"there is no folder {file.parent} either"
    near = get_close_matches(file.name, names, n=1)
    return f"did you mean {file.parent / near[0]}?" if near else f"looked in {file.parent.absolute()}"
