"""An entrypoint whose arguments are plain."""

from dataclasses import dataclass

import runyard as run


@dataclass
class Model:
    """A model's sizes."""

    hidden: int = 256
    layers: int = 3


@run.cli.factory
def small() -> Model:
    """A small model."""
    return Model(hidden=8)


@run.cli.entrypoint
def train(model: Model, epochs: int = 10, lr: float = 0.1, note: str | None = None) -> None:
    """Train it."""


if __name__ == "__main__":
    run.cli.main(train)
