"""Run tasks in containers of a Docker engine."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, ClassVar

from runyard.errors import ConfigError
from runyard.executors.base import Executor
from runyard.executors.duration import seconds
from runyard.packagers import GitArchivePackager
from runyard.packagers.base import Packager

__all__ = ["DockerExecutor"]

OWN = {
    "name": "the name holds the experiment, the task and the attempt; `hostname` can be set",
    "image": "use container_image",
    "command": "the task is the command",
    "detach": "containers always run by themselves; give `detach=True` to the experiment",
    "remove": "ended containers are removed once their result is read",
    "auto_remove": "ended containers are removed once their result is read",
    "working_dir": "a task runs in its code; the packager says where",
    "environment": "use env_vars, which also keeps secrets out of records",
    "restart_policy": "use retries",
}
"""Options of docker-py that ``additional_kwargs`` may not hold, and what to do instead."""


@dataclass(kw_only=True)
class DockerExecutor(Executor):
    """Run each task in a container of its own, made from ``container_image`` by a Docker engine.

    The engine is the one that the ``docker`` command would use (``DOCKER_HOST``, or the docker context in use): of this
    machine, where the task's code and its folder are mounted, or of another one, where they are sent to. Nothing is
    copied into an image, and the image needs no Runyard. The members of a task group share a network, on which they
    know each other by name.

    Args:
        container_image: The image. One that the engine does not have is pulled at the launch.
        ntasks_per_node: Processes that a launcher (``torchrun``, ``ft``) starts. Without a launcher a task is one
            process.
        runtime: Container runtime of the engine (``"nvidia"``); default: the engine's.
        num_gpus: GPUs to give to each task; -1 for all.
        shm_size: Size of ``/dev/shm`` (``"8g"``, or bytes).
        ulimits: Limits: ``"memlock:-1"``, ``"nofile:1024:2048"`` (name, soft, hard), or what docker-py takes.
        ipc_mode: IPC namespace (``"host"``).
        healthcheck: Command that says whether the task is well, as docker-py takes it:
            ``{"test": ["CMD", "true"], "interval": 10**9}``.
        privileged: Give the container all the machine's devices and capabilities.
        network: The name of a network that exists, ``"host"``, or ``"none"``; default: the engine's own, and for a
            group a new one, which is removed afterwards.
        volumes: Folders of the engine's machine and volumes of the engine: ``"/data:/data:ro"``; or a dict as docker-py
            takes it.
        user: User that the task runs as (``"1000:1000"``, ``"root"``). Default: the user who launches, so that files in
            mounted folders belong to them. ``""`` leaves it to the image.
        additional_kwargs: Whatever has no field here, as ``docker.containers.create`` of docker-py takes it
            (``{"mem_limit": "64g", "cap_add": ["SYS_PTRACE"]}``).
        time: Wall-time limit of one attempt: ``"HH:MM:SS"``, ``"90s"``, seconds or a ``timedelta``.
        max_parallel: How many tasks of an experiment run at once; default: the number of CPUs, and at least 4.

    Example:
        >>> executor = DockerExecutor(container_image="python:3.12-slim", volumes=["/data:/data:ro"], num_gpus=2)
        >>> executor.info()
        'docker, python:3.12-slim'

    Source: the reference of docker-py's ``ContainerCollection.run``.
    """

    kind: ClassVar[str] = "docker"
    backend: ClassVar[str] = "runyard.backends.docker.backend:DockerBackend"

    packager: Packager = field(default_factory=GitArchivePackager)
    container_image: str = ""
    ntasks_per_node: int = 1
    runtime: str | None = None
    num_gpus: int | None = None
    shm_size: str | int | None = None
    ulimits: list[Any] = field(default_factory=list)
    ipc_mode: str | None = None
    healthcheck: dict[str, Any] = field(default_factory=dict)
    privileged: bool = False
    network: str | None = None
    volumes: list[str] | dict[str, Any] = field(default_factory=list)
    user: str | int | None = None
    additional_kwargs: dict[str, Any] = field(default_factory=dict)
    time: str | float | timedelta | None = None
    max_parallel: int | None = None

    def nproc_per_node(self) -> int:
        """Return ``ntasks_per_node``."""
        return self.ntasks_per_node

    def time_limit(self) -> float | None:
        """Return the wall-time limit in seconds."""
        return None if self.time is None else seconds(self.time, "DockerExecutor.time")

    def parallel_limit(self) -> int:
        """Return ``max_parallel``, or its default for this machine."""
        return self.max_parallel or max(4, os.cpu_count() or 1)

    def info(self) -> str:
        """Return kind and image."""
        return f"docker, {self.container_image}"

    def validate(self) -> None:
        """Check the fields; see :meth:`Executor.validate`."""
        super().validate()
        where = type(self).__name__
        if not isinstance(self.container_image, str) or not self.container_image.strip():
            raise ConfigError(
                f"{where}.container_image={self.container_image!r}",
                hint='say which image: container_image="python:3.12-slim"',
            )
        for name, least in (("ntasks_per_node", 1), ("num_gpus", -1), ("max_parallel", 1)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise ConfigError(f"{where}.{name}={value!r}", hint=f"give a whole number, {least} or more")
        for name in ("runtime", "ipc_mode", "network"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise ConfigError(f"{where}.{name}={value!r}", hint="give a text, or None for the engine's default")
        size = self.shm_size
        if size is not None and not re.fullmatch(r"\d+(\.\d+)?\s*([bkmgtp]b?)?", str(size).strip().lower()):
            raise ConfigError(f"{where}.shm_size={size!r} is no size", hint='write "8g", "512m", or bytes')
        if not isinstance(self.privileged, bool):
            raise ConfigError(f"{where}.privileged={self.privileged!r}", hint="True or False")
        self._check_containers(where)
        for limit in self.ulimits:
            ulimit(limit, where)
        volumes(self.volumes, where)
        for name in ("healthcheck", "additional_kwargs", "volumes", "ulimits"):
            try:
                json.dumps(getattr(self, name))
            except (TypeError, ValueError) as e:
                raise ConfigError(
                    f"{where}.{name} holds what cannot be recorded: {e}", hint="use texts, numbers, lists and dicts"
                ) from e
        for name, instead in OWN.items():
            if name in self.additional_kwargs:
                raise ConfigError(f"{where}.additional_kwargs[{name!r}] is Runyard's own", hint=instead)
        both = [f.name for f in fields(self) if f.name in self.additional_kwargs and getattr(self, f.name)]
        if both:
            raise ConfigError(
                f"{where}.{both[0]} is given twice, also in additional_kwargs", hint="keep one of the two"
            )
        self.time_limit()

    def _check_containers(self, where: str) -> None:
        for name, kinds, words in (
            ("ulimits", list, "a list"),
            ("healthcheck", dict, "a dict"),
            ("additional_kwargs", dict, "a dict"),
            ("volumes", (list, dict), "a list"),
        ):
            value = getattr(self, name)
            if not isinstance(value, kinds):
                raise ConfigError(f"{where}.{name}={value!r} is not {words}", hint=f"write {words}")


def ulimit(limit: Any, where: str) -> dict[str, Any]:
    """Return a limit as the engine takes it.

    Args:
        limit: ``"name:soft[:hard]"``, ``"name=soft[:hard]"``, or a dict with Name, Soft and Hard.
        where: The executor, for the message.

    Raises:
        ConfigError: when it is neither.

    Example:
        >>> ulimit("memlock:-1", "DockerExecutor")
        {'Name': 'memlock', 'Soft': -1, 'Hard': -1}
    """
    try:
        if isinstance(limit, Mapping):
            given = {str(k).lower(): v for k, v in limit.items()}
            least = int(given["soft"] if "soft" in given else given["hard"])
            return {"Name": str(given["name"]), "Soft": least, "Hard": int(given.get("hard", least))}
        name, soft, *hard = str(limit).replace("=", ":", 1).split(":")
        (last,) = hard or [soft]
        return {"Name": name, "Soft": int(soft), "Hard": int(last)}
    except (KeyError, TypeError, ValueError):
        raise ConfigError(
            f"{where}.ulimits: {limit!r} is no limit", hint='write name:soft:hard, for example "nofile:1024:2048"'
        ) from None


def volumes(given: Sequence[str] | Mapping[str, Any], where: str) -> list[str]:
    """Return volumes in the form ``source:target[:options]``, with ``~`` replaced.

    Raises:
        ConfigError: for what is none, or whose source is a relative path.

    Example:
        >>> volumes({"/data": {"bind": "/in", "mode": "ro"}}, "DockerExecutor")
        ['/data:/in:ro']
    """
    if isinstance(given, Mapping):
        given = [
            f"{source}:{v['bind']}:{v.get('mode', 'rw')}" if isinstance(v, Mapping) and "bind" in v else f"{source}:{v}"
            for source, v in given.items()
        ]
    out = []
    for volume in given:
        source, _, rest = str(volume).partition(":")
        if not isinstance(volume, str) or not rest.startswith("/"):
            raise ConfigError(
                f"{where}.volumes: {volume!r} says not where to mount what",
                hint='write source:target[:ro], for example "/data:/data:ro"',
            )
        source = os.path.expanduser(source) if source.startswith("~") else source
        if not source or ("/" in source and not source.startswith("/")):
            raise ConfigError(f"{where}.volumes: {volume!r} begins with a relative path", hint="give an absolute one")
        out.append(f"{source}:{rest}")
    return out
