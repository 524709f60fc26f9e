"""Functions and classes that overrides are applied to."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

from pydantic import Field


class Act(enum.Enum):
    RELU = "relu"
    GELU = "gelu"


@dataclass
class Layer:
    size: int
    act: Act = Act.RELU


@dataclass
class Model:
    hidden: int = 256
    layers: list[Layer] = field(default_factory=lambda: [Layer(1), Layer(2)])
    name: str = "m"
    best: Layer | None = None


@dataclass
class Big(Model):
    experts: int = 8


class Plain:
    """A class that only its constructor knows."""

    def __init__(self, rate: float, model: Model | None = None) -> None:
        self.rate, self.model = rate, model


def scale(x: float) -> float:
    return x


def train(
    model: Model,
    plain: Plain | None = None,
    epochs: int = 10,
    lr: float = 0.1,
    tag: str = "t",
    note: Optional[str] = None,  # noqa: UP045 - as people write it
    fast: bool = False,
    out: Path = Path("out"),
    mode: Literal["a", "b", 3] = "a",
    act: Act = Act.RELU,
    betas: Sequence[float] = (0.9, 0.999),
    pair: tuple[int, str] = (1, "x"),
    tags: set[str] = frozenset(),  # type: ignore[assignment]
    limits: dict[str, int] = {},  # noqa: B006
    env: Mapping[str, Any] | None = None,
    fn: Callable[[float], float] = scale,
    kind: type[Model] = Model,
    size: int | str = 1,
    ratio: Annotated[float, Field(ge=0, le=1)] = 0.5,
    anything: Any = None,
    unknown: NoSuchType = None,  # type: ignore[name-defined]  # noqa: F821
    untyped=None,
    notes: dict[str, int] | None = None,
    span: tuple[int, str] | None = None,
) -> None:
    """Take one of everything."""
