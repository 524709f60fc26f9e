"""What is kept of a recipe's launch: ``train.yaml``, which the script gets, and ``job.yaml``, where all came from."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import importlib
import os
import re
import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from runyard import tokens
from runyard.errors import ConfigError, PackagingError
from runyard.executors.base import Executor
from runyard.packagers import _gitrepo
from runyard.recipes import interpolate
from runyard.secrets import MASK, SHORTEST_SEARCHED, is_credential, looks_secret, redact
from runyard.snapshots import Snapshot
from runyard.store import yaml

JOB = "job.yaml"
TRAIN = "train.yaml"
RUN = "run"
"""The section of a config that says where the recipe goes, and is not the script's."""

_STORED = ("WANDB_API_KEY", "HF_TOKEN")
_VARIABLE = re.compile(r"((?:-e|.*[.=])?([A-Z_][A-Z0-9_]*)=).*\Z", re.DOTALL)


def train(config: Mapping[str, Any], where: str, environ: Mapping[str, str]) -> str:
    """Return the configuration that a script gets: without the section ``run``.

    Args:
        config: The configuration, references filled in.
        where: Its name, for messages.
        environ: The environment here, whose secrets must not stand in it.

    Raises:
        ConfigError: when a secret stands in it.
    """
    own = {name: value for name, value in config.items() if name != RUN}
    _refuse_secrets(own, (), where, known_secrets(environ))
    return yaml.dump(own)


def known_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the secret values that can be known here, with the name of each."""
    found = {value: name for name, value in environ.items() if looks_secret(name)}
    found |= {value: name for name in _STORED if (value := tokens.stored(name, environ))}
    return {value: name for value, name in found.items() if len(value) >= SHORTEST_SEARCHED}


def _refuse_secrets(value: Any, path: tuple[str, ...], where: str, known: Mapping[str, str]) -> None:
    parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        _refuse_secrets(part, (*path, str(key)), where, known)
    if not isinstance(value, str):
        return
    name = next((name for text, name in known.items() if text in value), "")
    if not name and path and looks_secret(path[-1]) and is_credential(value):
        name = path[-1].upper()
    if name:
        raise ConfigError(
            f"{where}: {'.'.join(path)} holds a secret, which would be stored with the launch",
            hint=f"write ${{oc.env:{name}}}: the variable is forwarded, and the script reads it in the job",
        )


def _is_secret(word: str) -> bool:
    """Say whether a word of a command line sets a variable that looks secret."""
    found = _VARIABLE.match(word)
    return found is not None and looks_secret(found[2])


def job(
    *,
    id: str,
    title: str,
    recipe: Mapping[str, Any],
    config: Mapping[str, Any],
    profile: Mapping[str, Any],
    executor: Executor,
    origins: Mapping[str, str],
    command: Collection[str],
    cwd: Path,
    script: Path,
    snapshot: Snapshot | None,
    secrets: Collection[str],
) -> str:
    """Return where a launch came from. The same launch gives the same text: its only time is that of its id.

    Args:
        id: The experiment's id, which ends with the second of the launch.
        title: Its title.
        recipe: What the script says about itself.
        config: Files, overrides, and the resolved configuration.
        profile: Name, mode and chain of the profile.
        executor: Where it goes.
        origins: For each of the executor's fields, where it was written.
        command: The command line.
        cwd: Where it was typed.
        script: The script.
        snapshot: The code that ships; None runs in the folder of the launch.
        secrets: Values to blot out.
    """
    second = int(id.rpartition("_")[2]) if id.rpartition("_")[2].isdigit() else 0
    document = {
        "id": id,
        "title": title,
        "launched": datetime.datetime.fromtimestamp(second, datetime.UTC).isoformat(),
        "user": _user(),
        "host": socket.gethostname(),
        "cwd": str(cwd),
        "command": [_VARIABLE.sub(rf"\1{MASK}", word) if _is_secret(word) else word for word in command],
        "runyard": importlib.import_module("runyard").__version__,
        "recipe": recipe,
        "config": config,
        "profile": profile,
        "executor": {k: v for k, v in executor.to_dict().items() if k != "experiment_id"},
        "origins": dict(origins),
        "code": _code(snapshot, script),
    }
    return yaml.dump(_plain(interpolate.masked(document), secrets))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a number without a name, as in some containers
        return str(os.getuid())


def _code(snapshot: Snapshot | None, script: Path) -> dict[str, Any]:
    """Return which code ran: the commit, whether there was more than it, and the snapshot of both."""
    if snapshot is not None and snapshot.info.commit:
        info = snapshot.info
        dirty = bool(info.modified or info.untracked) and not info.committed_only
        return {"commit": info.commit, "branch": info.branch, "dirty": dirty, "snapshot": snapshot.hash}
    out: dict[str, Any] = {}
    with contextlib.suppress(PackagingError):
        repo = _gitrepo.open_repo(str(script.resolve().parent))
        if repo.head:
            out = {"commit": repo.head, "branch": repo.branch(), "dirty": bool(repo.changed())}
    return out | ({"snapshot": snapshot.hash} if snapshot else {})


def _plain(value: Any, secrets: Collection[str]) -> Any:
    """Return data as JSON can hold it, secret values blotted out."""
    if isinstance(value, Mapping):
        return {redact(str(k), secrets): _plain(v, secrets) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v, secrets) for v in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return redact(str(value), secrets)
