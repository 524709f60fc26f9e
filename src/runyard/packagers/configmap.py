"""Files for a Kubernetes ConfigMap: which ones, under which keys. Planning only; talks to no cluster."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from runyard.errors import PackagingError
from runyard.packagers.pattern import PatternPackager
from runyard.snapshots.manifest import LINK, printable
from runyard.snapshots.sizes import format_size

LIMIT = 1 << 20
"""Bytes that a ConfigMap may hold."""

_KEY = re.compile(r"[^-._a-zA-Z0-9]")
_NAME = re.compile(r"[^a-z0-9]+")


class ConfigMapFile(NamedTuple):
    """One file of a ConfigMap.

    Attributes:
        key: Key in the ConfigMap.
        path: Relative path under the mount (the ``path`` of a volume's ``items``).
        source: Absolute path on disk.
        size: Bytes.
        mode: Permission bits for the mount.
    """

    key: str
    path: str
    source: str
    size: int
    mode: int


@dataclass(frozen=True)
class ConfigMapPlan:
    """What a ConfigMap will hold."""

    name: str
    namespace: str
    files: tuple[ConfigMapFile, ...]

    @property
    def total_size(self) -> int:
        """Bytes of all files and keys."""
        return sum(f.size + len(f.key) for f in self.files)


@dataclass(kw_only=True)
class ConfigMapPackager(PatternPackager):
    """Stages files in a Kubernetes ConfigMap: for a few scripts, where there is no shared storage.

    Args:
        include_pattern: Patterns of the files.
        relative_path: Folder they are relative to.
        namespace: Namespace of the ConfigMap.
        configmap_prefix: How its name begins.

    Example:
        >>> ConfigMapPackager(include_pattern=["*.py", "configs/*"]).configmap_name("My train_1")
        'runyard-my-train-1'
    """

    kind: ClassVar[str] = "configmap"

    include_pattern: str | list[str] = "*.py"
    relative_path: str = "."
    namespace: str = "default"
    configmap_prefix: str = "runyard"

    def configmap_name(self, job: str) -> str:
        """Return the name of the ConfigMap of a job: a DNS label of at most 63 characters."""
        name = _NAME.sub("-", f"{self.configmap_prefix}-{job}".lower()).strip("-") or "runyard"
        if len(name) > 63:
            name = f"{name[:54].rstrip('-')}-{hashlib.sha256(job.encode()).hexdigest()[:8]}"
        return name

    def plan(self, job: str, path: str | os.PathLike[str] | None = None) -> ConfigMapPlan:
        """Return what the ConfigMap of a job will hold.

        Args:
            job: Name of the job.
            path: Folder to package; default the current one.

        Raises:
            PackagingError: above 1 MiB (Kubernetes refuses more), or for a symlink, which a ConfigMap cannot hold.
        """
        listing = self.prepared(path)
        files: dict[str, ConfigMapFile] = {}
        for item in listing.found:
            if item.tag == LINK:
                raise PackagingError(
                    f"{printable(item.path)}: a ConfigMap cannot hold symlinks", hint="exclude it with exclude_pattern"
                )
            if item.tag in "fx":
                key = configmap_key(item.path)
                files[key] = ConfigMapFile(key, item.path, item.source, item.size, 0o555 if item.tag == "x" else 0o444)
        plan = ConfigMapPlan(self.configmap_name(job), self.namespace, tuple(files[k] for k in sorted(files)))
        if plan.total_size > LIMIT:
            top = sorted(plan.files, key=lambda f: -f.size)[:5]
            rows = "\n".join(f"  {format_size(f.size):>8}  {printable(f.path)}" for f in top)
            raise PackagingError(
                f"{printable(listing.roots[0])}: {format_size(plan.total_size)} for a ConfigMap, "
                f"which holds 1 MiB; largest:\n{rows}",
                hint="narrow include_pattern, or use GitArchivePackager with a volume",
            )
        return plan


def configmap_key(path: str) -> str:
    """Return a legal key for a relative path; different paths never share one.

    Example:
        >>> configmap_key("train.py"), configmap_key("src/a.py")
        ('train.py', 'src-a.py-4cb4854b')
    """
    key = _KEY.sub("-", path)
    if key != path or len(key) > 253 or key in (".", "..") or key.startswith(".."):
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
        key = f"{key.lstrip('.')[-240:]}-{digest}"
    return key
