"""N echo containers: Runyard against a shell loop of ``docker run -d`` and ``docker wait`` on the same engine.

    python benchmarks/docker_echo.py [--count 20] [--repeats 5]

Starts an engine of its own (as root; see ``tests/helpers/docker_engine.py``), takes turns, throws the first turn away,
writes the medians of whole processes to ``benchmarks/results/docker.md`` and ``.json``, and ends with 1 when Runyard
needs more than 1.3 times the loop's seconds and half a second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from startup_and_local import Row, table, versions

HERE = Path(__file__).resolve().parent
LOOP = """
ids=
for i in $(seq "$1"); do ids="$ids $(docker run -d "$0" sh -c "echo $i")"; done
docker wait $ids
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5, help="turns of which the median counts (5)")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for the results")
    args = parser.parse_args()
    sys.path.insert(0, str(HERE.parent / "tests" / "helpers"))
    import docker_engine

    if why := docker_engine.missing():
        print(why, file=sys.stderr)
        return 2
    image, count = docker_engine.IMAGE, str(args.count)
    took: dict[str, list[float]] = {"loop": [], "runyard": []}
    load = f"{os.getloadavg()[0]:.1f}"
    with docker_engine.running(docker_engine.Engine) as engine, tempfile.TemporaryDirectory() as folder:
        engine.add_image()
        with engine.client_closing() as client:
            version = str(client.version()["Version"])
        commands = {
            "loop": ["sh", "-c", LOOP, image, count],
            "runyard": [sys.executable, str(HERE / "scripts" / "many_docker.py"), image, count],
        }
        for turn in range(args.repeats + 1):
            for name, command in commands.items():
                env = {**os.environ, **engine.env, "RUNYARD_HOME": f"{folder}/{name}-{turn}"}
                began = time.perf_counter()
                subprocess.run(command, env=env, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=300)
                if turn:
                    took[name].append(time.perf_counter() - began)
                engine.reset()
    loop, ours = (statistics.median(took[name]) for name in ("loop", "runyard"))
    limit = 1.3 * loop + 0.5
    row = Row(
        f"{args.count} `echo` containers, whole process",
        f"<= {limit:.2f} s (1.3 × bare + 0.5)",
        ours,
        "s",
        ours <= limit,
        loop,
        note="bare: a shell loop of `docker run -d`, and `docker wait`",
    )
    facts = versions() | {
        "Docker": version,
        "CPUs": str(os.cpu_count()),
        "turns": str(args.repeats),
        "load average (1 min)": f"{load} before, {os.getloadavg()[0]:.1f} after, its own work included",
    }
    facts.pop("peer", None)
    page = table("Docker", [row], facts)
    print(page)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "docker.md").write_text(page)
    results = {"facts": facts, "rows": [asdict(row)], "all": took}
    (args.out / "docker.json").write_text(json.dumps(results, indent=2) + "\n")
    return int(not row.met)


if __name__ == "__main__":
    sys.exit(main())
