"""How an engine is reached: its own unix socket, one that ssh brings here, or TCP with or without TLS."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from runyard.backends.docker import address
from runyard.backends.docker.address import Place
from runyard.errors import AuthError, HostKeyError, TunnelError, Unavailable
from runyard.tunnels import SSHTunnel
from runyard.tunnels.destination import Destination
from runyard.tunnels.failures import Unreachable
from runyard.tunnels.forward import ForwardedSocket
from runyard.tunnels.transfer import quote

CONNECT_SECONDS = 15.0
"""How long it may take to connect over a network."""
KEYS = ("ca.pem", "cert.pem", "key.pem")

_CLOSED = ("remotedisconnected", "connection aborted", "connection reset", "broken pipe", "badstatusline")


class Transport(Protocol):
    """One way to reach an engine.

    Attributes:
        knocks: :meth:`ready` costs nothing, and is called before each question.
    """

    knocks: ClassVar[bool]

    def ready(self) -> dict[str, Any]:
        """See to it that somebody listens, and return what ``docker.DockerClient`` has to be told.

        Raises:
            Unavailable: in words.
            OSError: when nobody listens.
        """
        ...

    def connect(self) -> socket.socket:
        """Return a connection of its own; :meth:`ready` was called before.

        Raises:
            OSError: when there can be none.
        """
        ...

    def explain(self, said: str) -> Unavailable | None:
        """Return what an error of this way means, or ``None`` where it means nothing special."""
        ...


def to(text: str) -> Transport:
    """Return the way to the engine at an address.

    Raises:
        ConfigError: when it is no address.
    """
    place = address.parse(text)
    if place.scheme == "ssh":
        return OverSsh(place)
    return OverTcp(place) if place.remote else Here(place.path)


@dataclass(frozen=True)
class Here:
    """A unix socket of this machine."""

    knocks: ClassVar[bool] = True

    path: str

    def ready(self) -> dict[str, Any]:
        """Knock: docker-py would find out too that nobody listens, and leave its socket open."""
        self.connect().close()
        return {"base_url": f"unix://{self.path}"}

    def connect(self) -> socket.socket:
        """Return a connection."""
        return _unix(self.path)

    def explain(self, said: str) -> Unavailable | None:
        """Return what to do about permissions."""
        if "Permission denied" in said:
            hint = "add yourself to the group docker (and log in again), or use a rootless engine"
            return Unavailable(f"you may not use the Docker engine at unix://{self.path}", hint=hint)
        return None


class OverSsh:
    """The socket of an engine on a machine behind ssh: the system's ``ssh``, one login, one connection.

    Args:
        place: Where it is.
    """

    knocks: ClassVar[bool] = False

    def __init__(self, place: Place) -> None:
        self._place = place
        self._to = Destination(place.host, place.user, place.port)
        self._forward = ForwardedSocket(self._to, place.path)

    def ready(self) -> dict[str, Any]:
        """Log in where no connection is open."""
        try:
            return {"base_url": f"unix://{self._forward.open()}"}
        except TunnelError as e:
            lasting = isinstance(e, (AuthError, HostKeyError))
            raise Unavailable(e.message, hint=e.hint, retryable=not lasting) from e

    def connect(self) -> socket.socket:
        """Return a connection."""
        try:
            return _unix(str(self._forward.path))
        except TunnelError as e:  # ssh itself cannot be asked where the socket lies
            raise OSError(e.message) from e

    def explain(self, said: str) -> Unavailable | None:
        """Look what is wrong there: ssh takes every connection here, and closes those that it cannot pass on."""
        if not any(word in said.lower() for word in _CLOSED):
            return None
        path, name = self._place.path, self._to.name
        try:
            look = f"[ -S {quote(path)} ] || exit 3; [ -w {quote(path)} ] || exit 4; exit 0"
            shell = SSHTunnel(self._place.host, self._place.user, port=self._place.port).shell()
            code = shell(look.encode("utf-8", "surrogateescape"), repeat=True, timeout=CONNECT_SECONDS).code
        except Unreachable as e:
            return Unavailable(e.message, hint=e.hint)
        except TunnelError as e:
            return Unavailable(e.message, hint=e.hint, retryable=not isinstance(e, (AuthError, HostKeyError)))
        if code == 3:
            return Unavailable(
                f"no Docker engine answers on {name}: there is no socket {path}",
                hint="start it there (systemctl start docker), or name its socket: ssh://HOST/run/user/1000/docker.sock",
            )
        if code == 4:
            return Unavailable(
                f"you may not use the Docker engine on {name}: no permission for {path}",
                hint="be added to the group docker there, or name a rootless engine's socket",
            )
        return Unavailable(
            f"the Docker engine on {name} closes the connection",
            hint="is it starting? does sshd_config forbid AllowStreamLocalForwarding?",
        )


class OverTcp:
    """An engine that listens on TCP.

    Args:
        place: Where it is.
    """

    knocks: ClassVar[bool] = False

    def __init__(self, place: Place) -> None:
        self._place = place
        self._files = [str(Path(place.certs, name)) for name in KEYS] if place.certs else []

    def ready(self) -> dict[str, Any]:
        """Connect, and check whom we talk to."""
        place = self._place
        self.connect().close()
        host = f"[{place.host}]" if ":" in place.host else place.host
        if not self._files:
            return {"base_url": f"tcp://{host}:{place.port}"}
        from docker.tls import TLSConfig

        ca, cert, key = self._files
        keys = (cert, key) if Path(cert).exists() else None
        tls = TLSConfig(client_cert=keys, ca_cert=ca if place.verify else None, verify=place.verify)
        return {"base_url": f"https://{host}:{place.port}", "tls": tls}

    def connect(self) -> socket.socket:
        """Return a connection, with TLS where the engine has it."""
        plain = socket.create_connection((self._place.host, self._place.port), CONNECT_SECONDS)
        if not self._files:
            return plain
        try:
            return self._context().wrap_socket(plain, server_hostname=self._place.host)
        except BaseException:
            plain.close()
            raise

    def _context(self) -> ssl.SSLContext:
        ca, cert, key = self._files
        context = ssl.create_default_context(cafile=ca if self._place.verify else None)
        if not self._place.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if Path(cert).exists():
            context.load_cert_chain(cert, key)
        return context

    def explain(self, said: str) -> Unavailable | None:
        """Return what is wrong with the keys, or the way."""
        where, low = f"{self._place.host}:{self._place.port}", said.lower()
        folder = self._place.certs
        if "no such file" in low and folder:
            missing = next((f for f in self._files if not Path(f).exists()), folder)
            return Unavailable(f"{missing} does not exist", hint="correct DOCKER_CERT_PATH: ca.pem, cert.pem, key.pem")
        if "certificate" in low or "tls" in low or "ssl" in low:
            return Unavailable(
                f"the Docker engine at {where} and this machine do not trust each other (TLS): {said}",
                hint=f"check the keys in {folder}, and the name in the engine's certificate"
                if folder
                else "set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH",
            )
        if "http request to an https server" in low:
            return Unavailable(
                f"the Docker engine at {where} speaks TLS", hint="set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"
            )
        return Unavailable(
            f"no Docker engine answers at {where}: {said}", hint="check DOCKER_HOST, the engine, and the network"
        )


def _unix(path: str) -> socket.socket:
    s = socket.socket(socket.AF_UNIX)
    try:
        s.settimeout(60)
        s.connect(path)
    except BaseException:
        s.close()
        raise
    return s
