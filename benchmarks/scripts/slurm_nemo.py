"""The peer's experiment of N different Slurm jobs over ssh, detached: slurm_nemo.py TUNNEL N, its arguments as JSON."""

import json
import sys

import nemo_run as run

if __name__ == "__main__":
    tunnel = run.SSHTunnel(**json.loads(sys.argv[1]))
    fields = {"tunnel": tunnel, "account": "none", "partition": "down", "time": "01:00:00"}
    with run.Experiment("many", skip_status_at_exit=True) as exp:
        for n in range(int(sys.argv[2])):
            executor = run.SlurmExecutor(
                **fields, packager=run.GitArchivePackager(), additional_parameters={"comment": f"number {n}"}
            )
            exp.add(run.Script(inline="true"), executor=executor, name=f"task-{n}")
        exp.run(detach=True)
