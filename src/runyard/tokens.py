"""Tokens that the user's own tools have stored: ``wandb login`` and ``hf auth login``.

Source: the pages "Environment variables" of W&B's and of huggingface_hub's documentation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

_WANDB = "https://api.wandb.ai"


def stored(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """Return the token of a variable that is not set, from where its tool keeps it.

    Args:
        name: ``WANDB_API_KEY`` (``~/.netrc``, or the file that ``NETRC`` names), ``HF_TOKEN`` or
            ``HUGGING_FACE_HUB_TOKEN`` (the Hugging Face token file). Other names have no such place.
        environ: Environment; default: this process's.

    Example:
        >>> stored("MY_KEY") is None
        True
    """
    read = _READERS.get(name)
    if read is None:
        return None
    try:
        return read(os.environ if environ is None else environ) or None
    except (OSError, RuntimeError, UnicodeDecodeError):  # RuntimeError: there is no home folder
        return None


def _wandb(environ: Mapping[str, str]) -> str | None:
    import netrc

    host = urlsplit(environ.get("WANDB_BASE_URL") or _WANDB).hostname or ""
    named = environ.get("NETRC")
    path = Path(named).expanduser() if named else _home(environ) / ".netrc"
    try:
        found = netrc.netrc(str(path)).authenticators(host)
    except netrc.NetrcParseError:
        return None
    return found[2] if found else None


def _hugging_face(environ: Mapping[str, str]) -> str | None:
    cache = Path(environ.get("XDG_CACHE_HOME") or _home(environ) / ".cache")
    home = Path(environ.get("HF_HOME") or cache / "huggingface")
    path = Path(environ.get("HF_TOKEN_PATH") or home / "token").expanduser()
    return path.read_text(encoding="utf-8").strip()


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


_READERS: dict[str, Callable[[Mapping[str, str]], str | None]] = {
    "WANDB_API_KEY": _wandb,
    "HF_TOKEN": _hugging_face,
    "HUGGING_FACE_HUB_TOKEN": _hugging_face,
}
