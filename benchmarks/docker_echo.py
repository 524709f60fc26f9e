"""N echo containers: Runyard against a shell loop of ``docker run -d`` and ``docker wait`` on the same engine.

    python benchmarks/docker_echo.py [--count 20] [--repeat 3]

Starts an engine of its own (as root; see ``tests/helpers/docker_engine.py``), takes turns, throws the first turn away,
prints the medians of whole processes as JSON, and ends with 1 when Runyard needs more than 1.3 times the loop's seconds
and half a second.
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
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOOP = """
ids=
for i in $(seq "$1"); do ids="$ids $(docker run -d "$0" sh -c "echo $i")"; done
docker wait $ids
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    sys.path.insert(0, str(HERE.parent / "tests" / "helpers"))
    import docker_engine

    if why := docker_engine.missing():
        print(why, file=sys.stderr)
        return 2
    image, count = docker_engine.IMAGE, str(args.count)
    took: dict[str, list[float]] = {"loop": [], "runyard": []}
    with docker_engine.running() as engine, tempfile.TemporaryDirectory() as folder:
        engine.add_image()
        commands = {
            "loop": ["sh", "-c", LOOP, image, count],
            "runyard": [sys.executable, str(HERE / "scripts" / "many_docker.py"), image, count],
        }
        for turn in range(args.repeat + 1):
            for name, command in commands.items():
                env = {**os.environ, **engine.env, "RUNYARD_HOME": f"{folder}/{name}-{turn}"}
                began = time.perf_counter()
                subprocess.run(command, env=env, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=300)
                if turn:
                    took[name].append(time.perf_counter() - began)
                engine.reset()
    loop, ours = (statistics.median(took[name]) for name in ("loop", "runyard"))
    limit = 1.3 * loop + 0.5
    print(json.dumps({"count": args.count, "loop_s": loop, "runyard_s": ours, "limit_s": limit, "all": took}, indent=1))
    return int(ours > limit)


if __name__ == "__main__":
    sys.exit(main())
