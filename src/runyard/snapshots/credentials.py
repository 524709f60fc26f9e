"""Which files look like credentials, and so stay behind unless the user asks for them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TEMPLATE = re.compile(r"(?:example|sample|template|dist|defaults?|schema)$", re.IGNORECASE)
_NAMES = frozenset(
    {
        ".env",
        ".envrc",
        "env.toml",
        ".netrc",
        "_netrc",
        ".pypirc",
        ".npmrc",
        ".pgpass",
        ".git-credentials",
        ".htpasswd",
        "kubeconfig",
        "id_rsa",
        "id_dsa",
        "id_ecdsa",
        "id_ecdsa_sk",
        "id_ed25519",
        "id_ed25519_sk",
        "credentials.json",
        "client_secret.json",
        "service-account.json",
        "service_account.json",
    }
)
_SUFFIXES = (".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk")
_FOLDER_FILES = frozenset({".aws/credentials", ".docker/config.json", ".kube/config"})
_FOLDERS = frozenset({".ssh", ".gnupg"})
_MAYBE_KEY = (".pem", ".key")
_TELLING = (*_SUFFIXES, *_MAYBE_KEY)

DIFF_EXCLUDES = (
    *(f":(exclude,top,icase,glob)**/{name}" for name in sorted(_NAMES)),
    *(f":(exclude,top,icase,glob)**/*{suffix}" for suffix in (*_SUFFIXES, *_MAYBE_KEY)),
    *(f":(exclude,top,icase,glob)**/{name}" for name in sorted(_FOLDER_FILES)),
    *(f":(exclude,top,icase,glob)**/{name}/**" for name in sorted(_FOLDERS)),
    ":(exclude,top,icase,glob)**/.env.*",
)
"""Git pathspecs that keep what may be a credential out of a recorded diff (more is left out than from the tree)."""


def _name_verdict(name: str) -> str:
    """Return ``secret``, ``maybe`` (the content decides) or an empty string, for a file name in lower case."""
    if name in _NAMES or (name.startswith(".env.") and not _TEMPLATE.search(name)):
        return "secret"
    if name.endswith(_TELLING):
        return "maybe" if name.endswith(_MAYBE_KEY) else "secret"
    return ""


def credential_verdict(path: str) -> str:
    """Judge a relative path by its name alone.

    Returns:
        ``"secret"`` for a file that looks like a credential, ``"maybe"`` for one whose content decides (``*.pem`` may
        be a public certificate: see :func:`holds_private_key`), else an empty string.

    Example:
        >>> [credential_verdict(p) for p in (".env", "app/.env.example", "certs/ca.pem", "train.py")]
        ['secret', '', 'maybe', '']
    """
    head, _, name = path.lower().rpartition("/")
    verdict = _name_verdict(name)
    if verdict or "." not in head:
        return verdict
    folders = head.split("/")
    if not _FOLDERS.isdisjoint(folders) or f"{folders[-1]}/{name}" in _FOLDER_FILES:
        return "secret"
    return ""


def holds_private_key(first_bytes: bytes) -> bool:
    """Return True when the beginning of a file is that of a private key (PEM)."""
    return b"PRIVATE KEY" in first_bytes


def asked_for(path: str, include: bool | str | Iterable[str]) -> bool:
    """Return True when the user asked for this credential file to ship.

    Args:
        path: Relative path.
        include: True for all, or the path(s) or file name(s) that may ship.
    """
    if isinstance(include, bool):
        return include
    wanted = {include} if isinstance(include, str) else set(include)
    return path in wanted or path.rpartition("/")[2] in wanted
