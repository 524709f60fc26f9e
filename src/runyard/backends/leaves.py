"""What a backend offers besides, whose jobs may leave something on this machine that the records know not of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable


class Leftover(NamedTuple):
    """What a scheduler holds of one job.

    Args:
        experiment: Id of its experiment.
        name: What the scheduler calls the job.
        what: What there is, in words.
        live: Something of it runs.
    """

    experiment: str
    name: str
    what: list[str]
    live: bool


@runtime_checkable
class Leaves(Protocol):
    """A class of backends that finds and removes what is left."""

    @staticmethod
    def leftovers(folder_of: Callable[[str, str], str], /) -> list[Leftover]:
        """Return what there is of the experiments of one home.

        Args:
            folder_of: Gives the folder of an experiment's task there.
        """
        ...

    @staticmethod
    def remove_leftover(name: str, /) -> None:
        """Remove what there is of one job."""
        ...
