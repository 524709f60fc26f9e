"""An experiment of N echo tasks: many.py LIBRARY N [AT_ONCE]."""

import importlib
import sys

run = importlib.import_module(sys.argv[1])
count = int(sys.argv[2])
limit = {"max_parallel": int(sys.argv[3])} if len(sys.argv) > 3 else {}

if __name__ == "__main__":
    with run.Experiment("many", executor=run.LocalExecutor(**limit)) as exp:
        for n in range(count):
            exp.add(run.Script(inline=f"echo {n}"), name=f"echo-{n}")
        exp.run()
