"""Start-up and local runs, measured in one go against a peer (``nemo_run``) and bare Python.

``make bench`` runs it. The results are written to ``benchmarks/results/startup_and_local.md`` and ``.json``.
``ARGS="--only list --repeats 3"`` measures a part.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from measure import Place, median

HERE = Path(__file__).parent
SCRIPTS = HERE / "scripts"
OURS = Path(sys.executable)
PEER = HERE / ".venv-peers" / "bin" / "python"
IMPORT = "from {} import Experiment, Script, LocalExecutor"


@dataclass
class Row:
    """One line of the table: what was asked for, and what was seen."""

    what: str
    target: str
    measured: float
    unit: str
    met: bool
    bare: float | None = None
    peer: float | None = None
    note: str = ""

    def markdown(self) -> str:
        """Return the row as a line of a Markdown table."""
        ratio = f"{self.peer / self.measured:.1f}" if self.peer and self.measured > 0 else "–"
        cells = [self.what + (f" ({self.note})" if self.note else ""), self.target, self._show(self.measured)]
        cells += [self._show(self.bare), self._show(self.peer), ratio, "yes" if self.met else "**no**"]
        return f"| {' | '.join(cells)} |"

    def _show(self, value: float | None) -> str:
        if value is None:
            return "–"
        digits = 0 if self.unit in ("modules", "threads", "MB", "ms") and abs(value) >= 10 else 2
        return f"{value:.{digits}f} {self.unit}".strip()


class Bench:
    """The measurements. Each method yields rows; each makes its own fresh homes."""

    def __init__(self, repeats: int, peer: bool) -> None:
        self.repeats = repeats
        self.peer = peer
        self._homes: list[Place] = []

    def place(self, python: Path = OURS) -> Place:
        """Return a fresh home."""
        self._homes.append(Place(python))
        return self._homes[-1]

    def clean(self) -> None:
        """Remove the homes."""
        for place in self._homes:
            shutil.rmtree(place.folder, ignore_errors=True)

    def timed(self, python: Path, *command: str, repeats: int | None = None, timeout: float = 300) -> float:
        """Return the median wall time of a command, each repeat in a home of its own."""
        return median(lambda: self.place(python).wall(command, timeout), repeats or self.repeats)

    def theirs(self, measure: Callable[[], float]) -> float | None:
        """Return what the peer needs, or None where it is left out or cannot do it."""
        if not self.peer:
            return None
        try:
            return measure()
        except RuntimeError as problem:
            print(f"  the peer did not manage: {problem}", file=sys.stderr)
            return None

    def imports(self) -> list[Row]:
        """Importing three names: time over bare Python, and modules over bare Python."""

        def took(python: Path, code: str) -> float:
            return 1000 * self.timed(python, str(python), "-c", code, repeats=3 * self.repeats)

        def modules(python: Path, library: str) -> float:
            code = f"import sys; n = len(sys.modules); {IMPORT.format(library)}; print(len(sys.modules) - n)"
            env = self.place(python).env()
            return float(
                subprocess.run([python, "-c", code], capture_output=True, env=env, check=True).stdout.split()[-1]
            )

        bare = took(OURS, "pass")
        ours = took(OURS, IMPORT.format("runyard")) - bare
        peer = self.theirs(lambda: took(PEER, IMPORT.format("nemo_run")) - took(PEER, "pass"))
        count = modules(OURS, "runyard")
        peer_count = self.theirs(lambda: modules(PEER, "nemo_run"))
        what = "`from runyard import Experiment, Script, LocalExecutor`, over bare Python"
        return [
            Row(what, "<= 60 ms", ours, "ms", ours <= 60, bare, peer),
            Row("the same, in modules", "<= 150", count, "modules", count <= 150, None, peer_count),
        ]

    def help(self) -> list[Row]:
        """The command's help."""
        ours = 1000 * self.timed(OURS, str(OURS.with_name("runyard")), "--help")
        peer = self.theirs(lambda: 1000 * self.timed(PEER, str(PEER.with_name("nemo")), "--help"))
        return [Row("`runyard --help`", "<= 150 ms", ours, "ms", ours <= 150, None, peer)]

    def echo(self) -> list[Row]:
        """One echo through ``run.run``, the whole process."""
        bare = self.timed(OURS, "bash", "-c", "echo hi")
        rows = []
        for kind, limit in (("script", 0.30), ("partial", 0.60)):
            ours = self.timed(OURS, str(OURS), str(SCRIPTS / "echo.py"), "runyard", kind)
            command = (str(PEER), str(SCRIPTS / "echo.py"), "nemo_run", kind)
            peer = self.theirs(lambda command=command: self.timed(PEER, *command, timeout=60))
            rows.append(
                Row(
                    f"one `echo` as a {kind}, whole process",
                    f"<= {limit} s",
                    ours,
                    "s",
                    ours <= limit,
                    bare,
                    peer,
                )
            )
        return rows

    def many(self) -> list[Row]:
        """200 tasks with each library's own limit on what runs at once; threads must not grow with N."""
        ours = (str(OURS), str(SCRIPTS / "many.py"), "runyard")
        theirs = (str(PEER), str(SCRIPTS / "many.py"), "nemo_run")
        bare = self.timed(OURS, str(OURS), str(SCRIPTS / "bare_loop.py"), "200", "8")
        wall = self.timed(OURS, *ours, "200")
        peer_wall = self.theirs(lambda: self.timed(PEER, *theirs, "200", repeats=1, timeout=120))
        few, threads = (self.place().usage([*ours, n]).threads for n in ("20", "200"))
        peer_threads = self.theirs(lambda: self.place(PEER).usage([*theirs, "200"], 120).threads)
        return [
            Row("200 `echo` tasks, whole process", "<= 1.5 s", wall, "s", wall <= 1.5, bare, peer_wall),
            Row(
                "the same, threads of the busiest process",
                "constant in N",
                threads,
                "threads",
                threads <= few,
                None,
                peer_threads,
                f"{few} with 20 tasks",
            ),
        ]

    def thousands(self) -> list[Row]:
        """2,000 tasks, 8 at a time: overhead a task over a bare loop, and memory."""
        ours = (str(OURS), str(SCRIPTS / "many.py"), "runyard", "2000", "8")
        bare = self.timed(OURS, str(OURS), str(SCRIPTS / "bare_loop.py"), "2000", "8", repeats=1)
        overhead = 1000 * (self.timed(OURS, *ours, repeats=1) - bare) / 2000
        memory = self.place().usage(ours).rss_mb
        return [
            Row(
                "2,000 tasks, 8 at a time: overhead a task",
                "<= 8 ms",
                overhead,
                "ms",
                overhead <= 8,
                bare / 2,
            ),
            Row("the same, memory of launcher and controller", "< 150 MB", memory, "MB", memory < 150),
        ]

    def history(self) -> list[Row]:
        """An experiment of 50 tasks in an empty home, and in one with 1,000 jobs of real history."""

        def growth(python: Path, library: str, batches: int) -> tuple[float, float]:
            run = (str(python), str(SCRIPTS / "many.py"), library)
            fresh = self.timed(python, *run, "50", repeats=3)
            old = self.place(python)
            for _ in range(batches):
                old.wall([*run, str(1000 // batches)], timeout=120)
            return fresh, median(lambda: old.wall([*run, "50"], timeout=120), 3)

        fresh, later = growth(OURS, "runyard", 5)
        peer = self.theirs(lambda: (lambda pair: pair[1] / pair[0])(growth(PEER, "nemo_run", 20)))
        ratio = later / fresh
        note = f"{fresh:.2f} s, then {later:.2f} s"
        row = Row(
            "50 tasks after 1,000 jobs of history, over none",
            "no growth",
            ratio,
            "×",
            ratio <= 1.1,
            None,
            peer,
            note,
        )
        return [row]

    def listing(self) -> list[Row]:
        """``runyard experiment list`` with 10,000 recorded experiments."""
        place = self.place()
        record_experiments(place, 10_000)
        command = [str(OURS.with_name("runyard")), "experiment", "list"]
        ours = median(lambda: place.wall(command), self.repeats)
        return [Row("`experiment list` with 10,000 recorded", "<= 0.3 s", ours, "s", ours <= 0.3)]


def record_experiments(place: Place, count: int) -> None:
    """Fill a home with ended experiments of four jobs each, through the store."""
    from runyard.states import JobState, Status
    from runyard.store import records
    from runyard.store.db import Database

    names = ("prepare", "train-0", "train-1", "compare")
    now = time.time()
    with Database(Path(place.env()["RUNYARD_HOME"])) as db:
        for n in range(count):
            title, began = f"study-{n % 50}", now - 60.0 * (count - n)
            id = f"{title}_{int(began)}"
            jobs = [(name, {"name": name}, {}, "") for name in names]
            records.create(
                db, id=id, title=title, created=began, folder=f"experiments/{title}/{id}", facts={}, jobs=jobs
            )
            ended = Status(JobState.SUCCEEDED, exit_code=0, started=began, ended=began + 30)
            records.apply(db, id, 0, [records.Change(name, ended) for name in names], now=began + 30)


PARTS = ("imports", "help", "echo", "many", "thousands", "history", "listing")


def table(title: str, rows: list[Row], facts: dict[str, str]) -> str:
    """Return the results as a page."""
    lines = [f"# {title}", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += [
        "",
        "| what | target | Runyard | bare | peer | peer / Runyard | met |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [row.markdown() for row in rows]
    return "\n".join(lines) + "\n"


def versions() -> dict[str, str]:
    """Return what was measured on what."""

    def of(python: Path, package: str) -> str:
        code = f"from importlib.metadata import version; print(version({package!r}))"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        return done.stdout.strip() or "not installed"

    facts = {
        "Runyard": of(OURS, "runyard"),
        "Python": platform.python_version(),
        "system": platform.platform(terse=True),
    }
    if PEER.exists():
        facts["peer"] = f"nemo_run {of(PEER, 'nemo_run')}, leptonai {of(PEER, 'leptonai')}"
    facts["date"] = time.strftime("%Y-%m-%d")
    return facts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these parts")
    parser.add_argument("--repeats", type=int, default=5, help="repeats of which the median counts (5)")
    parser.add_argument("--no-peer", action="store_true", help="measure Runyard and bare Python only")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for the results")
    args = parser.parse_args()

    bench = Bench(args.repeats, peer=not args.no_peer and PEER.exists())
    rows: list[Row] = []
    try:
        for part in args.only:
            print(f"{part} …", file=sys.stderr, flush=True)
            rows += getattr(bench, part)()
    finally:
        bench.clean()

    facts = versions()
    page = table("Start-up and local runs", rows, facts)
    print(page)
    args.out.mkdir(parents=True, exist_ok=True)
    name = "startup_and_local" if tuple(args.only) == PARTS else "partial"
    (args.out / f"{name}.md").write_text(page)
    (args.out / f"{name}.json").write_text(
        json.dumps({"facts": facts, "rows": [asdict(r) for r in rows]}, indent=2) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
