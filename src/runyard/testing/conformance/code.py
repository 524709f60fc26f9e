"""Tasks that are Python functions."""

from __future__ import annotations

import hashlib

from runyard.testing.conformance.harness import Harness, Scenario
from runyard.testing.conformance.ledger import none_on_disk, secrets_go

_SHAPES = """
import enum
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


class Kind(enum.Enum):
    SMALL = "small"


@dataclass
class Schedule:
    warmup: int
    decay: float


class Optimizer:
    def __init__(self, lr, betas=(0.9, 0.95)):
        self.lr, self.betas = lr, betas


class Model:
    def __init__(self, layers, optimizer, kind):
        self.layers, self.optimizer, self.kind = layers, optimizer, kind


def train(model, optimizer, data, schedule, tags=(), logins=()):
    assert model.optimizer is optimizer, "a shared node became two"
    assert isinstance(data, Path) and isinstance(schedule, Schedule) and isinstance(tags, tuple)
    print(model.layers, optimizer.lr, optimizer.betas, model.kind, data, schedule.warmup, tags)
    for login in logins:
        print(login, hashlib.sha256(login["api_key"].encode()).hexdigest())
    assert not [name for name in os.environ if name.startswith("RUNYARD_ARG_")]
"""

_IMPORTED = """
import os
import runyard as run
import shapes

if __name__ == "__main__":
    optimizer = run.Config(shapes.Optimizer, lr=0.5)
    model = run.Config(shapes.Model, layers=3, optimizer=optimizer, kind=shapes.Kind.SMALL)
    task = run.Partial(
        shapes.train, model=model, optimizer=optimizer, data=shapes.Path("/data/é x"),
        schedule=shapes.Schedule(5, 0.1), tags=("a", "b"),
        logins=[{"api_key": os.environ["TYPED"]}, {"api_key": run.Secret("TAKEN")}],
    )
    run.run(task, executor=EXECUTOR, name="trains")
"""

_MAIN = """
import runyard as run

def greet(name, times=1):
    for _ in range(times):
        print("hello", name)

if __name__ == "__main__":
    run.run(run.Partial(greet, name="world", times=2), executor=EXECUTOR, name="greets")
"""

_RAISES = """
import runyard as run

def fail():
    raise ValueError("the data is wrong")

run.run(fail, executor=EXECUTOR, name="fails")
"""


def function_of_a_module(h: Harness) -> None:
    """A function runs as it was configured: nested objects, a shared node, path, enum, dataclass, tuples, secrets.

    The secrets among its arguments are in its hands, and in no log, record or file afterwards.
    """
    (h.work / "shapes.py").write_text(_SHAPES)
    secrets = {"TYPED": "typed-for conformance", "TAKEN": "taken-from_here-47é"}
    done = h.launching(_IMPORTED, **secrets)
    assert done.returncode == 0, done.stdout
    assert "3 0.5 (0.9, 0.95) Kind.SMALL /data/é x 5 ('a', 'b')" in done.stdout
    for value in secrets.values():
        assert f"{{'api_key': '***'}} {hashlib.sha256(value.encode()).hexdigest()}" in done.stdout
        assert value not in done.stdout
    secrets_go(h)
    none_on_disk(h, secrets.values())


def function_of_the_launching_script(h: Harness) -> None:
    """A function that is defined in the script that launches it runs, and does not launch again."""
    done = h.launching(_MAIN)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("hello world") == 2, done.stdout


def function_that_raises(h: Harness) -> None:
    """An exception ends the task with 1, its traceback is in the log, and the launching script fails like it.

    The script launches at its top level: loaded inside the job, it must not launch itself again.
    """
    done = h.launching(_RAISES)
    assert done.returncode == 1, done.stdout
    assert "ValueError: the data is wrong" in done.stdout
    assert len(list(h.home.glob("experiments/*/*/experiment.yaml"))) == 1


SCENARIOS: dict[str, Scenario] = {
    f.__name__: f for f in (function_of_a_module, function_of_the_launching_script, function_that_raises)
}
