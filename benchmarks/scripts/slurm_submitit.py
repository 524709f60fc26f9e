"""The peer's job array of N equal tasks: slurm_submitit.py N PARTITION."""

import os
import sys

import submitit

if __name__ == "__main__":
    executor = submitit.AutoExecutor(folder="submitit", cluster="slurm")
    executor.update_parameters(timeout_min=10, slurm_partition=sys.argv[2], slurm_array_parallelism=int(sys.argv[1]))
    executor.map_array(os.path.basename, [f"/task/{n}" for n in range(int(sys.argv[1]))])
    os._exit(0)  # its jobs wait in a partition that is down
