"""Real sshd processes on loopback, a proxy that makes trouble, and the processes behind them, ended by their ids."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import processes
from runyard.tunnels import shells
from runyard.tunnels.destination import run_ssh
from runyard.tunnels.ssh import SSHTunnel

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin") or ""


def missing() -> str:
    """Say in words what these tests lack here, if anything."""
    if os.geteuid():
        return "starting a login node for another user needs root"
    for tool in ("ssh", "ssh-keygen", "ssh-keyscan", "useradd"):
        if not shutil.which(tool):
            return f"there is no {tool} (Debian: apt-get install openssh-client openssh-server)"
    return "" if SSHD else "there is no sshd (Debian: apt-get install openssh-server)"


def descendants(pid: int) -> list[int]:
    """Return the processes below one, nearest first."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            fields = path.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found: list[int] = []
    todo = [pid]
    while todo:
        below = children.get(todo.pop(0), [])
        found += below
        todo += below
    return found


def end(find: Callable[[], list[int]]) -> None:
    """Kill processes, those too that they start meanwhile, and wait until they are gone."""

    def gone() -> bool:
        pids = [pid for pid in find() if running(pid)]
        for pid in pids:
            processes.kill(pid)
        return not pids

    processes.until(gone, "processes end")


def running(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def parent_of(pid: int) -> int:
    """Return the parent of a process, or 0 when the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def command_of(pid: int) -> str:
    """Return the command of a process, or nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def end_connections(folder: Path) -> list[Path]:
    """End the connections whose sockets lie in a folder, remove it, and return the sockets of those that were open."""
    for shell in list(shells._shells.values()):
        shell.close()
    shells._shells.clear()
    sockets = [p for p in folder.rglob("*") if p.is_socket() and "." not in p.name]  # others are of forwarded ports
    # That of a connection that ends, because the server is gone, is still there for a moment, and does not answer.
    left = [p for p in sockets if not _ask(p, "check")]
    for path in left:
        _ask(path, "exit")
    processes.remove(folder)  # ssh removes its socket after it has answered
    return left


def _ask(path: Path, what: str) -> int:
    return run_ssh(["-F", "/dev/null", "-S", str(path), "-O", what, "--", "x"]).returncode


class User:
    """An account made for these tests, and removed after them."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.home = folder / "home"
        self.key = folder / "id"
        subprocess.run(["useradd", "-m", "-d", str(self.home), "-s", "/bin/bash", name], check=True)
        subprocess.run(["usermod", "-p", "*", name], check=True)  # '!' (locked) refuses even keys when UsePAM is off
        self.uid = pwd.getpwnam(name).pw_uid
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        self.authorize()
        self._usual = {p.name for p in self.home.iterdir()}

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Write a file in the home folder."""
        file = self.home / path
        file.parent.mkdir(mode=0o700, exist_ok=True, parents=True)
        file.write_text(text)
        file.chmod(mode)
        for p in (file, file.parent):
            os.chown(p, self.uid, self.uid)
        return file

    def authorize(self) -> None:
        """Let the usual key in."""
        self.write(".ssh/authorized_keys", self.key.with_name("id.pub").read_text(), mode=0o600)

    def processes(self) -> list[int]:
        """Return what runs under this account."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if path.stat().st_uid == self.uid and running(int(path.name)):
                    found.append(int(path.name))
        return found

    def reset(self) -> None:
        """Undo what a test changed."""
        end(self.processes)
        subprocess.run(["usermod", "-s", "/bin/bash", "-p", "*", self.name], check=True)
        self.authorize()
        for path in self.home.iterdir():
            if path.name not in self._usual:
                processes.remove(path) if path.is_dir() else path.unlink(missing_ok=True)
        for name in (".bashrc", ".profile", ".bash_profile"):
            (self.home / name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the account."""
        end(self.processes)
        subprocess.run(["userdel", self.name], check=True)


class Server:
    """One sshd: a login node that knows one user."""

    def __init__(self, user: User, folder: Path, *lines: str) -> None:
        self.user = user
        self.folder = folder
        folder.mkdir()
        (self.port,) = processes.free_ports(1)
        self.host_key = folder / "hostkey"
        self.log = folder / "log"
        self.known_hosts = folder / "known_hosts"
        self._configs = itertools.count()  # several threads may ask for one
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.host_key)], check=True)
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        settings = [
            *lines,
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.host_key}",
            f"PidFile {folder}/pid",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin no",
            f"AllowUsers {user.name}",
            "LogLevel VERBOSE",
        ]
        (folder / "sshd_config").write_text("\n".join(settings) + "\n")
        self.start()
        self.know(self.port)

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.process = subprocess.Popen(
            [SSHD, "-D", "-f", str(self.folder / "sshd_config"), "-E", str(self.log)], stdin=subprocess.DEVNULL
        )

        def listens() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", self.port)) == 0

        processes.until(listens, "sshd listens")

    def stop(self) -> None:
        """End it with every connection it serves."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)  # no further connection comes while these are ended
            end(lambda: descendants(self.process.pid))
            processes.end(self.process)

    def know(self, port: int) -> None:
        """Write ``known_hosts`` for this server, reached through a port."""
        kind, key, *_ = (self.folder / "hostkey.pub").read_text().split()
        self.known_hosts.write_text(f"[127.0.0.1]:{port} {kind} {key}\n")

    def config(self, *lines: str, port: int = 0) -> Path:
        """Write an ssh configuration with ``Host login`` that leads here; ``lines`` come first and win."""
        path = self.folder / f"ssh_config{next(self._configs)}"
        settings = [
            *lines,
            "HostName 127.0.0.1",
            f"Port {port or self.port}",
            f"User {self.user.name}",
            f"IdentityFile {self.user.key}",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {self.known_hosts}",
            "GlobalKnownHostsFile /dev/null",
        ]
        path.write_text("Host login\n" + "".join(f"  {line}\n" for line in settings))
        return path

    def tunnel(self, *lines: str, port: int = 0, **options: Any) -> SSHTunnel:
        """Return a tunnel to it."""
        return SSHTunnel("login", config=str(self.config(*lines, port=port)), **options)

    def count(self, words: str) -> int:
        """Count the lines of its log that hold some words."""
        return sum(words in line for line in self.log.read_text().splitlines())

    @property
    def logins(self) -> int:
        """How often somebody logged in."""
        return self.count("Accepted publickey for") + self.count("Accepted password for")

    @property
    def sessions(self) -> int:
        """How many sessions were started on all connections."""
        return self.count("Starting session:")

    def connections(self) -> list[int]:
        """Return the sshd processes that serve a connection."""
        return [p for p in descendants(self.process.pid) if "sshd" in command_of(p)]


class Proxy:
    """Stands between client and server, and misbehaves when told to."""

    def __init__(self, port: int) -> None:
        self.to = port
        self.delay = 0.0
        self.cut_after = -1
        """Cut the next connection once this many bytes went to the server; or came from it, with ``back``."""
        self.back = False
        self.connections = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
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
            try:
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                client.close()
                continue
            self.connections += 1
            self._pairs.append((client, server))
            limit, self.cut_after = self.cut_after, -1
            self._start(self._copy, client, server, -1 if self.back else limit)
            self._start(self._copy, server, client, limit if self.back else -1)

    def _copy(self, source: socket.socket, sink: socket.socket, limit: int) -> None:
        passed = 0
        while True:
            try:
                data = source.recv(1 << 16)
                if self.delay:
                    time.sleep(self.delay)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                passed += len(data)
                if 0 <= limit < passed:
                    self.cut()
                    return
                sink.sendall(data)
            except OSError:
                return

    def cut(self) -> None:
        """Break all connections, as a lost network does, at once."""
        while self._pairs:  # one at a time: another may come meanwhile
            for s in self._pairs.pop():
                with suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)
                s.close()

    def half_close(self) -> None:
        """Let the client see the end of what the server says, and say nothing to the server."""
        for client, _ in list(self._pairs):
            with suppress(OSError):
                client.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(10)  # nothing comes any more
        self.cut()
        for thread in self._threads:
            thread.join(10)
