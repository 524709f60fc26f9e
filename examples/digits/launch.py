"""Launch the digits experiment: prepare, train four networks in parallel, compare them.

Run it with ``python examples/digits/launch.py``. Another executor, for example a Slurm
cluster's, would run the same graph there: nothing else in this file would change, except that
``OUT`` would name a folder that the cluster's machines share.
"""

from pathlib import Path

import runyard as run
from digits import compare, prepare, train

OUT = Path("demo-output").resolve()
NETWORKS = {"linear": (), "narrow": (16,), "wide": (256,), "deep": (64, 64, 64)}


def main() -> None:
    executor = run.LocalExecutor(env_vars={"OMP_NUM_THREADS": "1"})  # four trainings share the cores

    with run.Experiment("digits", executor=executor) as exp:
        data = exp.add(run.Partial(prepare, out=OUT), name="prepare")
        trained = [
            exp.add(run.Partial(train, out=OUT, name=name, hidden=hidden), name=name, dependencies=[data])
            for name, hidden in NETWORKS.items()
        ]
        exp.add(run.Partial(compare, out=OUT, names=list(NETWORKS)), name="compare", dependencies=trained)
        exp.run(tail_logs=True)

    print(f"The plot is in {OUT / 'digits.png'}")


if __name__ == "__main__":
    main()
