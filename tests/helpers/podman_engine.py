"""A private Podman service on this machine: its socket speaks the API of a Docker engine.

It is started as ``docker_engine`` starts ``dockerd``: in one folder, and in namespaces of its own. Podman keeps images,
networks, locks and what runs in places of the machine; in the namespace of mounts, others are in their place.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from docker_engine import FIRST, Engine, _tool, until

CONFIGURATION = """
[containers]
log_driver = "k8s-file"
[network]
network_backend = "netavark"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
HIDE = """
mkdir -p /var/lib/containers /etc/containers/networks && mkdir "$0/data" &&
mount --bind "$0/data" /var/lib/containers && mount -t tmpfs tmpfs /etc/containers/networks &&
mount -t tmpfs tmpfs /dev/shm && mount -t tmpfs tmpfs /run && mkdir /run/netns /run/containerd && exec "$@"
"""
"""Puts something of our own where Podman keeps images, networks, locks and what runs."""


def missing() -> str:
    """Say in words what Podman lacks here, if anything."""
    if os.geteuid() != 0:
        return "only root can start a Podman service in namespaces of its own"
    for tool in ("podman", "conmon", "runc", "unshare", "iptables", "ip", "/usr/lib/podman/netavark"):
        if not _tool(tool):
            return f"there is no {tool} (Debian: apt-get install the packages in .ci/packages.d/podman.txt)"
    return ""


@dataclass
class Podman(Engine):
    """A service that runs. Its containers go on when it ends, as Podman has no engine that holds them."""

    daemon: ClassVar[str] = "podman"

    @property
    def socket(self) -> Path:
        """Where clients reach it."""
        return self.folder / "podman.sock"

    def up(self) -> None:
        """Start everything, and wait until it answers."""
        f = self.folder
        (f / "containers.conf").write_text(CONFIGURATION)
        hidden = ("sh", "-c", HIDE, str(f), sys.executable, "-ISc", FIRST, str(f))
        self._enter(*hidden, CONTAINERS_CONF=f"{f}/containers.conf")
        self.start()

    def start(self) -> None:
        """Start the service, and wait until it answers."""
        self.socket.unlink(missing_ok=True)
        self._tell("start", "podman", "podman", "system", "service", "--time=0", f"unix://{self.socket}")
        self._until_answers(self.socket, "podman")
        until(self._ready, "the service is ready")
