"""An experiment of N echo tasks in containers: many_docker.py IMAGE N."""

import sys

import runyard as run

if __name__ == "__main__":
    executor = run.DockerExecutor(container_image=sys.argv[1], packager=run.Packager(), max_parallel=1000)
    with run.Experiment("many", executor=executor) as exp:
        for n in range(int(sys.argv[2])):
            exp.add(run.Script(inline=f"echo {n}"), name=f"echo-{n}")
        exp.run()
