"""Plain data in YAML, TOML and JSON. Nothing of it is ever imported or called; nothing heavy is imported for it."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

from runyard.errors import ConfigError

_FLOAT = re.compile(r"[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+|[-+]?\.\d[\d_]*([eE][-+]?\d+)?")


def parse(text: str, form: str) -> Any:
    """Return the plain data in a text.

    Args:
        text: The text.
        form: ``yaml``, ``toml`` or ``json``.

    Raises:
        ConfigError: when it is not of that form.

    Example:
        >>> parse("lr: 1e-3", "yaml")
        {'lr': 0.001}
    """
    try:
        if form == "json":
            return json.loads(text)
        if form == "toml":
            return tomllib.loads(text)
        import yaml

        try:
            return yaml.load(text, Loader=yaml_class("SafeLoader"))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            at = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
            raise ValueError(f"{error.problem or error.context}{at}") from None
        except yaml.YAMLError as error:
            raise ValueError(error) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"this is not {form.upper()}: {error}") from None


def yaml_class(name: str) -> Any:
    """Return PyYAML's safe loader or dumper, which takes ``1e-5`` for a number as YAML 1.2 does."""
    import yaml

    made = type(name, (getattr(yaml, name),), {})
    if name == "SafeDumper":
        made.add_representer(str, _yaml_text)  # type: ignore[attr-defined]
    made.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))  # type: ignore[attr-defined]
    return made


def _yaml_text(dumper: Any, text: str) -> Any:
    """Write text; line ends that only YAML knows must be escaped to come back as they are."""
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029\ufeff") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
