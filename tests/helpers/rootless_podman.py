"""A Podman service of an ordinary user, who is made for it and removed afterwards.

It runs in a namespace of processes, so that neither containers nor Podman's helper outlive it. Images are kept as plain
folders (vfs), which works on every file system.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from docker_engine import PATH, _answers, _tool, removed, until

CONFIGURATION = """
[containers]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""


def missing() -> str:
    """Say in words what is lacking here, if anything."""
    if os.geteuid() != 0:
        return "only root can make a user"
    for tool in ("podman", "conmon", "runc", "unshare", "runuser", "setpriv", "useradd", "newuidmap"):
        if not _tool(tool):
            return f"there is no {tool} (Debian: apt-get install the packages in .ci/packages.d/podman.txt)"
    return ""


@dataclass(frozen=True)
class Rootless:
    """A service that runs, and its user."""

    user: pwd.struct_passwd
    folder: Path

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return f"unix://{self.folder}/run/podman.sock"

    def python(self, text: str) -> str:
        """Run a program as the user, with the Python of the tests; return what it wrote.

        That Python may lie in a folder of root's: besides its own rights it may read everything.
        """
        reads = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
        who = [f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}", "--clear-groups"]
        done = subprocess.run(
            ["setpriv", *who, *reads, sys.executable, "-c", text],
            cwd=self.folder / "work",
            env={
                "PATH": PATH,
                "HOME": str(self.folder),
                "RUNYARD_HOME": f"{self.folder}/records",
                "DOCKER_HOST": self.address,
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@contextmanager
def running() -> Iterator[Rootless]:
    """Make a user and start the service; leave neither behind."""
    name = f"ryu{os.getpid()}"
    folder = Path(tempfile.mkdtemp(prefix="ryr-"))
    subprocess.run(["useradd", "--no-create-home", "--home-dir", folder, name], check=True)
    try:
        user = pwd.getpwnam(name)
        for path in (folder, folder / "run", folder / "work"):
            path.mkdir(mode=0o700, exist_ok=True)
            os.chown(path, user.pw_uid, user.pw_gid)
        engine = Rootless(user, folder)
        (folder / "containers.conf").write_text(CONFIGURATION)
        log = folder / "log"
        environment = [f"HOME={folder}", f"XDG_RUNTIME_DIR={folder}/run", f"CONTAINERS_CONF={folder}/containers.conf"]
        with log.open("wb") as output:
            service = subprocess.Popen(
                [
                    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                    *("runuser", "-u", name, "--", "env", *environment),
                    *("podman", "--storage-driver=vfs", "system", "service", "--time=0", engine.address),
                ],
                cwd=folder,
                env={"PATH": PATH},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            until(lambda: _answers(folder / "run" / "podman.sock"), f"the service ({log.read_text()})")
            yield engine
        finally:
            service.kill()
            service.wait(60)
    finally:
        # Processes of the user's may still be ending, and mounts of its containers be taken down.
        remove = ["userdel", name]
        until(lambda: not subprocess.run(remove, check=False, capture_output=True).returncode, f"the end of {name}")
        until(lambda: removed(folder), f"the removal of {folder}")
