"""A Docker engine as another machine has it: it sees nothing of the launcher's files, and is reached over a network.

Its namespaces hide the folders of the tests, and the only ways to it are a relay on loopback, which counts bytes and
can be cut, TLS behind such a relay, and a real sshd.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker_engine
from docker_engine import Engine, until

# Inside the engine's network namespace: what comes through a unix socket goes on to a port there.
INSIDE = """
import os, socket, sys, threading

path, port = sys.argv[1], int(sys.argv[2])
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(64)

def copy(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    for s, how in ((b, socket.SHUT_WR), (a, socket.SHUT_RD)):
        try:
            s.shutdown(how)
        except OSError:
            pass

while True:
    one, _ = listener.accept()
    try:
        other = socket.create_connection(("127.0.0.1", port))
    except OSError:  # the engine is away
        one.close()
        continue
    for pair in ((one, other), (other, one)):
        threading.Thread(target=copy, args=pair, daemon=True).start()
"""


class Relay:
    """Listens on a port of loopback, passes on to a unix socket, and counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sent = 0
        """Bytes that went to the engine."""
        self.received = 0
        """Bytes that came from it."""
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._connecting = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._start(self._accept)

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._connecting:
                engine = socket.socket(socket.AF_UNIX)
                if engine.connect_ex(str(self.path)):
                    client.close()
                    engine.close()
                    continue
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._pairs.append((client, engine))
            self._start(self._copy, client, engine, "sent")
            self._start(self._copy, engine, client, "received")

    def _copy(self, source: socket.socket, sink: socket.socket, count: str) -> None:
        try:
            while data := source.recv(1 << 16):
                setattr(self, count, getattr(self, count) + len(data))
                sink.sendall(data)
        except OSError:
            pass
        for s, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            with suppress(OSError):
                s.shutdown(how)

    def cut(self) -> None:
        """Break all connections at once."""
        with self._connecting:
            for pair in self._pairs:
                for s in pair:
                    with suppress(OSError):
                        s.shutdown(socket.SHUT_RDWR)
                    s.close()
            self._pairs.clear()

    def away(self) -> None:
        """Break all connections, and let there be no new ones until :attr:`path` leads somewhere again."""
        self.path = Path("/nowhere")
        self.cut()

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)


@contextmanager
def relay(path: Path) -> Iterator[Relay]:
    """Give a relay to a unix socket."""
    made = Relay(path)
    try:
        yield made
    finally:
        made.close()


def make_keys(folder: Path, name: str) -> None:
    """Make a certificate authority, and keys for an engine of a name and for a client."""
    folder.mkdir()

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new, "-keyout", "ca-key.pem", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority")
    for who, use, more in (("server", "serverAuth", f"\nsubjectAltName=DNS:{name}"), ("client", "clientAuth", "")):
        prefix = "" if who == "client" else "server-"
        (folder / "extensions").write_text(f"extendedKeyUsage={use}{more}\n")
        openssl("req", *new, "-keyout", f"{prefix}key.pem", "-out", "request.pem", "-subj", f"/CN={who}")
        signed = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2", "-extfile", "extensions")
        openssl("x509", "-req", "-in", "request.pem", "-out", f"{prefix}cert.pem", *signed)


TLS_PORT = 2376


def flags_of_tls(keys: Path) -> tuple[str, ...]:
    """Return the daemon's options with which it also listens for TLS, in its own network namespace."""
    return (
        *("--host", f"tcp://127.0.0.1:{TLS_PORT}", "--tlsverify", "--tlscacert", f"{keys}/ca.pem"),
        *("--tlscert", f"{keys}/server-cert.pem", "--tlskey", f"{keys}/server-key.pem"),
    )


def open_tls(engine: Engine) -> Path:
    """Let an engine's TLS port be reached from outside its namespace; return the socket that leads there."""
    program, path = engine.folder / "inside.py", engine.folder / "tls.sock"
    program.write_text(INSIDE)
    engine._tell("start", "inside", docker_engine.sys.executable, str(program), str(path), str(TLS_PORT))
    until(lambda: docker_engine._answers(path), "the way into the engine's namespace")
    return path


def shared_folder(engine: Engine, tmp_path: Path) -> str:
    """Make ``tmp_path/shared`` a folder that the engine has; return the volume that mounts it under the same path."""
    own = engine.folder / "shared" / tmp_path.name
    own.mkdir(parents=True)
    own.chmod(0o777)
    os.symlink(own, tmp_path / "shared")
    return f"{own}:{tmp_path}/shared"
