"""What a script's command line costs: ``--help``, beyond importing the script.

    python benchmarks/cli.py [--repeats 15] [--out benchmarks/results]

Prints a Markdown table and writes ``benchmarks/results/cli.md`` and ``.json``. Every repeat is a whole process in a
fresh home, off the network; the median counts, and the first is thrown away. Two scripts are measured: one that names
its arguments' types only, and one whose defaults are Configs, so that its own import already loads Fiddle.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from measure import Place, median

HERE = Path(__file__).parent
OURS = Path(sys.executable)
LIMIT = 150.0
SCRIPTS = {"plain": "cli_plain.py", "with Configs as defaults": "cli_configs.py"}


@dataclass
class Row:
    """One line of the table, in milliseconds; ``measured`` is over ``bare``, the same script only imported."""

    what: str
    target: str
    measured: float
    bare: float
    met: bool

    def markdown(self) -> str:
        """Return the row as a line of a Markdown table."""
        met = "yes" if self.met else "**no**"
        return f"| {self.what} | {self.target} | {self.measured:.0f} ms | {self.bare:.0f} ms | {met} |"


def timed(repeats: int, *command: str) -> float:
    """Return the median milliseconds of a command, each repeat in a home of its own."""

    def once() -> float:
        place = Place(OURS)
        try:
            return 1000 * place.wall([str(OURS), *command])
        finally:
            shutil.rmtree(place.folder, ignore_errors=True)

    return median(once, repeats)


def rows(repeats: int) -> list[Row]:
    """Measure each script: imported only, and with its help."""
    found = []
    for kind, file in SCRIPTS.items():
        script = str(HERE / "scripts" / file)
        bare = timed(repeats, "-c", f"import runpy; runpy.run_path({script!r})")
        shown = timed(repeats, script, "--help") - bare
        found.append(Row(f"`--help` of a script, {kind}", f"<= {LIMIT:.0f} ms", shown, bare, shown <= LIMIT))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="repeats of which the median counts (15)")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for the results")
    args = parser.parse_args()

    measured = rows(args.repeats)
    facts = {
        "Python": platform.python_version(),
        "system": platform.platform(terse=True),
        "date": time.strftime("%Y-%m-%d"),
    }
    lines = ["# Entrypoints", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += ["| what | target | over importing the script | importing it | met |", "|---|---|---|---|---|"]
    page = "\n".join([*lines, *(row.markdown() for row in measured)]) + "\n"
    print(page)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "cli.md").write_text(page)
    data = {"facts": facts, "rows": [asdict(row) for row in measured]}
    (args.out / "cli.json").write_text(json.dumps(data, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
