"""``${oc.env:NAME}`` and ``${oc.env:NAME,default}`` in the texts of a profile. Pure: text is only ever put into text.

Every other ``${…}`` is left to the job's shell, and ``\\${oc.env:NAME}`` stays as it is, without the backslash. A
variable whose name looks secret may only go where secrets travel apart from the rest: see :func:`fill`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runyard.secrets import Secret, looks_secret

_OPEN = re.compile(r"\\?\$\{oc\.(\w+)(:?)")
_NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*(,|\})", re.ASCII)
_WHOLE = re.compile(r"\$\{oc\.env:\s*([A-Za-z_]\w*)\s*\}", re.ASCII)
DEEPEST = 20
"""So deep may defaults hold defaults."""


class Unfilled(Exception):
    """An interpolation that cannot be filled in.

    Args:
        reason: What is wrong.
        hint: What to do.
        path: Where, as names and numbers.
    """

    def __init__(self, reason: str, hint: str, path: tuple[Any, ...] = ()) -> None:
        super().__init__(reason)
        self.reason, self.hint, self.path = reason, hint, path


def fill(value: Any, environ: Mapping[str, str], path: tuple[Any, ...] = ()) -> Any:
    """Return a value with the variables in all of its texts filled in.

    In ``env_vars`` a text that is nothing but ``${oc.env:NAME}`` of a name that looks secret becomes a ``Secret``.
    Elsewhere such a variable is refused, unless the field's own name looks secret.

    Args:
        value: Plain data.
        environ: The environment.
        path: Names and numbers that lead to the value.

    Raises:
        Unfilled: for a variable that is not set, or one that must not stand there.

    Example:
        >>> fill({"account": "${oc.env:TEAM,research}", "setup": "echo ${SLURM_JOB_ID}"}, {})
        {'account': 'research', 'setup': 'echo ${SLURM_JOB_ID}'}
    """
    if isinstance(value, Mapping):
        return {k: fill(v, environ, (*path, k)) for k, v in value.items()}
    if isinstance(value, list):
        return [fill(v, environ, (*path, i)) for i, v in enumerate(value)]
    if not isinstance(value, str) or "${oc." not in value:
        return value
    whole = _WHOLE.fullmatch(value.strip())
    if whole and looks_secret(whole[1]) and path[:1] == ("env_vars",) and isinstance(path[-1], str):
        return Secret(whole[1])
    try:
        return _Text(value, environ, any(looks_secret(str(p)) for p in path)).filled()
    except Unfilled as e:
        raise Unfilled(e.reason, e.hint, path) from None


class _Text:
    """One text on its way."""

    def __init__(self, text: str, environ: Mapping[str, str], secret: bool) -> None:
        self.text = text
        self.environ = environ
        self.secret = secret

    def filled(self) -> str:
        out, at = "", 0
        while found := _OPEN.search(self.text, at):
            out += self.text[at : found.start()]
            if found[0].startswith("\\"):
                out, at = out + found[0][1:], found.end()
                continue
            value, at = self.one(found, 0)
            out += value
        return out + self.text[at:]

    def one(self, found: re.Match[str], depth: int) -> tuple[str, int]:
        """Return the value of the interpolation that opens at ``found``, and where it ends."""
        if found[1] != "env" or not found[2]:
            raise Unfilled(
                f"{found[0]}…}} is no interpolation of ours", "write ${oc.env:NAME} or ${oc.env:NAME,default}"
            )
        name = _NAME.match(self.text, found.end())
        if not name or depth > DEEPEST:
            raise Unfilled(
                f"{self.text[found.start() : found.start() + 60]!r} is not closed, or names no variable",
                "write ${oc.env:NAME} or ${oc.env:NAME,default}",
            )
        default, at = (None, name.end()) if name[2] == "}" else self.default(name.end(), depth)
        value = self.environ.get(name[1])
        if value is None and default is None:
            raise Unfilled(
                f"the variable {name[1]} is not set",
                f"export {name[1]}=…, or give a default: ${{oc.env:{name[1]},default}}",
            )
        if value is not None and looks_secret(name[1]) and not self.secret:
            raise Unfilled(
                f"the secret {name[1]} would be written into scripts and records here",
                f'put it into the job\'s environment: env_vars = ["{name[1]}"]',
            )
        return (default or "") if value is None else value, at

    def default(self, at: int, depth: int) -> tuple[str, int]:
        """Return the default that begins at ``at``, up to the closing brace, and where it ends."""
        out = ""
        while at < len(self.text):
            if self.text[at] == "}":
                return out.strip(), at + 1
            if (found := _OPEN.match(self.text, at)) and not found[0].startswith("\\"):
                value, at = self.one(found, depth + 1)
                out += value
                continue
            out, at = out + self.text[at], at + 1
        raise Unfilled(f"{self.text[:60]!r} is not closed", "write ${oc.env:NAME,default}")
