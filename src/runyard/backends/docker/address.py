"""Which engine a launch means: what the ``docker`` command would use. Reads its settings; contacts nothing."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from runyard.errors import ConfigError

DEFAULT = "unix:///var/run/docker.sock"


def chosen(env: Mapping[str, str] | None = None) -> str:
    """Return the address of the engine: ``DOCKER_HOST``, else that of the docker context in use.

    Args:
        env: The environment; default: this process's.

    Raises:
        ConfigError: when the context that is asked for does not exist, or an address is none.

    Example:
        >>> chosen({"DOCKER_HOST": "unix:///run/user/1000/docker.sock"})
        'unix:///run/user/1000/docker.sock'

    Source: "Docker contexts" in Docker's manual: a context's folder is named by the SHA-256 of its name.
    """
    env = os.environ if env is None else env
    if host := env.get("DOCKER_HOST"):
        if host.startswith("/"):
            raise ConfigError(f"DOCKER_HOST={host} is a path", hint=f"write DOCKER_HOST=unix://{host}")
        return host
    folder = Path(env.get("DOCKER_CONFIG") or Path(env.get("HOME", "/"), ".docker"))
    name = env.get("DOCKER_CONTEXT") or _current(folder / "config.json")
    if name in ("", "default"):
        return DEFAULT
    meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    try:
        return str(json.loads(meta.read_text())["Endpoints"]["docker"]["Host"])
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise ConfigError(
            f"the docker context {name!r} is not defined in {meta.parents[1]}",
            hint="see `docker context ls`, then `docker context use NAME`, or set DOCKER_HOST",
        ) from e


def _current(path: Path) -> str:
    try:
        return str(json.loads(path.read_text()).get("currentContext", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def cluster_of(address: str) -> str:
    """Return the name of an engine, which is another for the same socket on another machine.

    Example:
        >>> cluster_of("ssh://me@gpu1")
        'ssh://me@gpu1'
    """
    path = address.removeprefix("unix://")
    return address if path == address else f"unix://{socket.gethostname()}{path}"


def is_here(cluster: str) -> bool:
    """Say whether an engine is one of this machine's."""
    return cluster.startswith(f"unix://{socket.gethostname()}/")


def address_of(cluster: str) -> str:
    """Undo :func:`cluster_of`."""
    rest = cluster.removeprefix("unix://")
    return cluster if rest == cluster else f"unix://{rest[rest.index('/') :]}"
