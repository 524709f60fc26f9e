"""A private Slurm cluster on this machine, for tests against the real thing.

Everything lies in one folder, listens on loopback and is chosen by ``SLURM_CONF``: several clusters can run at the
same time, next to one that the machine itself may belong to. Root gets what a cluster really has, nodes with host
names of their own; an ordinary user gets nodes that all have the name of this machine.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import processes
from processes import until

PLUGIN = Path(__file__).with_name("slurm_stub_pyxis.c")
HEADER = Path("/usr/include/slurm/spank.h")
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
CPUS = 64
GPUS = 8
SETTINGS = ("SLURM", "SBATCH", "SALLOC", "SRUN", "SCANCEL", "SQUEUE", "SINFO", "SACCT")
"""How the variables begin that clients read, or find in a job."""

# Starts one daemon, as its only child at first, and becomes the parent of all that lose their own: a slurmstepd
# detaches itself, and so may what a job starts. Everything below is killed when it is interrupted, when its standard
# input ends because the tests are gone, and when the daemon has ended.
KEEPER = """
import ctypes, os, select, signal, sys, time

def reap():
    with_daemon = False
    try:
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            with_daemon = with_daemon or pid == daemon
    except ChildProcessError:
        pass
    return with_daemon

def below():
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                children.setdefault(int(file.read().rpartition(b")")[2].split()[1]), []).append(int(name))
        except OSError:
            pass
    found = [os.getpid()]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
woken, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
for number in (signal.SIGCHLD, signal.SIGINT):
    signal.signal(number, lambda *_: None)
nothing = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # until there is somebody to pass it on to
given = {"file_actions": nothing, "setsigdef": [signal.SIGPIPE], "setsigmask": []}
daemon = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, **given)
signal.signal(signal.SIGTERM, lambda *_: os.kill(daemon, signal.SIGTERM))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
while 0 not in select.select([0, woken], [], [])[0]:
    if signal.SIGINT in os.read(woken, 4096) or reap():
        break
deadline = time.monotonic() + 30
while (pids := below()) and time.monotonic() < deadline:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    time.sleep(0.005)
    reap()
"""


def missing(*, accounting: bool = False) -> str:
    """Say in words what a cluster lacks here, if anything."""
    tools = ["slurmctld", "slurmd", "munged", "sbatch", "gcc"]
    for tool in [*tools, *(["slurmdbd", "mariadbd", "mariadb-install-db"] if accounting else [])]:
        if not _tool(tool):
            return f"there is no {tool} (Debian: apt-get install the packages in .ci/packages.d/slurm.txt)"
    return "" if HEADER.exists() else f"there is no {HEADER} (Debian: apt-get install libslurm-dev)"


def _tool(name: str) -> str:
    return shutil.which(name, path=PATH) or ""


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _plain() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)}


def _listens(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Cluster:
    """A cluster that runs."""

    folder: Path
    nodes: list[str]
    accounting: bool
    ports: dict[str, int]
    settings: dict[str, str]
    own_hostnames: bool
    """Whether each node has a host name of its own, and the nodes know each other by them."""
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def conf(self) -> Path:
        """The file that makes a client one of this cluster's."""
        return self.folder / "slurm.conf"

    @property
    def env(self) -> dict[str, str]:
        """What a client needs in its environment."""
        return {"SLURM_CONF": str(self.conf)}

    @property
    def impatient(self) -> dict[str, str]:
        """The same for clients that wait two seconds for the controller, not a minute."""
        return {"SLURM_CONF": str(self.folder / "impatient.conf")}

    def command(
        self, *argv: str, check: bool = True, timeout: float = 100, input: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a client in the cluster's folder."""
        done = subprocess.run(
            argv,
            env=_plain() | self.env,
            cwd=self.folder,
            timeout=timeout,
            text=True,
            capture_output=True,
            input=input,
        )
        assert not check or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def log(self, daemon: str) -> str:
        """Return what a daemon (``slurmctld``, or the name of a node) has said so far."""
        return "".join(p.read_text(errors="replace") for p in sorted(self.folder.glob(f"log/{daemon}.*")))

    def stop_controller(self) -> None:
        """End the controller in an orderly way: it keeps its jobs, and clients are refused from now on."""
        daemon = self._daemons["slurmctld"]
        daemon.terminate()
        with suppress(subprocess.TimeoutExpired):
            daemon.wait(60)  # killed, it may forget a job
        self._end("slurmctld")

    def start_controller(self) -> None:
        """Start the controller, with the jobs it knew, and wait until it answers."""
        self._start("slurmctld", "-D", "-i")
        self._listening("slurmctld")

    def pause_controller(self) -> None:
        """Stop the controller as it is: clients can connect, and wait for an answer that does not come."""
        os.kill(self._pid("slurmctld"), signal.SIGSTOP)

    def resume_controller(self) -> None:
        """Let the controller go on."""
        os.kill(self._pid("slurmctld"), signal.SIGCONT)

    def kill_node(self, name: str) -> None:
        """Kill a node with all that runs on it. The controller finds out by itself, half a minute later."""
        self._end(name)

    def fail_node(self, name: str) -> None:
        """Kill a node and tell the controller so."""
        self.kill_node(name)
        self.command("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=test")

    def start_node(self, name: str) -> None:
        """Start a node that was killed, and wait until the controller may use it."""
        self._boot(name)
        self._listening(name)
        self._usable(name, wanted=("idle", "mixed", "allocated"))

    def reset(self) -> None:
        """Bring back what a test took down, cancel all jobs and wait until all nodes are idle."""
        if "slurmctld" in self._daemons:
            self.resume_controller()
        else:
            self.start_controller()
        for name in self.nodes:
            if name not in self._daemons:
                self.start_node(name)
        if jobs := self.command("squeue", "-h", "-o", "%A").stdout.split():
            self.command("scancel", *jobs, check=False)  # some may just have ended
        self._usable(*self.nodes)

    def down(self) -> None:
        """End everything that was started."""
        for daemon in self._daemons.values():
            daemon.send_signal(signal.SIGINT)
        for name in list(self._daemons):
            self._end(name)

    def _start(self, name: str, *args: str, tool: str = "", before: tuple[str, ...] = (), **env: str) -> None:
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                [sys.executable, "-ISc", KEEPER, *before, _tool(tool or name), *args],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                env=_plain() | self.env | env,
            )

    def _end(self, name: str) -> None:
        with self._daemons.pop(name) as daemon:
            daemon.send_signal(signal.SIGINT)
            daemon.wait(60)

    def _pid(self, name: str) -> int:
        return int((self.folder / "run" / f"{name}.pid").read_text())

    def _runs(self, name: str) -> None:
        assert self._daemons[name].poll() is None, f"{name} has ended:\n{self.log(name)}"

    def _listening(self, name: str) -> None:
        def listens() -> bool:
            self._runs(name)
            return _listens(self.ports[name])

        until(listens, f"{name} listens")

    def _boot(self, name: str) -> None:
        before: tuple[str, ...] = ()
        if self.own_hostnames:
            script = f'hostname "$0" && mount --bind {self.folder}/hosts /etc/hosts && exec "$@"'
            before = (_tool("unshare"), "--uts", "--mount", "/bin/sh", "-c", script, name)
        self._start(name, "-D", "-N", name, tool="slurmd", before=before)

    def _usable(self, *names: str, wanted: tuple[str, ...] = ("idle",)) -> None:
        def usable() -> bool:
            for name in names:
                self._runs(name)
            states = self.command("sinfo", "-h", "-N", "-p", "main", "-n", ",".join(names), "-o", "%T").stdout.split()
            return len(states) == len(names) and set(states) <= set(wanted)

        # A job on several nodes, of which one was killed, takes long to end on the others.
        until(usable, f"{', '.join(names)} can be used", 120)


def start(
    folder: Path,
    *,
    nodes: int = 3,
    accounting: bool = False,
    max_array_size: int = 1001,
    settings: Mapping[str, str] | None = None,
) -> Cluster:
    """Start a cluster in an empty folder. ``settings`` are lines of ``slurm.conf`` that replace the usual ones."""
    assert len(os.fsencode(folder)) < 60, f"{folder} is too long for the sockets in it"
    names = [f"n{i + 1}" for i in range(nodes)]
    daemons = ["slurmctld", "slurmdbd", *names]
    cluster = Cluster(
        folder,
        names,
        accounting,
        ports=dict(zip(daemons, processes.free_ports(len(daemons)), strict=True)),
        settings={"MaxArraySize": str(max_array_size), **(settings or {})},
        own_hostnames=_may_unshare(),
    )
    try:
        _bring_up(cluster)
    except BaseException:
        cluster.down()
        raise
    return cluster


@contextmanager
def running(**options: Any) -> Iterator[Cluster]:
    """Start a cluster in a folder of its own, and leave nothing behind."""
    folder = Path(tempfile.mkdtemp(prefix="ryl-"))
    folder.chmod(0o755)  # other accounts are clients too
    try:
        cluster = start(folder, **options)
        try:
            yield cluster
        finally:
            cluster.down()
    finally:
        processes.remove(folder)


def _may_unshare() -> bool:
    """Say whether a node can have a host name of its own: root can give it one, though not in every container."""
    tried = [_tool("unshare"), "--uts", "--mount", "mount", "--bind", "/etc/hosts", "/etc/hosts"]
    return bool(tried[0]) and subprocess.run(tried, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def _bring_up(cluster: Cluster) -> None:
    folder = cluster.folder
    folder.chmod(0o755)  # other users may use it too
    for name in ("run", "log", "state", "gpu", *(f"spool/{node}" for node in cluster.nodes)):
        (folder / name).mkdir(parents=True)
    _start_munge(cluster)
    if cluster.accounting:
        _start_mariadb(cluster)
    plugin = _compile(folder)
    for device in range(GPUS):  # to Slurm any character device will do
        (folder / "gpu" / f"nvidia{device}").symlink_to("/dev/null")
    _write_settings(cluster, plugin)
    if cluster.accounting:
        _start_accounting(cluster)
    cluster.start_controller()
    for name in cluster.nodes:
        cluster._boot(name)
    cluster._usable(*cluster.nodes)


def _start_munge(cluster: Cluster) -> None:
    folder = cluster.folder
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    cluster._start(
        "munged",
        "--foreground",
        "--force",
        f"--socket={folder}/run/munge.sock",
        f"--key-file={key}",
        f"--pid-file={folder}/run/munged.pid",
        f"--log-file={folder}/log/munged.log",
        f"--seed-file={folder}/munge.seed",
        "--num-threads=4",
    )

    def answers() -> bool:
        cluster._runs("munged")
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(f"{folder}/run/munge.sock") == 0

    until(answers, "munged answers")


def _compile(folder: Path) -> Path:
    plugin = folder / "stub_pyxis.so"
    subprocess.run(["gcc", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", plugin, PLUGIN], check=True)
    return plugin


def _write_settings(cluster: Cluster, plugin: Path) -> None:
    folder = cluster.folder
    user = _user()
    host = socket.gethostname().partition(".")[0]
    settings = {
        "ClusterName": "runyard",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": str(cluster.ports["slurmctld"]),
        "SlurmUser": user,
        "SlurmdUser": user,
        "AuthType": "auth/munge",
        # How long a requeued job waits, two minutes as a rule, is as long as a credential is good.
        "AuthInfo": f"socket={folder}/run/munge.sock,cred_expire=10",
        "StateSaveLocation": f"{folder}/state",
        "SlurmctldPidFile": f"{folder}/run/slurmctld.pid",
        "SlurmctldLogFile": f"{folder}/log/slurmctld.log",
        "SlurmdPidFile": f"{folder}/run/%n.pid",
        "SlurmdLogFile": f"{folder}/log/%n.log",
        "SlurmdSpoolDir": f"{folder}/spool/%n",
        "SlurmdParameters": "config_overrides",  # more processors than there are
        "PlugStackConfig": f"{folder}/plugstack.conf",
        "MailProg": "/bin/true",
        "MpiDefault": "none",
        "SwitchType": "switch/none",
        "TaskPlugin": "task/none",
        "ProctrackType": "proctrack/linuxproc" if os.geteuid() == 0 else "proctrack/pgid",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "DefMemPerCPU": "10",
        "GresTypes": "gpu",
        "SchedulerParameters": "batch_sched_delay=0,bf_interval=1,sched_interval=1,sched_min_interval=0",
        "MessageTimeout": "60",
        "SlurmdTimeout": "10",
        "ReturnToService": "2",
        "KillWait": "2",
        "OverTimeLimit": "0",
        "JobRequeue": "1",
    }
    if cluster.accounting:
        settings |= {
            "AccountingStorageType": "accounting_storage/slurmdbd",
            "AccountingStorageHost": "localhost",
            "AccountingStoragePort": str(cluster.ports["slurmdbd"]),
            "AccountingStoragePass": f"{folder}/run/munge.sock",
        }
    settings |= cluster.settings
    lines = []
    node = f"NodeAddr=127.0.0.1 CPUs={CPUS} Boards=1 SocketsPerBoard=1 CoresPerSocket={CPUS} ThreadsPerCore=1"
    for name in cluster.nodes:
        own = name if cluster.own_hostnames else host
        port = cluster.ports[name]
        lines.append(f"NodeName={name} NodeHostname={own} Port={port} {node} RealMemory=16000 Gres=gpu:{GPUS}")
    lines += [
        "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
        "PartitionName=other Nodes=ALL MaxTime=INFINITE State=UP",
        "PartitionName=short Nodes=ALL MaxTime=1 State=UP",
        "PartitionName=down Nodes=ALL MaxTime=INFINITE State=DOWN",
    ]
    devices = f"Name=gpu File={folder}/gpu/nvidia[0-{GPUS - 1}]"
    hosts = f"{Path('/etc/hosts').read_text()}\n127.0.0.1 {' '.join(cluster.nodes)}"
    files = {
        "slurm.conf": "\n".join([*_lines(settings), *lines]),
        "impatient.conf": "\n".join([*_lines(settings | {"MessageTimeout": "2"}), *lines]),
        "gres.conf": f"NodeName={','.join(cluster.nodes)} {devices}",
        "cgroup.conf": "CgroupAutomount=no",
        "plugstack.conf": f"required {plugin}",
        "hosts": hosts,
    }
    for name, text in files.items():
        (folder / name).write_text(text + "\n")


def _lines(settings: Mapping[str, str]) -> list[str]:
    return [f"{k}={v}" for k, v in settings.items()]


def _start_mariadb(cluster: Cluster) -> None:
    folder = cluster.folder
    common = ["--no-defaults", f"--datadir={folder}/mysql", *(["--user=root"] if os.geteuid() == 0 else [])]
    with (folder / "log" / "install.log").open("wb") as log:
        subprocess.run(
            [_tool("mariadb-install-db"), *common, "--skip-test-db", "--auth-root-authentication-method=normal"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
        )
    cluster._start(
        "mariadbd",
        *common,
        f"--socket={folder}/run/mariadb.sock",
        f"--pid-file={folder}/run/mariadbd.pid",
        "--skip-networking",
        "--skip-grant-tables",
        "--innodb-buffer-pool-size=64M",
        "--innodb-lock-wait-timeout=900",
        "--innodb-flush-log-at-trx-commit=0",
    )


def _start_accounting(cluster: Cluster) -> None:
    folder = cluster.folder
    user = _user()
    settings = {
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder}/run/munge.sock",
        "DbdHost": "localhost",
        "DbdPort": str(cluster.ports["slurmdbd"]),
        "SlurmUser": user,
        "LogFile": f"{folder}/log/slurmdbd.log",
        "PidFile": f"{folder}/run/slurmdbd.pid",
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "localhost",
        "StorageUser": "root",
        "StorageLoc": "slurm",
    }
    conf = folder / "slurmdbd.conf"
    conf.touch(mode=0o600)
    conf.write_text("\n".join(_lines(settings)) + "\n")
    sock = f"{folder}/run/mariadb.sock"

    def answers() -> bool:
        cluster._runs("mariadbd")
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(sock) == 0

    until(answers, "mariadbd answers")
    cluster._start("slurmdbd", "-D", MYSQL_UNIX_PORT=sock, MARIADB_UNIX_PORT=sock)
    cluster._listening("slurmdbd")
    cluster.command("sacctmgr", "-i", "add", "cluster", "runyard")
    cluster.command("sacctmgr", "-i", "add", "account", "acct")
    cluster.command("sacctmgr", "-i", "add", "user", user, "account=acct")
