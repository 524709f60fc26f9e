"""Run a command as a user would, off the network, and measure the whole of it."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

MARK = "RUNYARD_BENCHMARK"


@dataclass
class Usage:
    """Over the Python processes of a run: the threads of the busiest one, and the memory of all together."""

    threads: int = 0
    rss_mb: float = 0.0


@dataclass
class Place:
    """A fresh home for one library, so that runs share nothing but what a benchmark shares on purpose."""

    python: Path
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="runyard-bench-")))

    def env(self) -> dict[str, str]:
        """Return the environment: homes in the folder, no network, and a mark by which to find processes."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RUNYARD_", "NEMORUN_"))}
        home = {
            "HOME": str(self.folder),
            "RUNYARD_HOME": f"{self.folder}/runyard",
            "NEMORUN_HOME": f"{self.folder}/nemo",
        }
        path = {"PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}", MARK: str(self.folder)}
        return kept | home | path

    def wall(self, command: Sequence[str], timeout: float = 300) -> float:
        """Run a command to its end and return the seconds it took.

        Raises:
            RuntimeError: when it failed or took longer than ``timeout``.
        """
        began = time.perf_counter()
        with tempfile.TemporaryFile() as output:
            process = self.start(command, output)
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise RuntimeError(f"{' '.join(command)}: still running after {timeout:g} s") from None
            took = time.perf_counter() - began
            if code:
                output.seek(0)
                tail = output.read()[-2000:].decode(errors="replace")
                raise RuntimeError(f"{' '.join(command)}: exit code {code}\n{tail}")
        return took

    def start(self, command: Sequence[str], output: object) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own."""
        return subprocess.Popen(
            [*off_network(), *command],
            cwd=self.folder,
            env=self.env(),
            stdin=subprocess.DEVNULL,
            stdout=output,  # type: ignore[arg-type]
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def usage(self, command: Sequence[str], timeout: float = 300) -> Usage:
        """Run a command and watch its Python processes. That costs time, so nothing is timed."""
        seen, done = Usage(), threading.Event()

        def watch() -> None:
            while not done.wait(0.05):
                now = look(str(self.folder))
                seen.threads = max(seen.threads, now.threads)
                seen.rss_mb = max(seen.rss_mb, now.rss_mb)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            self.wall(command, timeout)
        finally:
            done.set()
            watcher.join()
        return seen


def look(mark: str) -> Usage:
    """Return threads and resident memory of the Python processes that carry a mark in their environment."""
    wanted, total = f"{MARK}={mark}".encode(), Usage()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if "python" not in (entry / "exe").readlink().name:
                continue
            if wanted not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            facts = dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines() if ":" in line)
        except (OSError, ValueError):
            continue  # it has ended, or belongs to somebody else
        total.threads = max(total.threads, int(facts.get("Threads", "0")))
        total.rss_mb += int(facts.get("VmRSS", "0 kB").split()[0]) / 1024
    return total


def median(measure: Callable[[], float], repeats: int) -> float:
    """Return the median of repeated measurements, after one that is thrown away."""
    if repeats > 1:
        measure()
    return statistics.median(measure() for _ in range(repeats))


@cache
def off_network() -> tuple[str, ...]:
    """Return what to put before a command to leave it nothing but a loopback network, where possible."""
    prefix = ("unshare", "-rn", "sh", "-c", 'ip link set lo up 2>/dev/null; exec "$@"', "sh")
    try:
        works = subprocess.run([*prefix, "true"], capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        works = False
    if not works:
        print("note: unshare does not work here, so that peers could reach the network", file=sys.stderr)
    return prefix if works else ()
