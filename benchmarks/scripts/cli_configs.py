"""An entrypoint whose defaults are Configs, made by a factory when the script is imported."""

from dataclasses import dataclass

import runyard as run


@dataclass
class Model:
    """A model's sizes."""

    hidden: int = 256
    layers: int = 3


@run.cli.factory
@run.autoconvert
def my_model(hidden: int = 512) -> Model:
    """A model."""
    return Model(hidden=hidden)


@run.cli.factory
@run.autoconvert
def here() -> run.LocalExecutor:
    """This machine."""
    return run.LocalExecutor()


START = my_model()


@run.cli.entrypoint
def train(model: Model = START, epochs: int = 10, lr: float = 0.1) -> None:
    """Train it."""


if __name__ == "__main__":
    run.cli.main(train)
