"""The same containers as commands that a person types. Pure."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Mapping
from typing import Any

_NAMES = {
    "mem_limit": "memory",
    "memswap_limit": "memory-swap",
    "mem_reservation": "memory-reservation",
    "ipc_mode": "ipc",
    "pid_mode": "pid",
    "userns_mode": "userns",
    "devices": "device",
    "dns_opt": "dns-option",
    "tmpfs": "tmpfs",
    "volumes": "volume",
    "nano_cpus": "",
    "publish_all_ports": "publish-all",
}
_SAME = frozenset(
    {
        "cap_add",
        "cap_drop",
        "cgroup_parent",
        "cpu_period",
        "cpu_quota",
        "cpu_shares",
        "cpuset_cpus",
        "cpuset_mems",
        "dns",
        "dns_search",
        "domainname",
        "group_add",
        "hostname",
        "init",
        "isolation",
        "mac_address",
        "network",
        "oom_kill_disable",
        "oom_score_adj",
        "pids_limit",
        "platform",
        "privileged",
        "read_only",
        "runtime",
        "security_opt",
        "shm_size",
        "stop_signal",
        "user",
        "volumes_from",
    }
)


def words(create: Mapping[str, Any], *more: str) -> tuple[str, ...]:
    """Return a ``docker run`` command for the arguments of docker-py's ``containers.create``.

    Options that have no simple form on the command line are left out.

    Example:
        >>> words({"image": "i", "entrypoint": ["sh", "a"], "command": [], "init": True, "mem_limit": "1g"})
        ('docker', 'run', '--rm', '--init', '--memory=1g', '--entrypoint=sh', 'i', 'a')
    """
    out = ["docker", "run", "--rm", *more]
    for name, value in create.items():
        out += _option(name, value)
    entry = create["entrypoint"]
    entry = shlex.split(entry) if isinstance(entry, str) else list(entry)
    if entry:
        out.append(f"--entrypoint={entry[0]}")
    return (*out, create["image"], *entry[1:], *create["command"])


def group_script(document: Mapping[str, Any], creates: list[Mapping[str, Any]]) -> str:
    """Return a script that runs the members of a group side by side, as a person would."""
    lines = ["#!/bin/sh", "# Written by Runyard. Runs the group once more, as an attempt of its own."]
    network = f"{document['name']}.by-hand"
    if document["network"]:
        lines.append(f"docker network create {network} > /dev/null || exit 1")
    for entry, create in zip(document["containers"], creates, strict=True):
        joined = [f"--network={network}", f"--network-alias={entry['member']}"] if document["network"] else []
        lines.append(f"{shlex.join(words(create, *joined))} &")
    lines += ["wait"]
    if document["network"]:
        lines.append(f"docker network rm {network} > /dev/null")
    return "\n".join(lines) + "\n"


def _option(name: str, value: Any) -> list[str]:
    if name == "mounts":
        return [f"--mount={_mount(m)}" for m in value]
    if name == "ulimits":
        return [f"--ulimit={u['Name']}={u['Soft']}:{u['Hard']}" for u in value]
    if name == "device_requests":
        return [f"--gpus={'all' if r['Count'] < 0 else r['Count']}" for r in value if r.get("Count")]
    if name == "healthcheck" and isinstance(value.get("test"), list) and value["test"][:1] in (["CMD"], ["CMD-SHELL"]):
        return [f"--health-cmd={shlex.join(value['test'][1:])}"]
    if name == "ports" and isinstance(value, Mapping):
        return [f"--publish={host}:{port}" for port, host in value.items() if isinstance(host, (int, str))]
    if name in ("sysctls", "extra_hosts") and isinstance(value, Mapping):
        option, sign = ("sysctl", "=") if name == "sysctls" else ("add-host", ":")
        return [f"--{option}={k}{sign}{v}" for k, v in value.items()]
    if name == "nano_cpus":
        return [f"--cpus={value / 1e9:g}"]
    if name not in _NAMES and name not in _SAME:
        return []
    option = _NAMES.get(name) or name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}"] if value else []
    return [f"--{option}={v}" for v in (value if isinstance(value, list) else [value])]


def _mount(mount: Mapping[str, Any]) -> str:
    source = [f"source={mount['Source']}"] if mount.get("Source") else []
    fields = [f"type={mount['Type']}", *source, f"target={mount['Target']}"]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([*fields, *(["readonly"] if mount.get("ReadOnly") else [])])
    return line.getvalue()
