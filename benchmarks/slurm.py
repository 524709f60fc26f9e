"""Slurm, from its login node and over ssh, measured in one go against raw ``ssh`` and ``sbatch`` and against peers.

It starts a private cluster and a login node of its own on this machine (as root, with the packages that the live tests
need), and ends them. The results are written to ``benchmarks/results/slurm.md`` and ``.json``. ``--only observe``
measures a part.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from measure import MARK
from startup_and_local import OURS, PEER, versions
from startup_and_local import Row as SecondsRow

HERE = Path(__file__).parent
SCRIPTS = HERE / "scripts"
sys.path.insert(0, str(HERE.parent / "tests" / "helpers"))

import slurm_cluster  # noqa: E402
import ssh_servers  # noqa: E402
from slurm_cluster import Cluster  # noqa: E402
from ssh_servers import Server, User  # noqa: E402

FILES = 200
"""Files of the project whose code ships."""
SLEEP = 25
"""Seconds that the followed jobs sleep."""
DRIVER = b"runyard.engine.drive"


@dataclass
class Row(SecondsRow):
    """A row whose value may be a count."""

    def _show(self, value: float | None) -> str:
        return str(value) if isinstance(value, int) and not self.unit else super()._show(value)


@dataclass
class Client:
    """A person's machine: a home for the records, a project under git, and a folder for ssh's connections."""

    cluster: Cluster
    server: Server
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="ryb-")))
    extra: dict[str, str] = field(default_factory=dict)
    """Further variables, for all that runs here."""
    wrappers: str = ""
    """Folder to put first on the PATH of the login node."""

    def __post_init__(self) -> None:
        for name in ("home", "run", "project"):
            (self.folder / name).mkdir()
        (self.folder / "run").chmod(0o700)
        for n in range(FILES):
            path = self.project / f"package{n % 10}" / f"module{n}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f'"""Module {n}."""\n' + "x = 1\n" * 50)
        subprocess.run(["git", "init", "-q", "."], cwd=self.project, check=True)

    @property
    def project(self) -> Path:
        """The folder that is launched from."""
        return self.folder / "project"

    @property
    def job_dir(self) -> Path:
        """Runyard's folder on the login node."""
        return self.server.user.home / f"runs-{self.folder.name}"

    def env(self) -> dict[str, str]:
        """Return the environment of the commands here; a mark in it tells which processes are theirs."""
        dropped = ("RUNYARD_", "NEMORUN_", *slurm_cluster.SETTINGS)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
        own = {
            "RUNYARD_HOME": f"{self.folder}/home",
            "NEMORUN_HOME": f"{self.folder}/nemo",
            "XDG_RUNTIME_DIR": f"{self.folder}/run",
            "PATH": f"{OURS.parent}{os.pathsep}{os.environ['PATH']}",
            MARK: str(self.folder),
        }
        return kept | own | self.cluster.env | self.extra

    def tunnel(self) -> dict[str, Any]:
        """Return the arguments of a tunnel to the login node."""
        path = f"PATH={self.wrappers}:$PATH; export PATH; " if self.wrappers else ""
        return {
            "host": "login",
            "config": str(self.ssh_config),
            "job_dir": str(self.job_dir),
            "pre_command": f"{path}export SLURM_CONF={self.cluster.conf}",
        }

    @property
    def ssh_config(self) -> Path:
        """The configuration file for ssh."""
        path = self.server.folder / "ssh_config0"
        return path if path.exists() else self.server.config()

    def start(self, command: Sequence[str | Path], output: Any = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start a command in the project."""
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=self.project,
            env=self.env(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wall(self, command: Sequence[str | Path], timeout: float = 120) -> tuple[float, str]:
        """Run a command to its end; return the seconds it took, and its output.

        Raises:
            RuntimeError: when it failed or took longer than ``timeout``.
        """
        with tempfile.TemporaryFile() as output:
            began = time.perf_counter()
            process = self.start(command, output)
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                code = 124
            took = time.perf_counter() - began
            output.seek(0)
            said = output.read().decode(errors="replace")
        if code:
            notes = "".join(p.read_text() for p in self.folder.glob("home/experiments/*/*/controller.log"))
            raise RuntimeError(f"{' '.join(map(str, command))}: exit code {code}\n{said[-2000:]}\n{notes[-2000:]}")
        return took, said

    def tasks(self, count: int, *, run: str, ssh: bool, **more: Any) -> list[str | Path]:
        """Return the command that launches an experiment; see ``scripts/slurm_tasks.py``."""
        asked = {"count": count, "run": run, "different": False, "line": "true", "executor": {}} | more
        asked["executor"] = {"partition": "down", "time": "01:00:00"} | asked["executor"]
        asked["tunnel"] = self.tunnel() if ssh else None
        path = self.folder / f"asked{len(list(self.folder.glob('asked*')))}.json"
        path.write_text(json.dumps(asked))
        return [OURS, SCRIPTS / "slurm_tasks.py", path]

    def processes(self, words: bytes = b"") -> list[int]:
        """Return the processes that were started from here, whose command holds some words."""
        wanted, found = f"{MARK}={self.folder}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (
                    wanted in (entry / "environ").read_bytes().split(b"\0")
                    and words in (entry / "cmdline").read_bytes()
                ):
                    found.append(int(entry.name))
        return found

    def disconnect(self) -> None:
        """End the connections that were left open: the next command logs in anew."""
        for path in [p for p in (self.folder / "run").rglob("*") if p.is_socket()]:
            command = ["ssh", "-F", "/dev/null", "-S", str(path), "-O", "exit", "--", "x"]
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)

    def leave(self) -> None:
        """Leave nothing running: no controller, no connection, no job."""
        ssh_servers.end(lambda: self.processes(DRIVER))
        self.disconnect()
        if jobs := self.cluster.command("squeue", "-h", "-o", "%A").stdout.split():
            self.cluster.command("scancel", *sorted(set(jobs)), check=False)

    def close(self) -> None:
        """Remove it all."""
        self.leave()
        ssh_servers.end(self.processes)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.job_dir, ignore_errors=True)

    def experiment(self) -> str:
        """Return the id of the newest experiment."""
        folders = (self.folder / "home" / "experiments" / "many").glob("many_*")
        return max(folders, key=lambda p: (len(p.name), p.name)).name


class Bench:
    """The measurements. Each method returns rows."""

    def __init__(self, cluster: Cluster, server: Server, repeats: int, peer: bool) -> None:
        self.cluster, self.server, self.repeats, self.peer = cluster, server, repeats, peer

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Give a fresh client."""
        client = Client(self.cluster, self.server)
        try:
            yield client
        finally:
            client.close()

    def timed(self, client: Client, command: Callable[[], Sequence[str | Path]]) -> float:
        """Return the median time of a command on a connection that is cold, after one run that is thrown away."""
        taken = []
        for _ in range(self.repeats + 1):
            taken.append(client.wall(command())[0])
            client.leave()
        return statistics.median(taken[1:])

    def theirs(self, client: Client, command: Sequence[str | Path]) -> float | None:
        """Return what a peer needs, once, or ``None`` where it is left out or cannot do it."""
        if not self.peer:
            return None
        try:
            taken = client.wall(command)[0]
            client.leave()
            return taken
        except RuntimeError as problem:
            print(f"  the peer did not manage: {problem}", file=sys.stderr)
            return None

    def nemo(self, client: Client) -> list[str | Path]:
        """Return the command of ``nemo_run`` for 50 different tasks; it ships what is committed."""
        who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        for words in (["add", "."], [*who, "commit", "-qm", "All"]):
            subprocess.run(["git", *words], cwd=client.project, check=True)
        # Its rsync asks for the host key with the user's own settings; this gives it ours.
        tools = client.folder / "tools"
        tools.mkdir()
        words = [str(shutil.which("ssh")), "-o", f"UserKnownHostsFile={self.server.known_hosts}"]
        (tools / "ssh").write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        (tools / "ssh").chmod(0o755)
        client.extra = {"PATH": f"{tools}{os.pathsep}{client.env()['PATH']}"}
        tunnel = {
            "host": "127.0.0.1",
            "port": self.server.port,
            "user": self.server.user.name,
            "identity": str(self.server.user.key),
            "job_dir": str(client.job_dir / "nemo"),
            "pre_command": f"export SLURM_CONF={self.cluster.conf}",
        }
        return [PEER, SCRIPTS / "slurm_nemo.py", json.dumps(tunnel), "50"]

    def ssh(self, client: Client, script: str) -> list[str | Path]:
        """Return the raw command that runs a script on the login node."""
        return ["ssh", "-F", client.ssh_config, "login", f"export SLURM_CONF={self.cluster.conf}; {script}"]

    def counted(self, client: Client, command: Sequence[str | Path]) -> tuple[int, int, int]:
        """Run a command on a cold connection; return logins, sessions, and scripts that were sent."""
        counts = client.folder / "scripts"
        counts.write_text("")
        client.extra = {"PYTHONPATH": str(SCRIPTS / "counting"), "RUNYARD_BENCHMARK_SCRIPTS": str(counts)}
        logins, sessions = self.server.logins, self.server.sessions
        client.wall(command)
        seen = self.server.logins - logins, self.server.sessions - sessions, len(counts.read_text().splitlines())
        client.extra = {}
        client.leave()
        return seen

    # -- the parts -----------------------------------------------------------------------------

    def different(self) -> list[Row]:
        """50 different tasks over ssh, cold, code unchanged, until Slurm has all of them."""
        loop = "for n in $(seq 50); do sbatch -p down --comment $n -o /dev/null --wrap true; done"
        with self.client() as client:
            raw = self.timed(client, lambda: self.ssh(client, loop))
            ours = self.timed(client, lambda: client.tasks(50, run="submitted", ssh=True, different=True))
            back = self.timed(client, lambda: client.tasks(50, run="detached", ssh=True, different=True))
            command = client.tasks(50, run="submitted", ssh=True, different=True)
            logins, sessions, scripts = self.counted(client, command)
            before = self.server.sessions
            peer = self.theirs(client, self.nemo(client))
            peer_sessions = self.server.sessions - before if peer else None
        limit = 2 * raw + 0.5
        return [
            Row("50 different tasks over ssh, cold, until Slurm has all", f"<= {limit:.2f} s (2 × raw + 0.5)", ours,
                "s", ours <= limit, raw, peer, "peer: nemo_run, detached"),
            Row("the same, until a detached launch returns", "", back, "s", True, raw),
            Row("the same, connections", "1", logins, "", logins <= 1, 1),
            Row("the same, sessions", "1", sessions, "", sessions <= 1, 1, peer_sessions),
            Row("the same, round trips (scripts sent)", "<= 6", scripts, "", scripts <= 6, 1),
        ]  # fmt: skip

    def array(self) -> list[Row]:
        """200 equal tasks on the login node itself."""
        with self.client() as client:
            wrap = ["sbatch", "-p", "down", "--array=0-199", "-o", "/dev/null", "--wrap", "true"]
            raw = self.timed(client, lambda: wrap)
            ours = self.timed(client, lambda: client.tasks(200, run="submitted", ssh=False))
            peer = self.theirs(client, [PEER, SCRIPTS / "slurm_submitit.py", "200", "down"])
        return [
            Row("200 equal tasks, local tunnel, until Slurm has all", "<= 0.6 s", ours, "s", ours <= 0.6, raw, peer,
                "peer: submitit's array")
        ]  # fmt: skip

    def thousand(self) -> list[Row]:
        """1,000 equal tasks over ssh, and the round trips of 100."""
        with self.client() as client:
            raw = self.timed(client, lambda: self.ssh(client, "sbatch -p down --array=0-999 -o /dev/null --wrap true"))
            ours = self.timed(client, lambda: client.tasks(1000, run="submitted", ssh=True))
            few = self.counted(client, client.tasks(100, run="submitted", ssh=True))[2]
            logins, sessions, scripts = self.counted(client, client.tasks(1000, run="submitted", ssh=True))
        return [
            Row("1,000 equal tasks over ssh, cold, until Slurm has all", "<= 2 s", ours, "s", ours <= 2, raw),
            Row("the same, round trips (scripts sent)", "independent of N", scripts, "", scripts <= few, 1, None,
                f"{few} with 100 tasks; {logins} connections, {sessions} sessions"),
        ]  # fmt: skip

    def status(self) -> list[Row]:
        """``experiment status`` of 50 tasks over ssh, cold: nobody has been following them."""
        command = [OURS.with_name("runyard"), "experiment", "status"]
        with self.client() as client:
            raw = self.timed(client, lambda: self.ssh(client, "squeue --me"))
            client.wall(client.tasks(50, run="submitted", ssh=True, different=True))
            id = client.experiment()
            warm = statistics.median(client.wall([*command, id])[0] for _ in range(self.repeats))
            taken, sessions = {"news": [], "none": []}, 0
            for _ in range(self.repeats):
                for kind in taken:
                    ssh_servers.end(lambda: client.processes(DRIVER))
                    client.disconnect()
                    if kind == "news":
                        self._forget_states(client)
                    before = self.server.sessions
                    taken[kind].append(client.wall([*command, id])[0])
                    sessions = max(sessions, self.server.sessions - before)
        news, none = (statistics.median(taken[kind]) for kind in ("news", "none"))
        return [
            Row("`experiment status` of 50 tasks over ssh, cold, something has changed", "<= 0.6 s", news, "s",
                news <= 0.6, raw),
            Row("the same, nothing has changed", "<= 0.6 s", none, "s", none <= 0.6, raw),
            Row("the same, sessions", "1", sessions, "", sessions <= 1, 1),
            Row("the same while its controller lives", "", warm, "s", True),
        ]  # fmt: skip

    def _forget_states(self, client: Client) -> None:
        """Make the records older than what Slurm says, as after a night: all jobs were last seen without a reason."""
        import sqlite3

        with sqlite3.connect(client.folder / "home" / "runyard.db") as db:
            rows = db.execute("SELECT experiment, name, status FROM jobs").fetchall()
            for experiment, name, status in rows:
                older = json.dumps(json.loads(status) | {"reason": "", "native": ""})
                db.execute("UPDATE jobs SET status = ? WHERE experiment = ? AND name = ?", (older, experiment, name))

    def follow(self) -> list[Row]:
        """Following 50 jobs that sleep, over ssh."""
        with self.client() as client:
            wrappers = client.folder / "wrappers"
            counts = client.folder / "squeue"
            client.folder.chmod(0o755)
            wrappers.mkdir()
            counts.touch()
            counts.chmod(0o666)
            path = wrappers / "squeue"
            path.write_text(f'#!/bin/sh\ndate +%s.%N >> {counts}\nexec {shutil.which("squeue")} "$@"\n')
            path.chmod(0o755)
            client.wrappers = str(wrappers)
            command = client.tasks(
                50, run="attached", ssh=True, different=True, line=f"sleep {SLEEP}", executor={"partition": "main"}
            )
            logins, sessions = self.server.logins, self.server.sessions
            process = client.start(command)
            memory, threads, cpu = watch(client, process, timeout=SLEEP + 120)
            ended = time.time()
            times = [float(line) for line in counts.read_text().splitlines()]
            results = list(client.job_dir.glob("experiments/many/*/*/attempts/1/rc"))
            late = ended - max(p.stat().st_mtime for p in results)
            logins, sessions = self.server.logins - logins, self.server.sessions - sessions
            cpu += sum(map(cpu_of, client.processes()))  # the connection, which stays open
        rate = (times[-1] - times[0]) / max(1, len(times) - 1)
        del memory, threads
        return [
            Row(f"following 50 jobs that sleep {SLEEP} s, over ssh: sessions", "1", sessions, "", sessions <= 1, None,
                None, f"{logins} connections; {len(results)} results"),
            Row("the same, seconds between two queries", ">= 2 s", rate, "s", rate >= 1.9, None, None,
                f"{len(times)} squeue"),
            Row("the same, CPU of the client", "<= 2 s", cpu, "s", cpu <= 2),
            Row("the same, its end after the last job's", "<= 2 s", late, "s", late <= 2),
        ]  # fmt: skip

    def observe(self) -> list[Row]:
        """One query for 1,000 jobs: that wait, and that have left results."""
        rows = []
        with self.client() as client:
            command = client.tasks(1000, run="submitted", ssh=True)
            client.wall(command)
            ssh_servers.end(lambda: client.processes(DRIVER))
            ask = [OURS, SCRIPTS / "slurm_observe.py", command[-1], client.experiment()]
            raw = statistics.median(client.wall(self.ssh(client, "squeue --me -r"))[0] for _ in range(self.repeats))
            for what in ("that wait", "that have left results"):
                if "results" in what:
                    self._pretend_ended(client)
                seen = json.loads(client.wall(ask)[1])
                took, scripts = statistics.median(seen["seconds"]), max(seen["scripts"])
                rows += [
                    Row(f"observe 1,000 jobs {what}, one call", "<= 0.5 s", took, "s", took <= 0.5, raw, None,
                        "raw: a new ssh with squeue"),
                    Row("the same, round trips", "1", scripts, "", scripts == 1 and seen["jobs"] == 1000),
                ]  # fmt: skip
        return rows

    def _pretend_ended(self, client: Client) -> None:
        """Write what jobs leave behind: 1,000 real ones would take this machine minutes."""
        array = next(client.job_dir.glob("experiments/*/*/.arrays/*.sbatch")).with_suffix("")
        number = self.cluster.command("squeue", "-h", "-o", "%A").stdout.split()[0]
        for n, line in enumerate(array.read_text().splitlines()):
            attempt = Path(line.partition(" ")[2]) / "attempts" / "1"
            attempt.mkdir(parents=True)
            (attempt / "started").write_text(f"pid=1\nhost=n1\nslurm={number}_{n}\nat={int(time.time())}\nend\n")
            (attempt / "ended").write_text(f"{int(time.time())}\n")
            (attempt / "rc").write_text("0\n")
            for path in (attempt.parent, attempt, *attempt.iterdir()):
                os.chown(path, self.server.user.uid, self.server.user.uid)

    def memory(self) -> list[Row]:
        """Memory and threads of what follows 1,000 jobs, and 50."""
        peaks, threads = {}, {}
        for count in (50, 1000):
            with self.client() as client:
                process = client.start(client.tasks(count, run="attached", ssh=True))
                try:
                    peaks[count], threads[count], _ = watch(client, process, timeout=20, must_end=False)
                finally:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        return [
            Row("following 1,000 jobs over ssh: memory of launcher and controller", "< 150 MB", peaks[1000], "MB",
                peaks[1000] < 150, None, None, f"{peaks[50]:.0f} MB with 50"),
            Row("the same, threads of the busiest process", "constant in N", threads[1000], "threads",
                threads[1000] <= threads[50], None, None, f"{threads[50]} with 50"),
        ]  # fmt: skip


PARTS = ("different", "array", "thousand", "status", "follow", "observe", "memory")


def status_of(pid: int) -> Mapping[str, str]:
    """Return what the system says about a process; nothing when it is gone."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)
    return {}


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def watch(
    client: Client, process: subprocess.Popen[bytes], timeout: float, must_end: bool = True
) -> tuple[float, int, float]:
    """Watch a launcher until it ends or the time is up.

    Returns:
        The peak memory of it and its controller together (MB), the most threads of one process, and its CPU seconds
        with those of all that it waited for.
    """
    peaks: dict[int, float] = {}
    threads, deadline = 0, time.monotonic() + timeout
    cpu = 0.0
    while time.monotonic() < deadline:
        pid, code, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(code)
            cpu = usage.ru_utime + usage.ru_stime
            break
        for pid in (process.pid, *client.processes(DRIVER)):
            facts = status_of(pid)
            peaks[pid] = max(peaks.get(pid, 0.0), int(facts.get("VmHWM", "0 kB").split()[0]) / 1024)
            threads = max(threads, int(facts.get("Threads", "0")))
        time.sleep(1.0)
    else:
        if must_end:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if must_end and process.returncode != 0:
        raise RuntimeError(f"the followed experiment ended with exit code {process.returncode}")
    return sum(peaks.values()), threads, cpu


@contextmanager
def login_node() -> Iterator[Server]:
    """Start an sshd, with an account of its own on it."""
    folder = Path(tempfile.mkdtemp(prefix="ryu-"))
    folder.chmod(0o755)
    user = User(f"ryu{secrets.token_hex(4)}", folder)
    try:
        # With the usual limit of 10 the peer, which opens many sessions at once, does not come through.
        server = Server(user, folder / "sshd", "MaxSessions 100", "MaxStartups 100")
        try:
            yield server
        finally:
            server.stop()
    finally:
        user.remove()
        shutil.rmtree(folder)


def table(rows: list[Row], facts: dict[str, str]) -> str:
    """Return the results as a page."""
    lines = ["# Slurm", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += ["| what | target | Runyard | raw | peer | peer / Runyard | met |", "|---|---|---|---|---|---|---|"]
    lines += [row.markdown() for row in rows]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these parts")
    parser.add_argument("--repeats", type=int, default=5, help="repeats of which the median counts (5)")
    parser.add_argument("--no-peer", action="store_true", help="leave the peers out")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for the results")
    args = parser.parse_args()
    if why := slurm_cluster.missing() or ssh_servers.missing():
        print(why, file=sys.stderr)
        return 1

    rows: list[Row] = []
    facts = versions()
    if PEER.exists():
        code = "from importlib.metadata import version; print(version('submitit'))"
        done = subprocess.run([PEER, "-c", code], capture_output=True, text=True, check=False)
        facts["peer"] += f", submitit {done.stdout.strip() or 'not installed'}"
    with login_node() as server:
        for part in args.only:
            print(f"{part} …", file=sys.stderr, flush=True)
            # A cluster for each part: cancelled jobs stay in the queue for minutes, and count.
            with slurm_cluster.running(settings={"MaxJobCount": "100000"}) as cluster:
                bench = Bench(cluster, server, args.repeats, peer=not args.no_peer and PEER.exists())
                found = getattr(bench, part)()
                facts["Slurm"] = cluster.command("sinfo", "--version").stdout.split()[-1]
            print("\n".join(row.markdown() for row in found), file=sys.stderr, flush=True)
            rows += found

    page = table(rows, facts)
    print(page)
    args.out.mkdir(parents=True, exist_ok=True)
    name = "slurm" if tuple(args.only) == PARTS else "partial"
    (args.out / f"{name}.md").write_text(page)
    text = json.dumps({"facts": facts, "rows": [asdict(row) for row in rows]}, indent=2)
    (args.out / f"{name}.json").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
