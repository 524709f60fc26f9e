"""What a launcher is: a rewrite of one command into another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from runyard.shell import Raw, from_json_word, to_json_word


@dataclass(frozen=True)
class Program:
    """A command, split so that a launcher can put itself in front.

    Args:
        kind: ``file`` (a Python file), ``module`` (``python -m``), or ``command`` (anything else).
        interpreter: The Python that runs a file or module, with its options; empty for a command.
        args: The file or module and its arguments; or the whole command.
    """

    kind: str
    interpreter: tuple[str, ...]
    args: tuple[str, ...]

    def argv(self) -> tuple[str, ...]:
        """Return the command without any launcher."""
        flag = ("-m",) if self.kind == "module" else ()
        return (*self.interpreter, *flag, *self.args)

    def to_json(self) -> dict[str, Any]:
        """Return the program as plain JSON."""
        return {
            "kind": self.kind,
            "interpreter": [to_json_word(w) for w in self.interpreter],
            "args": [to_json_word(w) for w in self.args],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Program:
        """Undo :meth:`to_json`."""
        return cls(
            data["kind"],
            tuple(map(from_json_word, data["interpreter"])),
            tuple(map(from_json_word, data["args"])),
        )


@dataclass(frozen=True)
class Placement:
    """Where the processes of a task stand, as words for the job's shell.

    Args:
        nnodes: Number of nodes.
        nproc_per_node: Processes that the launcher starts on each node.
        head: Address of the first node (may be :class:`~runyard.shell.Raw`).
        node_rank: Rank of this node (may be raw).
        python: Interpreter that runs launchers written in Python.
        job: Unique name of the job, for rendezvous ids.
    """

    nnodes: int = 1
    nproc_per_node: int = 1
    head: str = "127.0.0.1"
    node_rank: str = "0"
    python: str = "python3"
    job: str = "runyard"


@dataclass(kw_only=True)
class Launcher:
    """Base of launchers: by itself it only adds Nsight Systems profiling, where asked for.

    Args:
        nsys_profile: Run the task under ``nsys profile``.
        nsys_folder: Folder of the reports, relative to the attempt's output folder.
        nsys_filename: Name of a report; ``%p`` is the process id.
        nsys_trace: What to trace.
        nsys_extra_args: Further arguments of ``nsys profile``.
        nsys_gpu_metrics: Sample GPU metrics on all devices.

    Source: the ``nsys profile`` options of NVIDIA Nsight Systems' user guide.
    """

    kind: ClassVar[str] = "default"

    nsys_profile: bool = False
    nsys_folder: str = "nsys_profile"
    nsys_filename: str = "profile_%p"
    nsys_trace: list[str] = field(default_factory=lambda: ["nvtx", "cuda"])
    nsys_extra_args: list[str] = field(
        default_factory=lambda: [
            "--force-overwrite=true",
            "--capture-range=cudaProfilerApi",
            "--capture-range-end=stop",
            "--cuda-graph-trace=node",
        ]
    )
    nsys_gpu_metrics: bool = False

    def wrap(self, program: Program, place: Placement) -> tuple[str, ...]:
        """Return the command to run. Pure: no I/O.

        Args:
            program: What the task itself would run.
            place: Where its processes stand.
        """
        return (*self.profiler(), *self.launch(program, place))

    def launch(self, program: Program, place: Placement) -> tuple[str, ...]:
        """Return the command without the profiler; launchers override this."""
        del place
        return program.argv()

    def environment(self) -> dict[str, str]:
        """Return variables that the launcher and the task agree on."""
        return {}

    def profiler(self) -> tuple[str, ...]:
        """Return the words of ``nsys profile``, or nothing."""
        if not self.nsys_profile:
            return ()
        folder = f"$RUNYARD_OUTPUT_DIR/{self.nsys_folder}/{self.nsys_filename}"
        words: list[str] = [
            "nsys",
            "profile",
            "-s",
            "none",
            "-t",
            ",".join(self.nsys_trace),
            "-o",
            Raw(folder),
        ]
        words += self.nsys_extra_args
        if self.nsys_gpu_metrics:
            words.append("--gpu-metrics-device=all")
        return tuple(words)

    def to_dict(self) -> dict[str, Any]:
        """Return kind and fields as plain JSON."""
        return {"kind": self.kind} | {f.name: getattr(self, f.name) for f in fields(self)}
