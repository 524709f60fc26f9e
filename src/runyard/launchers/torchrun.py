"""``torchrun``: PyTorch's own elastic launcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from runyard.launchers.base import Launcher, Placement, Program
from runyard.shell import Raw


@dataclass(kw_only=True)
class Torchrun(Launcher):
    """Run a task as one process per slot with ``python -m torch.distributed.run``.

    Args:
        rdzv_backend: Rendezvous backend.
        rdzv_port: Port of the rendezvous on the first node. On one node a free port is taken
            instead, so that several tasks can share the machine.
        rdzv_id: Name of the rendezvous; default: the job's own.

    Example:
        >>> from runyard.launchers.base import Placement, Program
        >>> program = Program("file", ("python3", "-u"), ("train.py", "--lr", "1"))
        >>> words = Torchrun().wrap(program, Placement(nproc_per_node=2, job="j"))
        >>> words[:3], words[-3:]
        (('python3', '-m', 'torch.distributed.run'), ('train.py', '--lr', '1'))

    Source: PyTorch's documentation of ``torch.distributed.run``.
    """

    kind: ClassVar[str] = "torchrun"

    rdzv_backend: str = "c10d"
    rdzv_port: int = 29500
    rdzv_id: int | str | None = None

    def launch(self, program: Program, place: Placement) -> tuple[str, ...]:
        """Return ``python -m torch.distributed.run …`` in front of the program."""
        return (place.python, "-m", "torch.distributed.run", *self.options(place), *target(program))

    def options(self, place: Placement) -> tuple[str, ...]:
        """Return the rendezvous and size options."""
        port = 0 if place.nnodes == 1 else self.rdzv_port
        words = [
            f"--rdzv-backend={self.rdzv_backend}",
            _join("--rdzv-endpoint=", place.head, f":{port}"),
            f"--rdzv-id={self.rdzv_id if self.rdzv_id is not None else place.job}",
            f"--nnodes={place.nnodes}",
            f"--nproc-per-node={place.nproc_per_node}",
        ]
        if place.nnodes > 1:
            words.append(_join("--node-rank=", place.node_rank, ""))
        return tuple(words)


def target(program: Program) -> tuple[str, ...]:
    """Return the program's words in the form that ``torchrun`` and ``ft_launcher`` expect."""
    if program.kind == "file":
        return program.args
    if program.kind == "module":
        return ("-m", *program.args)
    return ("--no-python", *program.argv())


def _join(before: str, word: str, after: str) -> str:
    text = f"{before}{word}{after}"
    return Raw(text) if isinstance(word, Raw) else text
