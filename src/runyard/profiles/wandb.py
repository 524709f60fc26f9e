"""What a job needs for Weights & Biases and Hugging Face: names from ``[wandb]``, tokens as secrets."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from runyard.errors import ProfileError
from runyard.secrets import Secret
from runyard.tokens import stored

_VARIABLES = {"project": "WANDB_PROJECT", "entity": "WANDB_ENTITY", "group": "WANDB_RUN_GROUP"}
_KEY = "WANDB_API_KEY"
_GET = {_KEY: "run `wandb login`, or export it", "HF_TOKEN": "run `hf auth login`, or export it"}


def environment(
    section: Mapping[str, Any], given: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Return a job's environment with what the user's own tools know, and warnings about what is missing.

    Args:
        section: The section ``[wandb]``.
        given: The environment that was asked for, which wins.
        environ: The environment here, where tokens (or the way to their files) are.

    Raises:
        ProfileError: for a value that is no text.

    Example:
        >>> environment({"project": "demo"}, {"HF_TOKEN": "x"}, {"WANDB_API_KEY": "abcdef"})[0]
        {'WANDB_PROJECT': 'demo', 'WANDB_API_KEY': Secret('WANDB_API_KEY'), 'HF_TOKEN': 'x'}
    """
    env: dict[str, Any] = {}
    warnings: list[str] = []
    for name, value in section.items():
        if name not in _VARIABLES:
            near = get_close_matches(name, _VARIABLES, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(_VARIABLES)}"
            warnings.append(f"[wandb] {name} is not used: {meant}")
        elif not isinstance(value, str):
            raise ProfileError(f"[wandb] {name} = {value!r} is no text", hint=f'write {name} = "…"')
        else:
            env[_VARIABLES[name]] = value
    if section:
        env[_KEY] = Secret(_KEY)
    if stored_or_set("HF_TOKEN", environ):
        env["HF_TOKEN"] = Secret("HF_TOKEN")
    env |= given
    for name, hint in _GET.items():
        if env.get(name) == Secret(name) and not stored_or_set(name, environ):
            del env[name]
            warnings.append(f"there is no {name}, so the job goes without: {hint}")
    return env, warnings


def stored_or_set(name: str, environ: Mapping[str, str]) -> bool:
    """Say whether a token can be had."""
    return bool(environ.get(name) or stored(name, environ))
