"""Tunnels: how to reach the machine that submits. Names load when they are first used; nothing here connects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runyard.lazynames import lazy_names

if TYPE_CHECKING:
    from runyard.tunnels.base import Answer as Answer
    from runyard.tunnels.base import RawAnswer as RawAnswer
    from runyard.tunnels.base import Result as Result
    from runyard.tunnels.base import Shell as Shell
    from runyard.tunnels.base import Tunnel as Tunnel
    from runyard.tunnels.failures import CommandFailed as CommandFailed
    from runyard.tunnels.failures import Interrupted as Interrupted
    from runyard.tunnels.failures import TimedOut as TimedOut
    from runyard.tunnels.local import LocalTunnel as LocalTunnel
    from runyard.tunnels.ssh import SSHTunnel as SSHTunnel

_WHERE = {
    "Answer": "base",
    "CommandFailed": "failures",
    "Interrupted": "failures",
    "LocalTunnel": "local",
    "RawAnswer": "base",
    "Result": "base",
    "SSHTunnel": "ssh",
    "Shell": "base",
    "TimedOut": "failures",
    "Tunnel": "base",
}

__getattr__, __dir__ = lazy_names(__name__, _WHERE)
