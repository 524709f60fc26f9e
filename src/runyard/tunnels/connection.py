"""Opening the one session on a machine behind ssh: on the user's own connection, on ours, or on one more."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from runyard.errors import TunnelError
from runyard.tunnels import protocol
from runyard.tunnels.destination import Destination, Facts, run_ssh
from runyard.tunnels.failures import Unreachable, tail
from runyard.tunnels.master import Master, control_dir
from runyard.tunnels.session import Lost, PreCommandFailed, Session

GREETING_LIMIT = 60.0
"""Seconds for the login shell to get through its startup files."""
REOPEN = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between attempts while a server still counts a session that we closed."""


class _NoMaster(Exception):
    """The connection is not there any more."""


class _Refused(Exception):
    """The server allows no further session on this connection."""


class Connection:
    """Where the sessions of one process on one machine run.

    Args:
        to: The machine.
        shell: See :func:`protocol.opening`.
        pre_command: See :func:`protocol.opening`.
    """

    def __init__(self, to: Destination, shell: str = "", pre_command: str = "") -> None:
        self._to = to
        self._shell = shell
        self._pre_command = pre_command
        self._facts: Facts | None = None
        self._master: Master | None = None
        self._private = False
        self._had_session = False

    def open_session(self) -> Session:
        """Return a session that answers; logs in where no connection is open.

        Raises:
            TunnelError: when there can be none.
        """
        facts = self._facts = self._facts or self._to.facts()
        if session := self._on_users_own(facts):
            return session
        if self._master is None:
            self._master = Master(self._to, facts, control_dir() / facts.key)
        try:
            session = self._on_master(self._master)
        except _Refused:
            # MaxSessions is reached, with another process of ours on the same connection: one more login.
            self._master.let_go()
            self._master = Master(self._to, facts, control_dir() / f"{facts.key}.{os.getpid()}", private=True)
            self._private = True
            try:
                session = self._on_master(self._master)
            except _Refused:
                raise TunnelError(
                    f"{self._to.name}: the server allows no session on a connection",
                    hint="ask its administrator about MaxSessions",
                ) from None
        self._had_session = True
        return session

    def release(self, ending: bool) -> None:
        """Close the connection, unless another process uses it.

        Args:
            ending: The process ends: keep a connection that the next one can use.
        """
        if self._master is not None and (self._private or not ending):
            self._master.let_go()
            self._master = None
            self._private = False

    def is_stale(self, session: Session) -> bool:
        """A session on another machine never gets stale."""
        del session
        return False

    def forget(self) -> None:
        """Leave the connection to the parent process."""
        if self._master is not None:
            self._master.forget()
            self._master = None
            self._private = False

    def _on_users_own(self, facts: Facts) -> Session | None:
        """Use the connection that the user's own configuration keeps, if it is open and has room."""
        if not facts.control_path or not os.path.exists(facts.control_path):
            return None
        with suppress(_NoMaster, _Refused):
            return self._session(["-S", facts.control_path])
        return None

    def _on_master(self, master: Master) -> Session:
        master.hold()
        fresh = False
        waits = list(REOPEN if self._had_session else ())
        for _ in range(3):
            if not master.path.exists():
                master.start()
                fresh = True
            while True:
                try:
                    return self._session(["-S", str(master.path)])
                except _Refused:
                    if not waits:
                        raise
                    time.sleep(waits.pop(0))
                except _NoMaster:
                    master.start()
                    fresh = True
                    break
                except Unreachable:
                    # It let us in and says nothing: a connection that has died without anybody noticing?
                    if fresh:
                        raise
                    master.exit()
                    break
        raise Unreachable(f"{self._to.name}: the connection is lost again and again", hint=f"by hand: {self._to.typed}")

    def _session(self, control: list[str]) -> Session:
        words = [
            *("ssh", *self._to.words, *control, "-T", "-x", "-e", "none"),
            *("-o", "ControlMaster=no", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "RemoteCommand=none"),
            # Without the connection, or when it has no room, ssh would silently log in once more. This fails instead.
            *("-o", "ProxyCommand=false"),
            *("--", self._to.host, protocol.REMOTE_COMMAND),
        ]
        session = Session(words, shell=self._shell, pre_command=self._pre_command)
        try:
            session.greet(GREETING_LIMIT)
        except PreCommandFailed as failed:
            raise TunnelError(
                f"{self._to.name}: pre_command ended with exit code {failed.code}\n{tail(failed.said)}",
                hint="correct it; end it with `; true` when that code means nothing",
            ) from None
        except Lost as lost:
            low = lost.text.lower()
            if "session request failed" in low or "session open refused" in low:
                raise _Refused from None
            if lost.expired:
                raise Unreachable(
                    f"{self._to.name}: the login shell did not answer within {GREETING_LIMIT:g} s\n{tail(lost.text)}",
                    hint=f"do its startup files wait for input? try: {self._to.typed} true",
                ) from None
            said = tail(lost.text) or tail(lost.noise)
            if "kex_exchange_identification" in low or "connection closed" in low:
                raise _NoMaster from None
            if not said and run_ssh([*words[1 : words.index("-T")], "-O", "check", "--", self._to.host]).returncode:
                raise _NoMaster from None
            raise TunnelError(
                f"{self._to.name}: the login shell ended before it answered\n{said or 'it said nothing'}",
                hint=f"this must print hello: {self._to.typed} 'exec sh -c \"echo hello\"'",
            ) from None
        return session
