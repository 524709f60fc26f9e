"""A private Docker engine on this machine, for tests against the real thing.

Everything lies in one folder, and clients find it by ``DOCKER_HOST``. The daemons live in namespaces of their own: of
processes, so that nothing outlives the first of them; of mounts and networks, so that neither file systems nor bridges
nor firewall rules of theirs are seen outside. Only the unix socket is. Several engines can run at the same time, next
to one that the machine itself may have.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
IMAGE = "runyard-test:latest"
TOOLS = """
bash sh env ls cat cp mv rm mkdir mkfifo rmdir touch ln stat sleep seq sha256sum wc id date head tail tr sort uname
chmod chown chgrp df nproc printf test true false timeout dd sed grep awk ps hostname getent git
find xargs readlink du
"""


# The first process of the namespaces. It starts and stops daemons as its standard input tells, collects orphans, and
# ends with its input: with it, the kernel ends everything in the namespace.
FIRST = """
import os, select, shutil, signal, subprocess, sys, time

folder = sys.argv[1]
for command in (["mount", "-t", "tmpfs", "tmpfs", "/run/containerd"], ["ip", "link", "set", "lo", "up"]):
    subprocess.run(command, check=command[0] == "mount", stderr=subprocess.DEVNULL)
for hidden in sys.argv[2:]:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", hidden], check=True)
daemons = {}

def start(name, *argv):
    log = os.open(f"{folder}/log/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    files = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), *((os.POSIX_SPAWN_DUP2, log, n) for n in (1, 2))]
    daemons[name] = os.posix_spawnp(argv[0], argv, os.environ, file_actions=files, setsigdef=[signal.SIGPIPE])
    os.close(log)

def reap():
    try:
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            for name in [n for n, p in daemons.items() if p == pid]:
                del daemons[name]
    except ChildProcessError:
        pass

text = b""
while True:
    ready = select.select([0], [], [], 0.02)[0]
    reap()
    if not ready:
        continue
    data = os.read(0, 4096)
    if not data:
        break
    text += data
    while b"\\n" in text:
        line, _, text = text.partition(b"\\n")
        verb, name, *argv = line.decode().split("\\t")
        if verb == "start":
            start(name, *argv)
        elif name in daemons:
            os.kill(daemons[name], getattr(signal, verb))
            while verb in ("SIGTERM", "SIGKILL") and name in daemons:
                time.sleep(0.01)
                reap()
        sys.stdout.write("done\\n")
        sys.stdout.flush()

# The tests may have been killed: leave nothing behind, whoever is still there.
os.kill(-1, signal.SIGKILL)
with open("/proc/mounts") as mounts:
    below = [line.split()[1] for line in mounts if line.split()[1].startswith(f"{folder}/")]
for mount in reversed(below):
    subprocess.run(["umount", "-l", mount], stderr=subprocess.DEVNULL)
shutil.rmtree(folder, ignore_errors=True)
"""


def missing() -> str:
    """Say in words what an engine lacks here, if anything."""
    if os.geteuid() != 0:
        return "only root can start a Docker engine of its own"
    for tool in ("dockerd", "docker", "containerd", "runc", "unshare", "iptables", "ip"):
        if not _tool(tool):
            return f"there is no {tool} (Debian: apt-get install the packages in .ci/packages.d/docker.txt)"
    return ""


def _tool(name: str) -> str:
    return shutil.which(name, path=PATH) or ""


def until(holds: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until something holds, for a limited time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)


@dataclass
class Engine:
    """An engine that runs."""

    folder: Path
    live_restore: bool = True
    hidden: tuple[Path, ...] = ()
    """Folders of this machine that the engine, as one on another machine, does not see."""
    flags: tuple[str, ...] = ()
    """Further options of the daemon."""
    daemon: ClassVar[str] = "dockerd"
    """What answers, and is stopped, paused and killed."""
    _first: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def socket(self) -> Path:
        """Where clients reach it."""
        return self.folder / "docker.sock"

    @property
    def env(self) -> dict[str, str]:
        """What a client needs in its environment."""
        return {"DOCKER_HOST": f"unix://{self.socket}"}

    def client(self) -> Any:
        """Return a client of docker-py."""
        import docker

        return docker.DockerClient(base_url=f"unix://{self.socket}", timeout=60)

    def up(self) -> None:
        """Start everything, and wait until it answers."""
        f = self.folder
        Path("/run/containerd").mkdir(exist_ok=True)
        self._enter(sys.executable, "-ISc", FIRST, str(f), *map(str, self.hidden))
        (f / "containerd.toml").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        (f / "dockerd.json").write_text("{}")
        places = ["--root", f"{f}/containerd", "--state", f"{f}/state", "--address", f"{f}/containerd.sock"]
        self._tell("start", "containerd", "containerd", "--config", f"{f}/containerd.toml", *places)
        self._until_answers(f / "containerd.sock", "containerd")
        self.start()

    def _enter(self, *command: str, **env: str) -> None:
        """Start the first process of the namespaces."""
        (self.folder / "log").mkdir()
        self._first = subprocess.Popen(
            [_tool("unshare"), "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.folder,
            start_new_session=True,
            env={"PATH": PATH, "HOME": str(self.folder), **env},
        )

    def start(self) -> None:
        """Start the engine, and wait until it answers."""
        f = self.folder
        self.socket.unlink(missing_ok=True)  # that of one that was killed
        self._tell(
            *("start", "dockerd", "dockerd", "--host", f"unix://{self.socket}", "--containerd", f"{f}/containerd.sock"),
            *("--data-root", f"{f}/data", "--exec-root", f"{f}/exec", "--pidfile", f"{f}/dockerd.pid"),
            *("--config-file", f"{f}/dockerd.json", "--userland-proxy=false", "--shutdown-timeout", "3"),
            *(["--live-restore"] if self.live_restore else []),
            *self.flags,
        )
        self._until_answers(self.socket, "dockerd")
        until(self._ready, "the engine is ready")

    def stop(self) -> None:
        """End the engine in an orderly way; its containers go on if it was started so."""
        self._tell("SIGTERM", self.daemon)

    def kill(self) -> None:
        """Kill the engine as a crash would."""
        self._tell("SIGKILL", self.daemon)

    def down(self) -> None:
        """End everything that was started."""
        if self._first is not None:
            with self._first as first:
                assert first.stdin is not None
                first.stdin.close()
                try:
                    first.wait(60)
                finally:
                    first.kill()

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Have no engine during the block."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def log(self, name: str = "") -> str:
        """Return what a daemon has said; default: the engine."""
        path = self.folder / "log" / (name or self.daemon)
        return path.read_text(errors="replace") if path.exists() else ""

    def add_image(self, tag: str = IMAGE, files: Path | None = None) -> None:
        """Give the engine an image: of this machine's Python and tools, or of a tar file."""
        repository, _, version = tag.partition(":")
        with self.client_closing() as client, (files or host_tar(self.folder / "image.tar")).open("rb") as file:
            changes = ["ENV PATH=/usr/local/bin:/usr/bin:/bin"]
            client.api.import_image_from_file(file.name, repository=repository, tag=version, changes=changes)

    @contextmanager
    def client_closing(self) -> Iterator[Any]:
        """Return a client of docker-py that is closed at the end of the block."""
        client = self.client()
        try:
            yield client
        finally:
            client.close()

    def start_registry(self, port: int, auth: str = "") -> str:
        """Start a registry beside the engine, which keeps its images; return the first part of their names.

        Args:
            port: Where it listens, on the loopback device that only the engine sees.
            auth: A line in the form of htpasswd: only this user is let in.
        """
        f, name = self.folder, f"registry-{port}"
        (f / "htpasswd").write_text(auth + "\n")
        (f / f"{name}.yml").write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {f}/registry}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}'}}\n"
            + (f"auth: {{htpasswd: {{realm: here, path: {f}/htpasswd}}}}\n" if auth else "")
        )
        self._tell("start", name, "docker-registry", "serve", f"{f}/{name}.yml")
        until(lambda: "listening on" in self.log(name), "the registry listens")
        return f"127.0.0.1:{port}"

    def pause(self, name: str = "") -> None:
        """Stop the engine, or a registry, as it is: clients can connect, and wait for an answer that does not come."""
        self._tell("SIGSTOP", name or self.daemon)

    def resume(self, name: str = "") -> None:
        """Let it go on."""
        self._tell("SIGCONT", name or self.daemon)

    def reset(self) -> None:
        """Bring back what a test took down, and remove all containers and networks."""
        self.resume()
        if not _answers(self.socket):
            self.start()
        until(self._is_empty, "an engine without anything of a test's")

    def _is_empty(self) -> bool:
        """Remove all containers, networks and our volumes; say whether there were none left.

        What the engine is just removing by itself, or for somebody else, can be removed by nobody, and is seen again.
        """
        with self.client_closing() as client:
            containers = [c["Id"] for c in client.api.containers(all=True, quiet=True)]
            for id in containers:
                with suppress(Exception):
                    client.api.remove_container(id, force=True, v=True)
            client.networks.prune()
            networks = client.api.networks(filters={"label": "runyard.job"})
            volumes = [v["Name"] for v in client.api.volumes()["Volumes"] or () if v["Name"].startswith("runyard-")]
            for name in volumes:
                with suppress(Exception):
                    client.api.remove_volume(name, force=True)
        return not (containers or networks or volumes)

    def _tell(self, *words: str) -> None:
        assert self._first is not None
        assert self._first.stdin is not None
        assert self._first.stdout is not None
        self._first.stdin.write("\t".join(words).encode() + b"\n")
        self._first.stdin.flush()
        said = self._first.stdout.readline()
        assert said == b"done\n", f"the first process has ended: {self.log()}"

    def _until_answers(self, path: Path, name: str) -> None:
        deadline = time.monotonic() + 60
        while not _answers(path):
            assert time.monotonic() < deadline, f"{name} does not answer:\n{self.log(name)[-3000:]}"
            time.sleep(0.02)

    def _ready(self) -> bool:
        with suppress(Exception), self.client_closing() as client:  # it may listen, and hang up
            return bool(client.ping())
        return False


AnyEngine = TypeVar("AnyEngine", bound=Engine)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


@contextmanager
def running(kind: type[AnyEngine], **options: Any) -> Iterator[AnyEngine]:
    """Start an engine in a folder of its own, and leave nothing behind."""
    folder = Path(tempfile.mkdtemp(prefix="ryd-"))
    engine = kind(folder, **options)
    try:
        try:
            engine.up()
            yield engine
        finally:
            engine.down()
    finally:
        until(lambda: removed(folder), f"the removal of {folder}")


def removed(folder: Path) -> bool:
    """Remove a folder, as far as that is possible: the kernel may still be taking mounts below it down."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def host_tar(target: Path) -> Path:
    """Write a tar file of this machine's Python, shell and tools: enough of a system to run tasks in."""
    python = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]
    standard = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix, "base": sys.base_prefix}))
    programs = [python, *(t for name in TOOLS.split() if (t := _tool(name)))]
    binaries = [os.path.realpath(p) for p in programs]
    modules = [str(p) for p in (standard / "lib-dynload").glob("*.so")]
    with tarfile.open(target, "w") as tar:
        for name in (
            "usr/bin",
            "usr/lib",
            "usr/lib64",
            "etc",
            "tmp",
            "root",
            "proc",
            "sys",
            "dev",
            "run",
            "var",
            "home",
        ):
            _folder(tar, name, 0o1777 if name == "tmp" else 0o755)
        for name in ("bin", "lib", "lib64"):
            _link(tar, name, f"usr/{name}")
        for program in programs[1:]:
            tar.add(os.path.realpath(program), f"usr/bin/{os.path.basename(program)}")
        tar.add(python, python.lstrip("/"))
        for name in ("python", "python3"):  # what virtual environments point to
            if os.path.dirname(python) != "/usr/bin":
                _link(tar, f"{os.path.dirname(python).lstrip('/')}/{name}", os.path.basename(python))
            _link(tar, f"usr/bin/{name}", python)
        for library in sorted(_libraries([*binaries, *modules])):
            tar.add(os.path.realpath(library), f"usr{library}" if library.startswith("/lib") else library.lstrip("/"))
        tar.add(standard, str(standard).lstrip("/"), filter=_without_extras)
        _file(tar, "etc/passwd", "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n")
        _file(tar, "etc/group", "root:x:0:\nnogroup:x:65534:\n")
    return target


def _without_extras(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = Path(info.name).parts
    left_out = {"test", "tests", "site-packages", "dist-packages", "idlelib", "tkinter", "ensurepip", "__pycache__"}
    return None if left_out & set(parts) or info.name.endswith(".a") else info


def _libraries(files: list[str]) -> set[str]:
    told = subprocess.run(["ldd", *files], capture_output=True, text=True, check=False).stdout
    found = {word for line in told.splitlines() for word in line.split() if word.startswith("/") and ".so" in word}
    # Loaded at run time: the loader itself, names of users, and what packages in wheels take from the system.
    stems = "nss_files.so.2 gcc_s.so.1 stdc++.so.6 pthread.so.0 rt.so.1 dl.so.2 util.so.1 m.so.6 z.so.1 gomp.so.1"
    names = [f"lib{stem}" for stem in stems.split()]
    more = {"/lib64/ld-linux-x86-64.so.2", *(f"/lib/x86_64-linux-gnu/{name}" for name in names)}
    more |= {path.replace("/lib/", "/usr/lib/", 1) for path in more if not os.path.exists(path)}
    return {f for f in found | more if os.path.exists(f) and not f.endswith(":")} - set(files)


def _folder(tar: tarfile.TarFile, name: str, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    tar.addfile(info)


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    tar.addfile(info)


def _file(tar: tarfile.TarFile, name: str, text: str) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(text.encode())
    tar.addfile(info, io.BytesIO(text.encode()))
