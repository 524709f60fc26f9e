"""Ask once about all jobs of an experiment, on a connection that is open: slurm_observe.py CONFIG EXPERIMENT.

Prints JSON: seconds of each call, scripts that each sent, and how many jobs it told of.
"""

import json
import sys
import time
from pathlib import Path

import runyard as run
from runyard import executors
from runyard.backends.base import Handle, Job
from runyard.backends.registry import backend_class
from runyard.home import runyard_home
from runyard.store import records
from runyard.store.db import Database

if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    tunnel = run.SSHTunnel(**asked["tunnel"]) if asked["tunnel"] else run.LocalTunnel()
    with Database(runyard_home()) as db:
        rows = records.jobs(db, records.resolve(db, sys.argv[2]))
    executor = executors.from_dict(Job.from_json(rows[0].spec).components[0].executor)
    backend = backend_class(executor).connect(executor, str(runyard_home()))
    handles = [Handle(*r.handle) for r in rows if r.handle]
    tunnel.connect()
    session = tunnel.shell().session
    assert session is not None
    seconds, scripts, told = [], [], 0
    for _ in range(5):
        before, began = session.asked, time.perf_counter()
        told = len(backend.observe(handles))
        seconds.append(time.perf_counter() - began)
        scripts.append(session.asked - before)
    print(json.dumps({"seconds": seconds, "scripts": scripts, "jobs": told}))
