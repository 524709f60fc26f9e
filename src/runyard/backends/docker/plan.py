"""From a job to the options of its containers. Pure: the same job gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runyard import executors
from runyard.backends import wrapper
from runyard.backends.base import CODE, CODE_FOLDER, JOB, PYTHON, RUNNER, RUNNER_FOLDER, Component, Job, expand
from runyard.backends.docker import address
from runyard.errors import ConfigError
from runyard.executors.docker import DockerExecutor, ulimit, volumes
from runyard.executors.macros import ExecutorMacros
from runyard.launchers.base import Placement
from runyard.shell import quote

SCRIPT = "docker.sh"
CONTAINERS = "containers.json"
"""In a job's folder: what its containers are made of."""

JOB_DIR = "/runyard/job"
RUNNER_DIR = "/runyard/runner"
CODE_DIR = "/runyard/code"
SECRETS_FILE = "/runyard/secrets"

EXPERIMENT_DIR = "/runyard/experiment"
"""On an engine of another machine: the volume with the files of the experiment, laid out like its record."""
PRIVATE_DIR = "/runyard/private"
"""There: a folder of the container itself, with its secrets."""

VOLUME_LABEL = "runyard.volume"
JOB_LABEL, TASK_LABEL, EXPERIMENT_LABEL = "runyard.job", "runyard.task", "runyard.experiment"
ATTEMPT_LABEL, MEMBER_LABEL = "runyard.attempt", "runyard.member"
LAUNCHERS = frozenset({"default", "torchrun", "ft"})
NAMELESS = ("host", "none", "bridge", "default")
"""Networks on which containers do not find each other by name."""
GRACE = 10
"""Seconds between SIGTERM and SIGKILL, when a job is cancelled or another member of its group has failed."""

_OWN_ATTEMPT = "manual-$(cat /proc/sys/kernel/random/uuid)"


@dataclass(frozen=True)
class Caller:
    """Who launches: numbers of user and group, the user's name, and what tells the machine from others."""

    uid: int
    gid: int
    name: str
    host: str = ""


@dataclass(frozen=True)
class Paths:
    """Where things are in a container: the job's folder, what travels with it, its code, and the file of secrets."""

    job: str = JOB_DIR
    runner: str = RUNNER_DIR
    code: str = CODE_DIR
    secrets: str = SECRETS_FILE


def paths_for(job: Job, engine: str) -> Paths:
    """Return where things are in the containers of a job."""
    if not address.is_remote(engine):
        return Paths()
    return Paths(
        f"{EXPERIMENT_DIR}/{posixpath.basename(job.folder)}",
        f"{EXPERIMENT_DIR}/{RUNNER_FOLDER}",
        f"{EXPERIMENT_DIR}/{CODE_FOLDER}",
        f"{PRIVATE_DIR}/secrets",
    )


def base_name(job: Job, host: str = "") -> str:
    """Return how the names of a job's containers begin: no other job, of whatever home, has the same.

    Args:
        job: The job.
        host: The launching machine, for an engine that several may use.
    """
    return _name(job.id.native, host + job.local_dir)


def volume_name(job: Job, host: str) -> str:
    """Return the name of the volume with the files of a job's experiment, on an engine of another machine."""
    return _name(f"runyard-{job.id.experiment}", host + posixpath.dirname(job.local_dir))


def _name(text: str, folder: str) -> str:
    return f"{re.sub('[^a-zA-Z0-9_.-]', '_', text)[:180].lstrip('_.-') or 'job'}-{digest(folder)}"


def digest(folder: str) -> str:
    """Return what tells the jobs of different homes apart, from a job's folder."""
    return hashlib.sha256(folder.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def scripts(job: Job, caller: Caller, engine: str = address.DEFAULT) -> dict[str, str]:
    """Return the wrapper script of each container, by its path in the job's folder.

    Raises:
        ConfigError: for what cannot run in a container.
    """
    members, paths = executors_of(job), paths_for(job, engine)
    return {_script(job, c): _wrapper(job, i, members, caller, paths) for i, c in enumerate(job.components)}


def containers(job: Job, caller: Caller, engine: str) -> dict[str, Any]:
    """Return what a job's containers are made of, as plain JSON.

    Each entry's ``create`` holds arguments of docker-py's ``containers.create``; :func:`at` adds the attempt.

    Raises:
        ConfigError: for what cannot run in a container.
    """
    members = executors_of(job)
    own = job.group and members[0].network is None
    host = caller.host if address.is_remote(engine) else ""
    return {
        "name": base_name(job, host),
        "engine": engine,
        "network": own,
        **({"volume": volume_name(job, host)} if address.is_remote(engine) else {}),
        "containers": [
            {
                "member": c.name if job.group else "",
                "as_caller": e.user is None and "user" not in e.additional_kwargs,
                "create": _create(job, c, e, caller, engine),
            }
            for c, e in zip(job.components, members, strict=True)
        ],
    }


def dumped(document: Mapping[str, Any]) -> str:
    """Return the text of the file :data:`CONTAINERS`."""
    return json.dumps(document, indent=1) + "\n"


def name_at(document: Mapping[str, Any], attempt: int, member: str = "") -> str:
    """Return the name of a container, or without a member that of the group's network."""
    return ".".join([document["name"], str(attempt), *([member] if member else [])])


def at(document: Mapping[str, Any], attempt: int, rootless: bool = False) -> list[dict[str, Any]]:
    """Return the arguments that create the containers of one attempt: name, label, command and network are added.

    Args:
        document: What :func:`containers` returned.
        attempt: Number of the attempt.
        rootless: Root in a container is the caller outside; whoever should run as the caller runs as root there.
    """
    out = []
    for entry in document["containers"]:
        member, create = entry["member"], dict(entry["create"])
        create["name"] = name_at(document, attempt, member)
        create["labels"] = {**create["labels"], ATTEMPT_LABEL: str(attempt)}
        create["command"] = [*create["command"], str(attempt)]
        if rootless and entry.get("as_caller"):
            create["user"] = "0:0"
        if document["network"]:
            network = name_at(document, attempt)
            create["network"] = network
            create["networking_config"] = {network: {"Aliases": [member]}}
        out.append(create)
    return out


def executors_of(job: Job) -> list[DockerExecutor]:
    """Return the executor of each member.

    Raises:
        ConfigError: when they don't fit together, or a launcher does not work here.
    """
    members = [executors.from_dict(c.executor) for c in job.components]
    for executor in members:
        kind = executor.get_launcher().kind
        if kind not in LAUNCHERS:
            raise ConfigError(
                f"task {job.id.name!r}: the launcher {kind!r} does not work with {type(executor).__name__}",
                hint=f"use one of {', '.join(sorted(LAUNCHERS))}",
            )
    typed: list[DockerExecutor] = [e for e in members if isinstance(e, DockerExecutor)]
    assert len(typed) == len(members)
    if len({e.network for e in typed}) > 1:
        raise ConfigError(
            f"task {job.id.name!r}: the members of the group are on different networks",
            hint="give all of them one network, or none: then they share a new one",
        )
    return typed


def _create(job: Job, component: Component, executor: DockerExecutor, caller: Caller, engine: str) -> dict[str, Any]:
    more = dict(executor.additional_kwargs)
    script = f"{paths_for(job, engine).job}/{_script(job, component)}"
    remote = address.is_remote(engine)
    mounts = _volumes(job, component, caller, engine, more) if remote else _mounts(job, component)
    own_entry = more.pop("entrypoint", None)
    create: dict[str, Any] = {
        "image": executor.container_image,
        "entrypoint": own_entry if own_entry is not None else ["sh", script],
        "command": ["sh", script] if own_entry is not None else [],
        "init": True,
        "labels": {
            **_labels(more.pop("labels", {})),
            EXPERIMENT_LABEL: job.id.experiment,
            TASK_LABEL: job.id.name,
            JOB_LABEL: base_name(job, caller.host if remote else ""),
            MEMBER_LABEL: component.name if job.group else "",
        },
        "mounts": mounts + list(more.pop("mounts", ())),
    }
    if user := _user(executor, caller):
        create["user"] = user
    if executor.volumes:
        create["volumes"] = volumes(executor.volumes, type(executor).__name__)
    if executor.num_gpus:
        create["device_requests"] = [{"Driver": "", "Count": executor.num_gpus, "Capabilities": [["gpu"]]}]
    if executor.ulimits:
        create["ulimits"] = [ulimit(limit, type(executor).__name__) for limit in executor.ulimits]
    for name in ("runtime", "shm_size", "ipc_mode", "network", "healthcheck"):
        if value := getattr(executor, name):
            create[name] = value
    if executor.privileged:
        create["privileged"] = True
    if executor.network and job.group and is_network(executor.network):
        aliases = [component.name, _alias(job, component)]
        create["networking_config"] = {executor.network: {"Aliases": aliases}}
    return {**create, **more}


def _labels(given: Any) -> dict[str, str]:
    return dict(given) if isinstance(given, Mapping) else dict.fromkeys(given, "")


def _user(executor: DockerExecutor, caller: Caller) -> str:
    return f"{caller.uid}:{caller.gid}" if executor.user is None else str(executor.user)


def _mounts(job: Job, component: Component) -> list[dict[str, Any]]:
    found = [_mount(job.local_dir, JOB_DIR), _mount(job.local_runner, RUNNER_DIR, read_only=True)]
    if component.code:
        tree = component.code["tree"]
        source = component.code.get("link") or f"{job.local_code}/{tree}"
        found.append(_mount(source, f"{CODE_DIR}/{tree}"))
    else:
        if component.workdir in ("", "/"):
            raise ConfigError(
                f"task {job.id.name!r}: it would run in the folder of the launch, which is {component.workdir!r}",
                hint="launch from another folder, or choose a packager that ships the code",
            )
        found.append(_mount(component.workdir, component.workdir))
    if any(c.secrets for c in job.components):
        found.append(_mount(f"{job.home}/secrets/{job.id.experiment}/{job.id.name}", SECRETS_FILE, read_only=True))
    return found


def _volumes(
    job: Job, component: Component, caller: Caller, engine: str, more: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return what is mounted where no folder of this machine can be."""
    if not component.code:
        raise ConfigError(
            f"task {job.id.name!r}: it would run in the folder of the launch, {component.workdir or '/'}, which the "
            f"Docker engine {engine} cannot see: it is on another machine",
            hint="choose a packager that ships the code (GitArchivePackager, PatternPackager …), "
            "or an engine of this machine: DOCKER_HOST=unix:///var/run/docker.sock",
        )
    found = [_mount(volume_name(job, caller.host), EXPERIMENT_DIR, kind="volume")]
    if "link" in component.code:
        found.append(_mount(component.code["link"], f"{EXPERIMENT_DIR}/{CODE_FOLDER}/{component.code['tree']}"))
    if component.secrets and more.get("read_only"):
        # Nothing can be written into the container's own files then; this volume has no name, and goes with it.
        found.append({"Type": "volume", "Target": PRIVATE_DIR, "ReadOnly": False})
    return found


def _mount(source: str, target: str, read_only: bool = False, kind: str = "bind") -> dict[str, Any]:
    return {"Type": kind, "Source": source, "Target": target, "ReadOnly": read_only}


def _script(job: Job, component: Component) -> str:
    return f"{component.name}/{SCRIPT}" if job.group else SCRIPT


def _alias(job: Job, component: Component) -> str:
    return f"{component.name}.{base_name(job)}"


def is_network(name: str) -> bool:
    """Say whether the engine must have a network of this name; the others are modes, which Podman does not list."""
    return name not in NAMELESS and not name.startswith("container:")


def _hosts(job: Job, members: Sequence[DockerExecutor]) -> list[str]:
    """Return the name under which each member is found by the others."""
    network = members[0].network
    if not job.group or (network and not is_network(network)):
        return ["127.0.0.1"] * len(members)
    return [_alias(job, c) if network else c.name for c in job.components]


def _wrapper(job: Job, index: int, members: Sequence[DockerExecutor], caller: Caller, where: Paths) -> str:
    component, executor = job.components[index], members[index]
    launcher = executor.get_launcher()
    python = executor.python or "python3"
    hosts = _hosts(job, members)
    macros = {
        ExecutorMacros.HEAD_NODE_IP_VAR: hosts[0],
        ExecutorMacros.HET_GROUP_HOST_VAR: hosts[0],
        ExecutorMacros.NUM_NODES_VAR: "1",
        ExecutorMacros.NODE_RANK_VAR: "0",
        ExecutorMacros.NPROC_PER_NODE_VAR: str(executor.nproc_per_node()),
    } | {ExecutorMacros.group_host(i): host for i, host in enumerate(hosts)}
    own = f"{job.id.native}.{component.name}" if job.group else job.id.native
    place = Placement(nproc_per_node=executor.nproc_per_node(), python=python, job=own)
    paths = {PYTHON: python, RUNNER: where.runner, JOB: where.job, CODE: where.code}
    member = wrapper.Member(
        name="",
        argv=tuple(expand(word, paths) for word in launcher.wrap(component.program, place)),
        env={**launcher.environment(), **component.env},
        secrets=component.secrets,
        setup=component.setup,
        workdir=expand(component.workdir, paths),
    )
    title = f"{component.name} in {job.id.name}" if job.group else job.id.name
    return wrapper.render(
        title=f"{title} of {job.id.experiment}",
        folder=where.job,
        members=(member,),
        macros=macros,
        facts={"RUNYARD_EXPERIMENT_ID": job.id.experiment, "RUNYARD_TASK": job.id.name},
        redactor=(python, f"{where.runner}/redact.py"),
        forward_signals=True,
        forward_to_all=True,
        claim=("claim=${1:-}",),
        secrets=where.secrets,
        marks={"host": "a container on $host"},  # its process numbers are its own, also under the host's name
        prelude=_prelude(component, python, caller, executor),
        closing=_closing(component, python, executor, caller),
        own_attempt=_OWN_ATTEMPT,
        within=component.name if job.group else "",
    )


def _prelude(component: Component, python: str, caller: Caller, executor: DockerExecutor) -> tuple[str, ...]:
    lines = ['[ -w "${HOME:-/}" ] || export HOME=/tmp']
    if executor.user is None and caller.name:
        # The image's list of users may lack this one; Python's getpass, among others, looks here first.
        lines.append(f"export USER={quote(caller.name)} LOGNAME={quote(caller.name)}")
    if component.secrets:
        lines.append(
            f"command -v {quote(python)} > /dev/null || {{ echo 'runyard: this task has secrets, and the image "
            f'no {python} to blot them out of its log\' > "$A/log"; echo 127 > "$A/rc"; exit 127; }}'
        )
    return tuple(lines)


def _closing(component: Component, python: str, executor: DockerExecutor, caller: Caller) -> tuple[str, ...]:
    lines = []
    if PYTHON in component.program.interpreter:
        # Said afterwards: a set-up line may have brought one.
        why = quote(f"runyard: the image has no {python}; choose another container_image, or say where it is: python=")
        lines.append(f'[ $rc -ne 127 ] || command -v {quote(python)} > /dev/null || echo {why} >> "$A/log"')
    if executor.user is not None and caller.uid != 0:
        # To whom the folder belongs, as the container sees it: below a rootless engine the numbers differ.
        lines.append('[ "$(id -u)" -ne 0 ] || chown -R "$(stat -c %u:%g "$job")" "$A"')
    return tuple(lines)
