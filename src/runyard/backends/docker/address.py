"""Which engine a launch means: what the ``docker`` command would use. Reads its settings; contacts nothing.

An address is what ``DOCKER_HOST`` holds; for an engine that speaks TLS, the folder of the keys follows it, as in
``tcp://gpu1:2376?certs=/home/me/.docker``, so that a record says how to reach its engine again.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from runyard.errors import ConfigError

DEFAULT = "unix:///var/run/docker.sock"
SOCKET = "/var/run/docker.sock"
PORT, TLS_PORT = 2375, 2376
"""What ``tcp://`` means without a port."""


@dataclass(frozen=True)
class Place:
    """What an address says.

    Args:
        scheme: ``unix``, ``ssh`` or ``tcp``.
        path: The engine's socket, on this machine (``unix``) or on that (``ssh``).
        host: The machine.
        user: Login name for ssh.
        port: Port of ssh, or of the engine; ``None`` where ssh's configuration says.
        certs: Folder with ``ca.pem``, ``cert.pem`` and ``key.pem``; empty without TLS.
        verify: The engine's certificate is verified.
    """

    scheme: str
    path: str = ""
    host: str = ""
    user: str | None = None
    port: int | None = None
    certs: str = ""
    verify: bool = True

    @property
    def remote(self) -> bool:
        """Say whether the engine has to be taken for one on another machine."""
        return self.scheme != "unix"


def parse(address: str) -> Place:
    """Return what an address says.

    Raises:
        ConfigError: when it is none.

    Example:
        >>> parse("ssh://me@gpu1:2222")
        Place(scheme='ssh', path='/var/run/docker.sock', host='gpu1', user='me', port=2222, certs='', verify=True)
        >>> parse("tcp://gpu1:2376?certs=/keys").certs
        '/keys'
    """
    try:
        parts = urlsplit(address if "://" in address else f"tcp://{address}")
        port, host = parts.port, parts.hostname or ""
    except ValueError as e:
        raise _no_address(address) from e
    if parts.scheme == "unix" and parts.path:
        return Place("unix", path=address.removeprefix("unix://"))
    if parts.scheme == "ssh" and host and not parts.password:
        return Place("ssh", parts.path.rstrip("/") or SOCKET, _as_written(parts.netloc), parts.username, port)
    if parts.scheme in ("tcp", "http", "https") and host and parts.path in ("", "/"):
        more = parse_qs(parts.query)
        certs = (more.get("certs") or [""])[0]
        port = port or (TLS_PORT if certs else PORT)
        return Place("tcp", host=host, port=port, certs=certs, verify=more.get("verify") != ["0"])
    raise _no_address(address)


def _as_written(netloc: str) -> str:
    """Return a host in its own letters (a ``Host`` of ssh's configuration knows capitals), without login and port."""
    host = netloc.rpartition("@")[2]
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _no_address(address: str) -> ConfigError:
    return ConfigError(
        f"{address!r} is no address of a Docker engine that Runyard can reach",
        hint="DOCKER_HOST is unix:///path, tcp://host:port or ssh://[user@]host[:port][/path/of/docker.sock]",
    )


def chosen(env: Mapping[str, str] | None = None) -> str:
    """Return the address of the engine: ``DOCKER_HOST``, else that of the docker context in use.

    Args:
        env: The environment; default: this process's.

    Raises:
        ConfigError: when the context that is asked for does not exist, or an address is none.

    Example:
        >>> chosen({"DOCKER_HOST": "unix:///run/user/1000/docker.sock"})
        'unix:///run/user/1000/docker.sock'
        >>> chosen({"DOCKER_HOST": "tcp://gpu1:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/keys"})
        'tcp://gpu1:2376?certs=%2Fkeys'

    Source: "Docker contexts" and "Protect the Docker daemon socket" in Docker's manual: a context's folder is named by
    the SHA-256 of its name, and ``DOCKER_TLS_VERIFY`` counts when it is not empty.
    """
    env = os.environ if env is None else env
    folder = Path(env.get("DOCKER_CONFIG") or Path(env.get("HOME", "/"), ".docker"))
    if host := env.get("DOCKER_HOST"):
        if host.startswith("/"):
            raise ConfigError(f"DOCKER_HOST={host} is a path", hint=f"write DOCKER_HOST=unix://{host}")
        certs = env.get("DOCKER_CERT_PATH") or str(folder)
        return _with_keys(host, certs if env.get("DOCKER_TLS_VERIFY") else "")
    name = env.get("DOCKER_CONTEXT") or _current(folder / "config.json")
    if name in ("", "default"):
        return DEFAULT
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / key / "meta.json"
    try:
        endpoint: Mapping[str, Any] = json.loads(meta.read_text())["Endpoints"]["docker"]
        host = str(endpoint["Host"])
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise ConfigError(
            f"the docker context {name!r} is not defined in {meta.parents[1]}",
            hint="see `docker context ls`, then `docker context use NAME`, or set DOCKER_HOST",
        ) from e
    keys = folder / "contexts" / "tls" / key / "docker"
    return _with_keys(host, str(keys) if keys.is_dir() else "", verify=not endpoint.get("SkipTLSVerify"))


def _with_keys(host: str, certs: str, verify: bool = True) -> str:
    """Return an address that says where the keys are; other ways than TCP need none."""
    if not certs or parse(host).scheme != "tcp":
        return host
    return f"{host.rstrip('/')}?{urlencode({'certs': os.path.abspath(certs), **({} if verify else {'verify': '0'})})}"


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


def this_machine() -> str:
    """Return what tells this machine from others, also from those of its name: on an engine that they share."""
    with suppress(OSError):
        return socket.gethostname() + Path("/etc/machine-id").read_text("ascii").strip()
    return socket.gethostname()


def is_remote(cluster: str) -> bool:
    """Say whether an engine is reached over a network, so that no folder of this machine can be mounted there."""
    return not cluster.startswith("unix://")


def is_here(cluster: str) -> bool:
    """Say whether an engine is one of this machine's."""
    return cluster.startswith(f"unix://{socket.gethostname()}/")


def is_in_reach(cluster: str) -> bool:
    """Say whether an engine can be asked from this machine: a socket only where it lies."""
    return is_remote(cluster) or is_here(cluster)


def machine_of(cluster: str) -> str:
    """Return the machine of an engine, as people call it."""
    return parse(cluster).host if is_remote(cluster) else socket.gethostname()


def address_of(cluster: str) -> str:
    """Undo :func:`cluster_of`."""
    rest = cluster.removeprefix("unix://")
    return cluster if rest == cluster else f"unix://{rest[rest.index('/') :]}"
