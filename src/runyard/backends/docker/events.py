"""An engine's stream of events, as something to wait on: what happened is asked of the engine itself."""

from __future__ import annotations

import json
import socket
import weakref
from contextlib import suppress
from urllib.parse import quote

from runyard.backends.docker.plan import JOB_LABEL


class Events:
    """Becomes readable when one of our containers ends, or the engine has gone.

    Args:
        path: The engine's unix socket.

    Source: ``GET /events`` in the reference of the Docker Engine API.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def fileno(self) -> int:
        """Return the descriptor to wait on, or -1 when the engine cannot be asked."""
        if self._socket is None:
            self._connect()
        return self._socket.fileno() if self._socket else -1

    def drain(self) -> None:
        """Read what has come; when the engine has gone, the next :meth:`fileno` connects anew."""
        if self._socket is None:
            return
        with suppress(BlockingIOError):
            try:
                while self._socket.recv(1 << 16):
                    pass
            except BlockingIOError:
                raise
            except OSError:
                pass
            self._socket.close()
            self._socket = None

    def _connect(self) -> None:
        filters = {"type": ["container"], "event": ["die"], "label": [JOB_LABEL]}
        request = f"GET /events?filters={quote(json.dumps(filters))} HTTP/1.1\r\nHost: docker\r\n\r\n"
        new = socket.socket(socket.AF_UNIX)
        new.settimeout(1.0)
        try:
            new.connect(self._path)
            new.sendall(request.encode())
            new.setblocking(False)
        except OSError:
            new.close()
            return
        weakref.finalize(self, new.close)
        self._socket = new
