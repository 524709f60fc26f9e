"""Which machine ssh is to reach, how that is said on its command line, and what the user's configuration adds."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runyard.errors import AuthError, ConfigError, TunnelError
from runyard.tunnels.failures import tail

_QUICK = 20.0
"""Seconds for ssh commands that contact nobody (a ``Match exec`` in the configuration may take its time)."""


@dataclass(frozen=True)
class Destination:
    """A machine as the user names it.

    Args:
        host: Host name, address, or ``Host`` of the ssh configuration.
        user: Login name; default: ssh's.
        port: Port; default: ssh's.
        identity: Private key file.
        config: ssh configuration file instead of the user's and the system's.
    """

    host: str
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    config: str | None = None

    def __post_init__(self) -> None:
        for field, text in (("host", self.host), ("user", self.user)):
            if text is None and field == "user":
                continue
            # A leading dash would be an option of ssh, such as -oProxyCommand.
            if not text or text.startswith("-") or any(c.isspace() or not c.isprintable() for c in text):
                raise ConfigError(f"SSHTunnel.{field}={text!r}", hint=f"give the {field} as you would give it to ssh")
        if self.port is not None and not (isinstance(self.port, int) and 0 < self.port < 65536):
            raise ConfigError(f"SSHTunnel.port={self.port!r}", hint="give a number from 1 to 65535")

    @property
    def name(self) -> str:
        """``user@host:port``, with what was given."""
        user = f"{self.user}@" if self.user else ""
        return f"{user}{self.host}{f':{self.port}' if self.port else ''}"

    @property
    def words(self) -> list[str]:
        """The options of ssh(1) that choose machine, login and configuration."""
        words = ["-F", str(Path(self.config).expanduser())] if self.config else []
        if self.user:
            words += ["-l", self.user]
        if self.port:
            words += ["-p", str(self.port)]
        if self.identity:
            # Percent signs are tokens there. IdentitiesOnly: an agent's other keys would use up the server's patience.
            path = str(Path(self.identity).expanduser().absolute()).replace("%", "%%")
            words += ["-o", f'IdentityFile="{path}"', "-o", "IdentitiesOnly=yes"]
        return words

    @property
    def typed(self) -> str:
        """The command with which a person logs in there."""
        words = ["ssh"]
        for option, value in (("-F", self.config), ("-i", self.identity), ("-p", self.port)):
            words += [option, str(value)] if value else []
        return shlex.join([*words, f"{self.user}@{self.host}" if self.user else self.host])

    def check_files(self) -> None:
        """Refuse files that are not there: ssh itself would go on without the key.

        Raises:
            AuthError: for the key.
            TunnelError: for the configuration.
        """
        if self.identity and not Path(self.identity).expanduser().is_file():
            raise AuthError(
                f"{self.name}: there is no private key {self.identity}", hint="correct `identity`, or leave it out"
            )
        if self.config and not Path(self.config).expanduser().is_file():
            raise TunnelError(f"{self.name}: there is no file {self.config}", hint="correct `config`")

    def facts(self) -> Facts:
        """Ask ssh what its configuration makes of this destination (``ssh -G``); contacts nobody.

        Raises:
            TunnelError: when the configuration has an error.
        """
        self.check_files()
        done = run_ssh([*self.words, "-G", "--", self.host])
        if done.returncode:
            raise TunnelError(
                f"{self.name}: ssh cannot read its configuration\n{tail(done.stderr, 4)}", hint="correct that file"
            )
        values: dict[str, str] = {}
        for line in done.stdout.splitlines():
            key, _, value = line.partition(" ")
            values.setdefault(key.lower(), value)
        digest = hashlib.sha256(f"{self.words}\n{self.host}\n{done.stdout}".encode("utf-8", "surrogateescape"))
        return Facts(values, digest.hexdigest()[:16])


@dataclass(frozen=True)
class Facts:
    """The configuration that holds for one destination, as ssh_config(5) names it in lower case.

    Args:
        values: Option → its first value.
        key: Short hash of all of it; connections are shared by those who have the same.
    """

    values: Mapping[str, str]
    key: str

    @property
    def scan(self) -> str:
        """The command that prints the host keys of this machine."""
        port = self.values.get("port", "22")
        words = ["ssh-keyscan", *(["-p", port] if port != "22" else []), self.values.get("hostname", "")]
        return shlex.join(words)

    @property
    def control_path(self) -> str:
        """The user's own ControlPath, with its tokens replaced; empty without one."""
        path = self.values.get("controlpath", "none")
        return "" if path == "none" else path

    def policy(self) -> list[str]:
        """Return options for a login that nobody may be watching, where the user's configuration is silent."""
        words = []
        if self.values.get("stricthostkeychecking", "ask") == "ask":
            words += ["-o", "StrictHostKeyChecking=yes"]
        if self.values.get("connecttimeout", "none") in ("none", "0"):
            words += ["-o", "ConnectTimeout=15"]
        if self.values.get("serveraliveinterval", "0") == "0":
            words += ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"]
        return words


def run_ssh(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run an ssh command that ends by itself.

    Raises:
        TunnelError: when there is no ssh, or it hangs.
    """
    try:
        return subprocess.run(
            ["ssh", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_QUICK,
            check=False,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise no_client() from None
    except subprocess.TimeoutExpired:
        raise TunnelError(
            f"`ssh {shlex.join(words)}` did not end within {_QUICK:g} s",
            hint="is there a slow `Match exec` in its configuration?",
        ) from None


def no_client() -> TunnelError:
    """Return the error for a machine without OpenSSH."""
    return TunnelError(
        "there is no `ssh` program on this machine",
        hint="install OpenSSH's client (Debian, Ubuntu: apt-get install openssh-client)",
    )


def is_attended() -> bool:
    """Say whether a person at a terminal could answer ssh: it asks on ``/dev/tty``, in the foreground only."""
    try:
        return os.isatty(0) and os.isatty(2) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
