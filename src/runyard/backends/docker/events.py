"""An engine's stream of events, as something to wait on: what happened is asked of the engine itself."""

from __future__ import annotations

import json
import socket
import ssl
import weakref
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

from runyard.backends.docker.plan import JOB_LABEL


class Events:
    """Becomes readable when one of our containers ends, or the engine has gone.

    Args:
        connect: Gives a connection to the engine.

    Source: ``GET /events`` in the reference of the Docker Engine API.
    """

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect_to = connect
        self._socket: socket.socket | None = None
        self._close: Callable[[], object] = lambda: None

    def fileno(self) -> int:
        """Return the descriptor to wait on, or -1 when the engine cannot be asked."""
        if self._socket is None:
            self._connect()
        return self._socket.fileno() if self._socket else -1

    def drain(self) -> None:
        """Read what has come; when the engine has gone, the next :meth:`fileno` connects anew."""
        if self._socket is None:
            return
        with suppress(BlockingIOError, ssl.SSLWantReadError):
            try:
                while self._socket.recv(1 << 16):
                    pass
            except (BlockingIOError, ssl.SSLWantReadError):
                raise
            except OSError:
                pass
            self._close()
            self._socket = None

    def _connect(self) -> None:
        filters = {"type": ["container"], "event": ["die"], "label": [JOB_LABEL]}
        request = f"GET /events?filters={quote(json.dumps(filters))} HTTP/1.1\r\nHost: docker\r\n\r\n"
        try:
            new = self._connect_to()
        except OSError:
            return
        try:
            new.settimeout(1.0)
            new.sendall(request.encode())
            new.setblocking(False)
        except OSError:
            new.close()
            return
        self._close = weakref.finalize(self, new.close)
        self._socket = new
