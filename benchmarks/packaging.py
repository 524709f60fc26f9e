"""Packaging, measured against its peers in one run: the table of the packaging requirements, as ratios.

    python benchmarks/packaging.py [--files 20000] [--bytes 500000000] [--repeat 3] [--launches 50] [--dir /tmp]

Prints a Markdown table and writes ``benchmarks/results/packaging.json``. ``rsync`` is a peer where it is installed.
``RUNYARD_BENCH_NEMORUN=/path/to/venv/bin/python`` adds NeMo-Run's packagers, through their public ``package()``.
Every Runyard figure comes from a fresh process; times are medians, imports not counted (git's own start is).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENV = {**os.environ, "PYTHONPATH": str(HERE.parent / "src")}

SNAPSHOT = """
import json, resource, sys, time
from runyard.packagers.git import GitArchivePackager
start = time.perf_counter()
snapshot = GitArchivePackager(max_size=None, warn_size=None).snapshot(sys.argv[1])
took = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"s": took, "peak": peak, "hash": snapshot.hash}))
"""
PUSH = """
import json, sys, time
from runyard.snapshots.push import ProcessShell, Pusher
from runyard.snapshots.snapshot import Snapshot
from runyard.packagers.git import GitArchivePackager
snapshot = GitArchivePackager(max_size=None, warn_size=None).snapshot(sys.argv[1])
start = time.perf_counter()
done = Pusher(snapshot, ProcessShell(), sys.argv[2]).push(sys.argv[3])
print(json.dumps({"s": time.perf_counter() - start, "wire": done.wire_bytes, "sent": done.sent_bytes}))
"""
MATERIALISE = """
import json, sys, time
from runyard.snapshots.local import LocalStore
from runyard.snapshots.snapshot import Snapshot
snapshot = Snapshot.load(sys.argv[1])
start = time.perf_counter()
made = LocalStore(sys.argv[2]).materialise(snapshot, sys.argv[3], root_safe=False)
print(json.dumps({"s": time.perf_counter() - start, "new": made.new_objects}))
"""
LAUNCHES = """
import os, sys
from pathlib import Path
from runyard.packagers.git import GitArchivePackager
from runyard.snapshots.gc import gc
from runyard.snapshots.local import LocalStore
top, out, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
for n in range(count):
    (Path(top) / "pkg00/mod0/file_00000.py").write_text(f"launch = {n}\\n")
    snapshot = GitArchivePackager(max_size=None, warn_size=None).snapshot(top)
    LocalStore().materialise(snapshot, f"{out}/{n}/code", root_safe=False)
gc()
"""
NEMORUN = """
import json, sys, time, tempfile
from pathlib import Path
import nemo_run as run
kind, top = sys.argv[1], sys.argv[2]
pattern = run.PatternPackager(include_pattern=f"{top}/pkg*", relative_path=top)
packager = run.GitArchivePackager() if kind == "git" else pattern
with tempfile.TemporaryDirectory(dir=sys.argv[3]) as job:
    start = time.perf_counter()
    packager.package(Path(top), job, "code")
    print(json.dumps({"s": time.perf_counter() - start}))
"""


def make_tree(top: Path, files: int, total: int) -> None:
    """Write source-like text: compressible, all different, ten folders of a hundred files per package."""
    rng = random.Random(7)
    words = [bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(4000)]
    average = total // files
    base = b" ".join(rng.choices(words, k=average // 3 + 200_000))
    for i in range(files):
        folder = top / f"pkg{i // 1000:02d}" / f"mod{(i // 100) % 10}"
        if i % 100 == 0:
            folder.mkdir(parents=True, exist_ok=True)
        start, size = rng.randrange(0, len(base) - 2 * average), rng.randint(average // 2, average * 3 // 2)
        (folder / f"file_{i:05d}.py").write_bytes(b"# %d\n" % i + base[start : start + size])


def python(code: str, *args: object, executable: str = sys.executable, **env: str) -> dict[str, float]:
    done = subprocess.run(
        [executable, "-c", code, *map(str, args)], env=ENV | env, stdout=subprocess.PIPE, text=True, check=True
    )
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if lines else {}


def shell(command: str, cwd: Path) -> float:
    start = time.perf_counter()
    subprocess.run(command, shell=True, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def data_bytes(top: Path) -> tuple[int, int]:
    """Return the disk space of file contents (each inode once) and of folders, in bytes."""
    seen: set[int] = set()
    files = folders = 0
    for folder, _, names in os.walk(top):
        folders += os.lstat(folder).st_blocks * 512
        for name in names:
            st = os.lstat(os.path.join(folder, name))
            if st.st_ino not in seen:
                seen.add(st.st_ino)
                files += st.st_blocks * 512
    return files, folders


class Bench:
    """The measurements, in order; ``facts`` holds seconds, and bytes under names that end in ``bytes``."""

    def __init__(self, work: Path, args: argparse.Namespace) -> None:
        self.work = work
        self.args = args
        self.top = work / "tree"
        self.facts: dict[str, float] = {}
        ENV["RUNYARD_HOME"] = str(work / "home")

    def timed(self, name: str, runs: list[float]) -> float:
        self.facts[name] = statistics.median(runs)
        print(f"  {name}: {self.facts[name]:.3f} s  (of {', '.join(f'{r:.3f}' for r in runs)})", file=sys.stderr)
        return self.facts[name]

    def change(self) -> None:
        (self.top / "pkg00/mod0/file_00000.py").write_text(f"changed = {time.time_ns()}\n")

    def prepare(self) -> None:
        make_tree(self.top, self.args.files, self.args.bytes)
        for command in ("git init -q", "git add -A", "git -c user.name=b -c user.email=b@x commit -q -m bench"):
            shell(command, self.top)
        shell("sync; cat pkg*/*/* >/dev/null", self.top)

    def archives(self) -> None:
        out = self.work / "peer"
        out.mkdir()
        plain, packed = [], []
        for _ in range(self.args.repeat):
            plain.append(shell(f"git archive HEAD >{out}/a.tar", self.top))
        packed.append(shell(f"git archive HEAD | gzip -1 >{out}/a.tar.gz", self.top))
        self.timed("git archive", plain)
        self.timed("git archive + gzip -1", packed)
        self.facts["archive bytes"] = (out / "a.tar.gz").stat().st_size
        self.timed("git ls-files -s", [shell("git ls-files -s", self.top) for _ in range(self.args.repeat)])

    def nemorun(self) -> None:
        executable = os.environ.get("RUNYARD_BENCH_NEMORUN")
        for kind in ("git", "pattern") if executable else ():
            name = f"NeMo-Run {kind}"
            try:
                self.timed(name, [python(NEMORUN, kind, self.top, self.work, executable=str(executable))["s"]])
            except subprocess.CalledProcessError:
                print(f"  {name}: failed", file=sys.stderr)

    def snapshots(self) -> None:
        first, peaks = [], []
        for _ in range(self.args.repeat):
            shutil.rmtree(self.work / "home", ignore_errors=True)
            got = python(SNAPSHOT, self.top)
            first.append(got["s"])
            peaks.append(got["peak"])
        self.timed("first snapshot", first)
        self.facts["peak memory bytes"] = max(peaks)
        second = []
        for _ in range(self.args.repeat + 2):
            self.change()
            second.append(python(SNAPSHOT, self.top)["s"])
        self.timed("second snapshot", second)

    def rsync(self) -> None:
        if not shutil.which("rsync"):
            return
        target = self.work / "rsync"
        shell(f"rsync -a --exclude=.git ./ {target}/", self.top)
        runs = []
        for _ in range(self.args.repeat + 2):
            self.change()
            runs.append(shell(f"rsync -a --exclude=.git ./ {target}/", self.top))
        self.timed("rsync -a, one file changed", runs)
        shutil.rmtree(target)

    def transfer(self) -> None:
        target = self.work / "target"
        self.timed("first transfer, sh and tar", [python(PUSH, self.top, target, "e0")["s"]])
        self.change()
        second = python(PUSH, self.top, target, "e1")
        same = python(PUSH, self.top, target, "e2")
        self.facts |= {
            "second wire bytes": second["wire"],
            "second file bytes": second["sent"],
            "unchanged wire bytes": same["wire"],
        }
        self.timed("second transfer, one file changed", [second["s"]])
        self.timed("transfer of an unchanged tree", [same["s"]])
        shutil.rmtree(target)

    def materialise(self) -> None:
        out = self.work / "out"
        peers, ours = [], []
        tree = python(SNAPSHOT, self.top)["hash"]
        store = self.work / "store"
        python(MATERIALISE, tree, store, out / "warm")
        for n in range(self.args.repeat):
            (out / f"t{n}").mkdir()
            peers.append(shell(f"tar -xf {self.work}/peer/a.tar -C {out}/t{n}", self.top))
            shutil.rmtree(out / f"t{n}")
            ours.append(python(MATERIALISE, tree, store, out / f"m{n}")["s"])
        self.timed("tar -x", peers)
        self.timed("materialise, objects known", ours)
        shutil.rmtree(out)
        shutil.rmtree(store)

    def disk(self) -> None:
        shutil.rmtree(self.work / "home", ignore_errors=True)
        one = sum(data_bytes(p)[0] for p in self.top.glob("pkg*"))
        jobs = self.work / "home" / "jobs"
        python(LAUNCHES, self.top, jobs, self.args.launches)
        files, folders = data_bytes(self.work / "home")
        self.facts |= {"one copy bytes": one, "all launches bytes": files, "their folders bytes": folders}

    def table(self) -> str:
        f = self.facts
        archive = min(v for k, v in f.items() if k in ("git archive + gzip -1", "NeMo-Run git", "NeMo-Run pattern"))
        rows = [
            ("first snapshot / git archive", f["first snapshot"] / f["git archive"], "<= 1.5"),
            ("first snapshot, peak memory (MB)", f["peak memory bytes"] / 1e6, "< 150"),
            ("second snapshot (s)", f["second snapshot"], "<= 0.35"),
            ("fastest archive-based peer / second snapshot", archive / f["second snapshot"], ">= 50 (NeMo-Run)"),
            ("wire beyond the changed file (MB)", (f["second wire bytes"] - f["second file bytes"]) / 1e6, "<= 1.5"),
            ("wire, unchanged tree (kB)", f["unchanged wire bytes"] / 1e3, "<= 10"),
            ("materialise / tar -x", f["materialise, objects known"] / f["tar -x"], "<= 0.5"),
            (
                f"data of {self.args.launches} launches / one copy",
                f["all launches bytes"] / f["one copy bytes"],
                "<= 1.05",
            ),
            ("the same, with folders", (f["all launches bytes"] + f["their folders bytes"]) / f["one copy bytes"], ""),
        ]
        if "rsync -a, one file changed" in f:
            rows.append(("second snapshot / rsync", f["second snapshot"] / f["rsync -a, one file changed"], "<= 1.5"))
        lines = ["| what | measured | to reach |", "|---|---|---|"]
        lines += [f"| {what} | {value:.3g} | {goal} |" for what, value, goal in rows]
        lines += ["", "| figure | value |", "|---|---|"]
        lines += [f"| {k} | {v:,.0f} |" if k.endswith("bytes") else f"| {k} | {v:.3f} s |" for k, v in f.items()]
        return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=500_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--launches", type=int, default=50)
    parser.add_argument("--dir", type=Path, default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="runyard-bench-", dir=args.dir) as folder:
        bench = Bench(Path(folder), args)
        steps = ("prepare", "archives", "nemorun", "snapshots", "rsync", "transfer", "materialise", "disk")
        for step in steps:
            print(step, file=sys.stderr)
            getattr(bench, step)()
        print(bench.table())
        out = HERE / "results" / "packaging.json"
        out.parent.mkdir(exist_ok=True)
        out.write_text(json.dumps({"files": args.files, "bytes": args.bytes, "facts": bench.facts}, indent=1) + "\n")


if __name__ == "__main__":
    main()
