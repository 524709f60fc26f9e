"""Where ``env.toml`` stands, and what is in it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import date, time
from pathlib import Path
from typing import Any

from runyard.errors import ProfileError
from runyard.profiles.book import Book, File

NAME = "env.toml"
VARIABLE = "RUNYARD_PROFILES"


def find(cwd: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return the files that hold profiles, the strongest first: the project's, then the user's own.

    Args:
        cwd: Folder to start from. The project's file is the nearest in it or above it, up to the project's root:
            the nearest folder with ``.git``, else with ``pyproject.toml``, else ``cwd`` alone.
        environ: ``RUNYARD_PROFILES`` names the project's file instead; ``XDG_CONFIG_HOME`` the place of the user's.

    Raises:
        ProfileError: when ``RUNYARD_PROFILES`` names no file.
    """
    found: list[Path] = []
    if named := environ.get(VARIABLE):
        path = Path(os.path.expanduser(named)).absolute()
        if not path.is_file():
            raise ProfileError(f"{VARIABLE}={named}: there is no such file", hint=f"correct it, or unset {VARIABLE}")
        found.append(path)
    else:
        found += [p for folder in _project(cwd.absolute()) if (p := folder / NAME).is_file()][:1]
    own = user_file(environ)
    if own.is_file() and own not in found:
        found.append(own)
    return found


def user_file(environ: Mapping[str, str]) -> Path:
    """Return where the user's own profiles stand, for all projects."""
    config = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return config.expanduser() / "runyard" / NAME


def _project(cwd: Path) -> list[Path]:
    folders = [cwd, *cwd.parents]
    for mark in (".git", "pyproject.toml"):
        for i, folder in enumerate(folders):
            if (folder / mark).exists():
                return folders[: i + 1]
    return [cwd]


def read(path: Path) -> File:
    """Return one file's sections.

    Raises:
        ProfileError: when it cannot be read, is no TOML, or has something outside of sections.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as e:
        raise ProfileError(f"{path} cannot be read: {e}", hint="make it readable UTF-8 text") from e
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        raise ProfileError(f"{path} is no TOML: {e}", hint="correct that line") from e
    for name, section in data.items():
        if not isinstance(section, dict):
            raise ProfileError(f"{path}: {name!r} stands outside of any profile", hint="put it below a line [NAME]")
    return File(str(path), {name: _plain(section) for name, section in data.items()})


def _plain(value: Any) -> Any:
    """Return TOML data with times and dates as text: ``time = 04:00:00`` is meant as it stands."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value.isoformat() if isinstance(value, (date, time)) else value


def open_book(cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> Book:
    """Return the profiles that hold in a folder.

    Args:
        cwd: The folder; default: the current one.
        environ: Environment; default: this process's.

    Raises:
        ProfileError: when a file cannot be used.

    Example:
        >>> open_book().names()  # doctest: +SKIP
        ['base', 'cluster']
    """
    paths = find(cwd or Path.cwd(), os.environ if environ is None else environ)
    return Book(tuple(map(read, paths)))
