"""Backends that cannot be asked: how long to leave them alone, and what to tell the user meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from runyard.errors import BackendError
from runyard.states import NEEDS_LOGIN

LONGEST = 30.0
"""Seconds between attempts to ask, at most; twice as many where the login was refused: more may lock the account."""


class Trouble:
    """What stands between us and each backend.

    Args:
        note: Called with each new kind of trouble, for the experiment's notes.
    """

    def __init__(self, note: Callable[[str], object]) -> None:
        self._note = note
        self._seen: dict[str, tuple[int, str]] = {}

    def pause(self, key: str, error: BackendError, interval: float = 1.0) -> float:
        """Return how many seconds to wait before a backend is asked again: longer each time.

        Args:
            key: Which backend.
            error: What it said.
            interval: The usual wait.
        """
        count, said = self._seen.get(key, (0, ""))
        if str(error) != said:
            self._note(f"{key}: {error}")
        self._seen[key] = (count + 1, str(error))
        longest = LONGEST if error.retryable else 2 * LONGEST
        return min(longest, max(interval, 1.0) * 2 ** min(count, 10)) if count else interval

    def over(self, key: str) -> None:
        """Forget the trouble with a backend that answered."""
        self._seen.pop(key, None)


def reason(error: BackendError, before: str = "") -> str:
    """Return what the status of a job says while its backend cannot be asked.

    Example:
        >>> from runyard.errors import Unavailable
        >>> reason(Unavailable("login1 cannot be reached", hint="check the network"), "not seen since: ")
        'not seen since: login1 cannot be reached: check the network'
    """
    if not error.retryable:
        return f"{NEEDS_LOGIN}: {error.message.partition(chr(10))[0]}; the next command in a terminal goes on"
    return f"{before}{error.message}{f': {error.hint}' if error.hint else ''}"
