"""An experiment of N Slurm jobs: slurm_tasks.py CONFIG, a JSON file with what is said below.

``count``, ``line`` (what each task runs), ``different`` (requests that no job array can hold), ``run`` (``attached``,
``detached``: return at once, ``submitted``: return when Slurm has all jobs), ``executor`` (its fields), and ``tunnel``
(arguments of an ``SSHTunnel``, or nothing).
"""

import json
import sys
import time
from pathlib import Path

import runyard as run
from runyard.store import records
from runyard.store.db import Database

if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    count, line, how = asked["count"], asked["line"], asked["run"]
    tunnel = run.SSHTunnel(**asked["tunnel"]) if asked["tunnel"] else None
    fields = {"tunnel": tunnel, **asked["executor"]}
    exp = run.Experiment("many", run.SlurmExecutor(**fields), skip_status_at_exit=True)
    for n in range(count):
        executor = run.SlurmExecutor(**fields, comment=f"number {n}") if asked["different"] else None
        exp.add(run.Script(inline=line), name=f"task-{n}", executor=executor)
    exp.run(detach=how != "attached")
    if how == "submitted":
        with Database(exp.home) as db:
            version = -1
            while True:
                if (now := db.version()) != version:
                    version = now
                    rows = records.jobs(db, exp.id)
                    if all(r.handle for r in rows):
                        break
                    if any(r.status.state.ended for r in rows):
                        raise SystemExit(f"not submitted: {[r.status.reason for r in rows if r.status.reason][:1]}")
                time.sleep(0.01)
