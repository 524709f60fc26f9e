"""What goes wrong on the way to a machine, and what ssh's words mean."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runyard.errors import AuthError, HostKeyError, TunnelError

if TYPE_CHECKING:
    from runyard.tunnels.base import Result

TAIL = 12
"""Lines of a program's stderr that an error shows."""


class CommandFailed(TunnelError):
    """A command on the target ended with an exit code other than 0.

    Args:
        result: What it printed.
    """

    def __init__(self, message: str, result: Result, *, hint: str = "") -> None:
        self.result = result
        super().__init__(message, hint=hint)


class Interrupted(TunnelError):
    """A script was sent, and its end is not known: the connection was lost, or the time was up.

    Args:
        ambiguous: True when the script may have run, wholly or in part. Ask what it did before it is sent again.
    """

    def __init__(self, message: str, *, hint: str = "", ambiguous: bool = True) -> None:
        self.ambiguous = ambiguous
        super().__init__(message, hint=hint)


class TimedOut(Interrupted):
    """A script did not end in the time it was given."""


class Unreachable(TunnelError):
    """No connection came about, so nothing was sent.

    Args:
        busy: The machine answered and turned the connection down, as a full login node does: worth another try.
    """

    def __init__(self, message: str, *, hint: str = "", busy: bool = False) -> None:
        self.busy = busy
        super().__init__(message, hint=hint)


def tail(text: str, lines: int = TAIL) -> str:
    """Return the last lines of a text that say something."""
    return "\n".join([line.rstrip() for line in text.splitlines() if line.strip()][-lines:])


_NETWORK = {
    "could not resolve hostname": "check the spelling of the host, your network or VPN, and ~/.ssh/config",
    "connection refused": "nothing listens there: check host and port, and that the machine is up",
    "connection timed out": "the machine does not answer: check host and port, your network or VPN",
    "operation timed out": "the machine does not answer: check host and port, your network or VPN",
    "no route to host": "check your network or VPN",
    "network is unreachable": "check your network or VPN",
    "unable to negotiate": "client and server share no method; your administrator or ~/.ssh/config can allow one",
    "bad configuration option": "correct your ssh configuration",
    "terminating, ": "correct your ssh configuration",
}
_BUSY = ("kex_exchange_identification", "connection reset by", "connection closed by", "exceeded maxstartups")


def explain(said: str, *, name: str, typed: str, scan: str, interactive: bool = False) -> TunnelError:
    """Return the error for a login that failed, from what ssh printed.

    The phrases are those of OpenSSH 7.6 to 10 (``sshconnect.c``, ``sshconnect2.c``); others are shown as they are.

    Args:
        said: ssh's stderr.
        name: The machine, for messages.
        typed: The command with which a person logs in there.
        scan: The command that fetches its host keys.
        interactive: ssh was able to ask the user.
    """
    low = said.lower()
    shown = tail(said, 4)
    if "remote host identification has changed" in low or ("host key for" in low and "has changed" in low):
        known = re.search(r"Offending \S+ key in (\S+)", said)
        place = f" (line {known[1]})" if known else ""
        return HostKeyError(
            f"{name}: its host key has changed{place}; this is not the machine you knew, or it was reinstalled",
            hint="ask its administrator; when the change is right, remove the old key with `ssh-keygen -R` "
            f"and connect once by hand: {typed}",
        )
    if "host key verification failed" in low or "host key is known for" in low or "host key is revoked" in low:
        return HostKeyError(
            f"{name}: its host key is not known here\n{shown}",
            hint=f"connect once by hand and compare the fingerprint: {typed}\n"
            f"     or, after comparing it, add what this prints to ~/.ssh/known_hosts: {scan}",
        )
    if "unprotected private key" in low or "bad permissions" in low:
        return AuthError(f"{name}: the private key can be read by others, so ssh ignores it\n{shown}", hint="chmod 600")
    if "permission denied" in low or "too many authentication failures" in low or "no supported auth" in low:
        ask = (
            "check user and key"
            if interactive
            else "check user and key; a key with a passphrase must be in your agent (ssh-add), and where the server "
            "asks for a password or a code, run this in a terminal"
        )
        return AuthError(f"{name}: refused the login\n{shown}", hint=f"{ask}; by hand: {typed}")
    for phrase, hint in _NETWORK.items():
        if phrase in low:
            return Unreachable(f"{name}: cannot be reached\n{shown}", hint=f"{hint}; by hand: {typed}")
    busy = any(phrase in low for phrase in _BUSY)
    what = "closed the connection before the login" if busy else "cannot be reached"
    return Unreachable(f"{name}: {what}\n{shown}", hint=f"try by hand: {typed}", busy=busy)
