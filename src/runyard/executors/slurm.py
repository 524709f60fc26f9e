"""Run tasks as jobs of a Slurm cluster."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, ClassVar, Self

from runyard.errors import ConfigError
from runyard.executors.base import Executor
from runyard.executors.duration import seconds
from runyard.packagers import GitArchivePackager
from runyard.packagers.base import Packager
from runyard.shell import from_json_word, to_json_word
from runyard.tunnels import LocalTunnel, Result, Tunnel

__all__ = ["SlurmExecutor", "SlurmJobDetails"]

SINGLETON = "singleton"
"""A dependency on every earlier job of the same user and name, whatever experiment it belongs to."""
_WALL = re.compile(r"\d+(:\d\d?){0,2}\Z|\d+-\d+(:\d\d?){0,2}\Z")
_RUNTIMES = ("pyxis", "apptainer")
_COUNTS = ("nodes", "ntasks_per_node")
_OPTIONAL_COUNTS = (
    "cpus_per_task",
    "cpus_per_gpu",
    "gpus_per_node",
    "gpus_per_task",
    "torchrun_nproc_per_node",
    "segment",
)
_TEXTS = (
    "account",
    "partition",
    "job_name_prefix",
    "qos",
    "comment",
    "constraint",
    "signal",
    "array",
    "container_image",
    "container_workdir",
    "network",
)


class SlurmJobDetails:
    """Names of a job and its output files; subclass it to follow a site's rules.

    Override a property to change a name. One that returns an empty text leaves Runyard's own choice: the batch
    script's messages in ``slurm.log``, and each attempt's output in ``attempts/N/log``, where ``runyard experiment
    logs`` finds it.

    Args:
        job_name: Name that Slurm shows; default: the experiment's id and the task's name.
        folder: Not used for anything by itself; overridden properties may use it.

    Example:
        >>> class Ours(SlurmJobDetails):
        ...     @property
        ...     def stdout(self):
        ...         return "/logs/%u/%j.out"
        >>> Ours(job_name="pretrain").to_dict()
        {'job_name': 'pretrain', 'stdout': '/logs/%u/%j.out'}
    """

    _NAMES = ("job_name", "folder", "stdout", "stderr", "srun_stdout", "srun_stderr", "ls_term")

    def __init__(self, job_name: str = "", folder: str = "") -> None:
        self.job_name = job_name
        self.folder = folder

    @property
    def stdout(self) -> str:
        """File of the batch script's output (``sbatch --output``)."""
        return ""

    @property
    def stderr(self) -> str:
        """File of the batch script's messages (``sbatch --error``)."""
        return ""

    @property
    def srun_stdout(self) -> str:
        """File of the tasks' output (``srun --output``)."""
        return ""

    @property
    def srun_stderr(self) -> str:
        """File of the tasks' messages (``srun --error``)."""
        return ""

    @property
    def ls_term(self) -> str:
        """Pattern that matches the job's output files, for a person's ``ls``."""
        return ""

    def to_dict(self) -> dict[str, str]:
        """Return what is set, as plain JSON."""
        return {name: str(value) for name in self._NAMES if (value := getattr(self, name, ""))}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SlurmJobDetails) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]


class RecordedJobDetails(SlurmJobDetails):
    """Job details as they were recorded, whatever class they had."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values.get("job_name", ""), values.get("folder", ""))
        self._values = dict(values)

    stdout = property(lambda self: self._values.get("stdout", ""))
    stderr = property(lambda self: self._values.get("stderr", ""))
    srun_stdout = property(lambda self: self._values.get("srun_stdout", ""))
    srun_stderr = property(lambda self: self._values.get("srun_stderr", ""))
    ls_term = property(lambda self: self._values.get("ls_term", ""))


@dataclass(kw_only=True)
class SlurmExecutor(Executor):
    """Submit each task as a job of a Slurm cluster, from its login node or over ssh.

    Fields that Slurm knows go into ``#SBATCH`` lines under their own names; a field that is ``None`` is left to
    the cluster's defaults. Whatever has no field goes into ``additional_parameters``.

    Args:
        account: Account that is charged.
        partition: Partition.
        job_name_prefix: Put before the job's name.
        time: Wall-time limit of one attempt: ``"HH:MM:SS"``, ``"D-HH:MM:SS"``, minutes, or a ``timedelta``.
        nodes: Nodes of the job.
        ntasks_per_node: Processes on each node. With a launcher that starts processes itself (``torchrun``, ``ft``),
            how many it starts, unless ``torchrun_nproc_per_node`` says otherwise.
        cpus_per_task: CPUs of each process.
        cpus_per_gpu: CPUs for each GPU.
        gpus_per_node: GPUs of each node.
        gpus_per_task: GPUs of each process.
        qos: Quality of service.
        mem: Memory of each node, as Slurm writes it (``"64G"``; ``"0"`` for all).
        mem_per_gpu: Memory for each GPU.
        mem_per_cpu: Memory for each CPU.
        comment: Comment.
        constraint: Features that the nodes must have.
        exclude: Nodes not to use: a list, or text as Slurm writes it.
        gres: Generic resources.
        signal: Signal that the tasks get before the time limit (``"USR1@90"``). ``B:`` before it changes nothing: the
            batch script is Runyard's own, and only waits.
        exclusive: ``True`` for whole nodes, or ``"user"``, ``"mcs"``.
        array: Indices of a job array of the task's own (``"0-9%4"``).
        open_mode: ``append`` or ``truncate``, for the batch script's output.
        container_image: Image to run in: a registry's name, or a local ``.sqsh`` or ``.sif`` file.
        container_mounts: Mounts, ``"source:target[:flags]"``.
        container_env: Variables of the job that win over the image's own; default: all of ``env_vars``.
        container_workdir: Folder to run in inside the container; default: the code.
        container_runtime: ``pyxis`` (``srun --container-image``), or ``apptainer``.
        additional_parameters: Further ``sbatch`` options, by name. ``True`` gives a bare option, ``False`` and
            ``None`` leave it out, a list is joined with commas.
        srun_args: Further words for ``srun``.
        heterogeneous: The members of a group become components of a heterogeneous job, each with its own executor's
            nodes.
        het_group_indices: Component on which each member of the group runs (of the first member's executor); default:
            its position. Of members on one component, the first one's fields ask for it.
        memory_measure: Log the memory use of the job's first node every few seconds to ``memory.csv`` in the output
            folder.
        job_details: Names of the job and its files.
        tunnel: How to reach the machine that submits; ``None``: this one.
        dependencies: Jobs outside of the experiment that must come first: Slurm's numbers, or texts that end in one.
        dependency_type: What is asked of dependencies: ``afterok``, ``afterany``, ``afternotok``, ``after``, or
            ``singleton``.
        torchrun_nproc_per_node: Processes that ``torchrun`` starts on each node; default: ``ntasks_per_node``.
        wait_time_for_group_job: Seconds that the other members of a failed group get to end by themselves.
        monitor_group_job: Kept for scripts of other tools: a group always fails as soon as a member does.
        monitor_group_job_wait_time: Kept likewise.
        segment: Nodes of each block, in topologies that have blocks.
        network: Network options.
        ray_template: Kept for recorded executors.
        poll_estimated_start_time: Ask Slurm for the estimated start of pending jobs.
        poll_seconds: Seconds between two queries of the cluster while nothing changes.
        stderr_to_stdout: Write messages and output into one log; otherwise messages go to ``err`` beside it.
        exclude_bad_nodes: After a node's failure, do not use that node for the retry.

    Example:
        >>> SlurmExecutor(account="research", partition="gpu", nodes=2, gpus_per_node=8, time="04:00:00").nnodes()
        2

    Source: the ``sbatch`` and ``srun`` manual pages of Slurm 22.05 and later; the options of Pyxis' README.
    """

    kind: ClassVar[str] = "slurm"
    backend: ClassVar[str] = "runyard.backends.slurm.backend:SlurmBackend"

    packager: Packager = field(default_factory=GitArchivePackager)
    account: str | None = None
    partition: str | None = None
    job_name_prefix: str = ""
    time: str | int | timedelta = "00:10:00"
    nodes: int = 1
    ntasks_per_node: int = 1
    cpus_per_task: int | None = None
    cpus_per_gpu: int | None = None
    gpus_per_node: int | None = None
    gpus_per_task: int | None = None
    qos: str | None = None
    mem: str | int | None = None
    mem_per_gpu: str | int | None = None
    mem_per_cpu: str | int | None = None
    comment: str | None = None
    constraint: str | None = None
    exclude: str | list[str] | None = None
    gres: str | list[str] | None = None
    signal: str | None = None
    exclusive: bool | str | None = None
    array: str | None = None
    open_mode: str = "append"
    container_image: str | None = None
    container_mounts: list[str] = field(default_factory=list)
    container_env: list[str] | None = None
    container_workdir: str | None = None
    container_runtime: str = "pyxis"
    additional_parameters: dict[str, Any] | None = None
    srun_args: list[str] | None = None
    heterogeneous: bool = False
    het_group_indices: list[int] | None = None
    memory_measure: bool = False
    job_details: SlurmJobDetails = field(default_factory=SlurmJobDetails)
    tunnel: Tunnel | None = None
    dependencies: list[str] = field(default_factory=list)
    torchrun_nproc_per_node: int | None = None
    wait_time_for_group_job: int = 30
    monitor_group_job: bool = True
    monitor_group_job_wait_time: int = 60
    segment: int | None = None
    network: str | None = None
    ray_template: str | None = None
    poll_estimated_start_time: bool = True
    poll_seconds: float = 2.0
    stderr_to_stdout: bool = True
    exclude_bad_nodes: bool = False

    def nnodes(self) -> int:
        """Return ``nodes``."""
        return self.nodes

    def nproc_per_node(self) -> int:
        """Return how many processes a launcher starts on each node."""
        return self.torchrun_nproc_per_node or self.ntasks_per_node

    def reach(self) -> Tunnel:
        """Return the tunnel to the machine that submits."""
        tunnel = self.tunnel or LocalTunnel()
        if self.job_dir and not tunnel.job_dir:
            tunnel = tunnel.from_dict(tunnel.to_dict() | {"job_dir": self.job_dir})
        return tunnel

    def alloc(self, job_name: str = "interactive") -> str:
        """Wait for an allocation to work in, and return its number; one of this name is used again.

        Raises:
            SubmitError: when Slurm refuses it.
        """
        return str(_interactive().alloc(self, job_name))

    def srun(
        self,
        cmd: str,
        job_name: str = "interactive",
        flags: Sequence[str] = (),
        env_vars: Mapping[str, str] | None = None,
        hide: bool = False,
    ) -> Result:
        """Run a command of bash on all nodes of the allocation of this name.

        Args:
            cmd: The command.
            job_name: Name of the allocation; it is made where there is none.
            flags: Further words for ``srun``.
            env_vars: Further environment.
            hide: Print nothing here.

        Returns:
            Its output and exit code.

        Example:
            >>> SlurmExecutor(partition="gpu", time="01:00:00").srun("nvidia-smi -L")  # doctest: +SKIP
        """
        found: Result = _interactive().srun(self, cmd, job_name, flags, env_vars or {}, hide)
        return found

    def bash(self, job_name: str = "interactive") -> int:
        """Open a shell in this terminal on the first node of the allocation of this name; return its exit code."""
        return int(_interactive().bash(self, job_name))

    def wall_time(self) -> str:
        """Return the time limit as Slurm writes it."""
        if isinstance(self.time, str) and _WALL.match(self.time.strip()):
            return self.time.strip()
        if isinstance(self.time, int) and not isinstance(self.time, bool):
            return str(self.time)
        total = max(60, round(seconds(self.time, "SlurmExecutor.time")))
        days, rest = divmod(total, 86400)
        clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
        return f"{days}-{clock}" if days else clock

    def wall_seconds(self) -> float:
        """Return the time limit in seconds."""
        return seconds(self.wall_time(), "SlurmExecutor.time")

    def info(self) -> str:
        """Return kind and machine."""
        return f"slurm on {self.reach().name}"

    def validate(self) -> None:
        """Check the fields; see :meth:`Executor.validate`."""
        where = type(self).__name__
        kept, self.dependency_type = self.dependency_type, self.dependency_type.replace(SINGLETON, "afterany")
        try:
            super().validate()
        finally:
            self.dependency_type = kept
        for name in _COUNTS:
            _check_count(where, name, getattr(self, name), 1)
        for name in _OPTIONAL_COUNTS:
            if (value := getattr(self, name)) is not None:
                _check_count(where, name, value, 0 if name.startswith("gpus") else 1)
        _check_count(where, "wait_time_for_group_job", self.wait_time_for_group_job, 0)
        for name in _TEXTS:
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise ConfigError(f"{where}.{name}={value!r} is not text", hint=f'write it as a string: "{value}"')
        self.wall_time()
        if not isinstance(self.poll_seconds, (int, float)) or not self.poll_seconds > 0:
            raise ConfigError(f"{where}.poll_seconds={self.poll_seconds!r}", hint="give seconds, more than 0")
        if self.container_runtime not in _RUNTIMES:
            raise ConfigError(
                f"{where}.container_runtime={self.container_runtime!r}", hint=f"one of {', '.join(_RUNTIMES)}"
            )
        if self.open_mode not in ("append", "truncate"):
            raise ConfigError(f"{where}.open_mode={self.open_mode!r}", hint="append or truncate")
        for name in ("exclude", "gres", "container_mounts", "container_env", "srun_args", "dependencies"):
            value = getattr(self, name)
            if isinstance(value, list) and not all(isinstance(v, (str, int)) for v in value):
                raise ConfigError(f"{where}.{name}={value!r} must hold texts", hint="write each entry as a string")
        for name in ("container_mounts", "container_env", "srun_args", "dependencies"):
            if isinstance(getattr(self, name), str):
                raise ConfigError(
                    f"{where}.{name}={getattr(self, name)!r} is a text, not a list", hint="put it in brackets: [...]"
                )
        if any(not isinstance(i, int) or i < 0 for i in self.het_group_indices or ()):
            raise ConfigError(
                f"{where}.het_group_indices={self.het_group_indices!r}", hint="give whole numbers from 0: [0, 0, 1]"
            )
        _check_parameters(where, self.additional_parameters)
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, str) and "\0" in value:
                raise ConfigError(f"{where}.{f.name} holds a NUL byte", hint="remove it")
        for word in self.dependencies:
            native_id(word)

    def to_dict(self) -> dict[str, Any]:
        """Return kind and fields as plain JSON; see :meth:`Executor.to_dict`."""
        out = super().to_dict()
        if self.tunnel is not None:
            out["tunnel"] = self.tunnel.to_dict()
        if "job_details" in out:
            out["job_details"] = self.job_details.to_dict()
        if isinstance(self.time, timedelta):
            out["time"] = self.wall_time()
        if self.srun_args:
            out["srun_args"] = [to_json_word(w) if isinstance(w, str) else w for w in self.srun_args]
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Undo :meth:`to_dict`."""
        values = dict(data)
        if isinstance(values.get("tunnel"), Mapping):
            values["tunnel"] = Tunnel.from_dict(values["tunnel"])
        if isinstance(values.get("job_details"), Mapping):
            values["job_details"] = RecordedJobDetails(values["job_details"])
        if values.get("srun_args"):
            values["srun_args"] = [from_json_word(w) if isinstance(w, (str, dict)) else w for w in values["srun_args"]]
        return super().from_dict(values)


def _interactive() -> Any:
    # An executor holds no I/O: this hands over to its backend, which is imported only now.
    return importlib.import_module("runyard.backends.slurm.interactive")


def native_id(dependency: str | int) -> str:
    """Return the job number that a dependency ends in.

    Example:
        >>> native_id("slurm://cluster/123"), native_id(45)
        ('123', '45')
    """
    found = re.search(r"(\d+(?:_\d+)?)\Z", str(dependency))
    if not found:
        raise ConfigError(
            f"SlurmExecutor.dependencies: {dependency!r} does not end in a job number",
            hint='give what sbatch or squeue shows, for example "123456"',
        )
    return found[1]


def _check_parameters(where: str, given: Any) -> None:
    if given is not None and not isinstance(given, dict):
        raise ConfigError(f"{where}.additional_parameters={given!r}", hint='give options by name: {"nice": 10}')
    for name, value in (given or {}).items():
        entries = value if isinstance(value, (list, tuple)) else [value]
        if not isinstance(name, str) or not all(v is None or isinstance(v, (str, int, float)) for v in entries):
            raise ConfigError(
                f"{where}.additional_parameters[{name!r}]={value!r}",
                hint="give a text, a number, True for a bare option, or a list of texts",
            )


def _check_count(where: str, name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{where}.{name}={value!r}", hint=f"give a whole number, {least} or more")
