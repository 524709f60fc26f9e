"""From an executor's fields to options of ``sbatch`` and ``srun``. Pure.

Source: the ``sbatch`` and ``srun`` manual pages of Slurm 22.05; the options of NVIDIA Pyxis' README; ``apptainer
exec --help``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from runyard.errors import ConfigError
from runyard.executors.slurm import SlurmExecutor

Options = dict[str, Any]
"""Options by name; ``True`` is a bare option, ``None`` and ``False`` leave one out."""

_PLAIN = re.compile(r"[\w@%+=:,./^~*\[\]-]+\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z][\w-]*\Z", re.ASCII)

_FIELDS = (
    "account",
    "partition",
    "qos",
    "nodes",
    "ntasks_per_node",
    "cpus_per_task",
    "cpus_per_gpu",
    "gpus_per_node",
    "gpus_per_task",
    "mem",
    "mem_per_gpu",
    "mem_per_cpu",
    "comment",
    "constraint",
    "exclude",
    "gres",
    "signal",
    "exclusive",
    "array",
    "segment",
    "network",
)

_INSTEAD = {
    **dict.fromkeys(("job-name", "J"), "use job_name_prefix or job_details: Runyard knows its jobs by their names"),
    **dict.fromkeys(("array", "a"), 'use the field of that name: SlurmExecutor(array="0-9")'),
    **dict.fromkeys(("wrap", "test-only", "wait", "W"), "the job's script is Runyard's own; `dryrun` shows it"),
}


def resources(executor: SlurmExecutor) -> Options:
    """Return the ``sbatch`` options that an executor's fields stand for, its additional ones last."""
    out: Options = {}
    for name in _FIELDS:
        out[name.replace("_", "-")] = getattr(executor, name)
    if executor.signal:
        # "B:" is for a script that handles the signal; Runyard's only waits for the tasks, so it is theirs.
        out["signal"] = executor.signal.replace("B:", "", 1)
    out["time"] = executor.wall_time()
    return out


def additional(executor: SlurmExecutor) -> Options:
    """Return the options that have no field.

    Raises:
        ConfigError: for one that Runyard must know about, so that it has a field.
    """
    out = {name.lstrip("-").replace("_", "-"): v for name, v in (executor.additional_parameters or {}).items()}
    for name, value in out.items():
        if (instead := _INSTEAD.get(name)) and _text(value) is not None:
            raise ConfigError(f"SlurmExecutor.additional_parameters: {name!r} cannot be given there", hint=instead)
    return out


def header(options: Mapping[str, Any], where: str) -> list[str]:
    """Return ``#SBATCH`` lines.

    Args:
        options: Options by name.
        where: The task, for messages.

    Raises:
        ConfigError: for a value that no such line can hold.

    Example:
        >>> header({"mem": "4G", "exclusive": True, "qos": None, "exclude": ["n1", "n2"]}, "task 'a'")
        ['#SBATCH --mem=4G', '#SBATCH --exclusive', '#SBATCH --exclude=n1,n2']
    """
    lines = []
    for name, value in options.items():
        if not _NAME.match(name):
            raise ConfigError(f"{where}: {name!r} cannot be the name of an sbatch option", hint="for example: nice")
        text = _text(value)
        if text is None:
            continue
        dashes = "--" if len(name) > 1 else "-"
        if text is True:
            lines.append(f"#SBATCH {dashes}{name}")
        else:
            equals = "=" if len(name) > 1 else " "
            lines.append(f"#SBATCH {dashes}{name}{equals}{quoted(str(text), f'{where}: {name}')}")
    return lines


def _text(value: Any) -> str | bool | None:
    if value is None or value is False:
        return None
    if value is True:
        return True
    if isinstance(value, (list, tuple)):
        return ",".join(str(v) for v in value) if value else None
    return str(value)


def quoted(value: str, where: str) -> str:
    """Return a value as an ``#SBATCH`` line takes it.

    sbatch itself splits these lines: at spaces outside of quotes, with a backslash before what is meant as it is.
    Source: the section "batch scripts" of the ``sbatch`` manual page, and what Slurm 22.05 does.

    Raises:
        ConfigError: for line breaks.

    Example:
        >>> quoted("gpu", "x"), quoted('two "words"', "x")
        ('gpu', '"two \\\\"words\\\\""')
    """
    if any(c in value for c in "\n\r\0"):
        raise ConfigError(f"{where}={value!r} holds a line break", hint="no #SBATCH line can hold one; remove it")
    if _PLAIN.match(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def container(executor: SlurmExecutor, mounts: Iterable[str], env: Iterable[str], workdir: str) -> list[str]:
    """Return the words for ``srun`` that run its command in a container of Pyxis, or nothing without an image.

    Args:
        executor: The executor.
        mounts: Mounts that the job itself needs, before the executor's own.
        env: Names of variables that must win over the image's own.
        workdir: Folder to start in.
    """
    if not executor.container_image or executor.container_runtime != "pyxis":
        return []
    names = executor.container_env if executor.container_env is not None else sorted(env)
    _no_commas(executor.container_mounts, "container_mounts")
    _no_commas(names, "container_env")
    words = [
        f"--container-image={executor.container_image}",
        "--container-mounts=" + ",".join(unique([*mounts, *executor.container_mounts])),
        f"--container-workdir={executor.container_workdir or workdir}",
        "--no-container-mount-home",
    ]
    if names:
        words.append("--container-env=" + ",".join(names))
    return words


def apptainer(executor: SlurmExecutor, mounts: Iterable[str], workdir: str) -> list[str]:
    """Return the words before a command that runs in an Apptainer container, or nothing."""
    if not executor.container_image or executor.container_runtime != "apptainer":
        return []
    image = executor.container_image
    if not image.startswith(("/", "./", "~")) and "://" not in image and not image.endswith((".sif", ".sqsh")):
        image = f"docker://{image}"
    _no_commas(executor.container_mounts, "container_mounts")
    words = ["apptainer", "exec"]
    if (executor.gpus_per_node or executor.gpus_per_task or "gpu" in str(executor.gres or "")) and image:
        words.append("--nv")
    for mount in unique([*mounts, *executor.container_mounts]):
        words += ["--bind", mount]
    words += ["--pwd", executor.container_workdir or workdir, image]
    return words


def _no_commas(entries: Iterable[str], field: str) -> None:
    for entry in entries:
        if "," in entry:
            raise ConfigError(
                f"SlurmExecutor.{field}: {entry!r} holds a comma, which separates entries",
                hint="write each as an entry of its own; a path with a comma cannot be mounted, a link to it can",
            )


def unique(words: Iterable[str]) -> list[str]:
    """Return words without repetitions, in their order."""
    return list(dict.fromkeys(words))
