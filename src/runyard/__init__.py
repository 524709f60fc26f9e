"""Runyard: configure a task once, ship the code on your disk, launch it anywhere, manage it afterwards.

``import runyard as run`` imports next to nothing; each public name is loaded when it is first used
(PEP 562), so no SDK costs anything before its executor is used.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runyard import cli as cli
    from runyard import core as core
    from runyard import errors as errors
    from runyard.config import Config as Config
    from runyard.config import ConfigurableMixin as ConfigurableMixin
    from runyard.config import LazyEntrypoint as LazyEntrypoint
    from runyard.config import Partial as Partial
    from runyard.config import autoconvert as autoconvert
    from runyard.config import dryrun_fn as dryrun_fn
    from runyard.config import help as help
    from runyard.config import lazy_imports as lazy_imports
    from runyard.devspace import DevSpace as DevSpace
    from runyard.engine.report import JobResult as JobResult
    from runyard.errors import RunyardError as RunyardError
    from runyard.errors import TaskFailed as TaskFailed
    from runyard.executors.base import Executor as Executor
    from runyard.executors.base import ExecutorMacros as ExecutorMacros
    from runyard.executors.docker import DockerExecutor as DockerExecutor
    from runyard.executors.local import LocalExecutor as LocalExecutor
    from runyard.executors.slurm import SlurmExecutor as SlurmExecutor
    from runyard.executors.slurm import SlurmJobDetails as SlurmJobDetails
    from runyard.experiment import Experiment as Experiment
    from runyard.launchers import FaultTolerance as FaultTolerance
    from runyard.launchers import Launcher as Launcher
    from runyard.launchers import SlurmTemplate as SlurmTemplate
    from runyard.launchers import Torchrun as Torchrun
    from runyard.oneshot import run as run
    from runyard.packagers.base import Packager as Packager
    from runyard.packagers.configmap import ConfigMapPackager as ConfigMapPackager
    from runyard.packagers.git import GitArchivePackager as GitArchivePackager
    from runyard.packagers.hybrid import HybridPackager as HybridPackager
    from runyard.packagers.pattern import PatternPackager as PatternPackager
    from runyard.packagers.project import ProjectPackager as ProjectPackager
    from runyard.plugin import Plugin as Plugin
    from runyard.profiles.load import load_profile as load_profile
    from runyard.secrets import Secret as Secret
    from runyard.shell import Raw as Raw
    from runyard.snapshots.snapshot import Snapshot as Snapshot
    from runyard.states import JobState as JobState
    from runyard.task import Script as Script
    from runyard.tunnels import LocalTunnel as LocalTunnel
    from runyard.tunnels import SSHTunnel as SSHTunnel
    from runyard.user_executors import import_executor as import_executor

__version__ = "0.1.0"

_PUBLIC = {
    "Config": "config",
    "ConfigMapPackager": "packagers.configmap",
    "ConfigurableMixin": "config",
    "DevSpace": "devspace",
    "DockerExecutor": "executors.docker",
    "Executor": "executors.base",
    "ExecutorMacros": "executors.base",
    "Experiment": "experiment",
    "FaultTolerance": "launchers",
    "GitArchivePackager": "packagers.git",
    "HybridPackager": "packagers.hybrid",
    "JobResult": "engine.report",
    "JobState": "states",
    "Launcher": "launchers",
    "LocalTunnel": "tunnels",
    "LazyEntrypoint": "config",
    "LocalExecutor": "executors.local",
    "Packager": "packagers.base",
    "Partial": "config",
    "PatternPackager": "packagers.pattern",
    "Plugin": "plugin",
    "ProjectPackager": "packagers.project",
    "Raw": "shell",
    "RunyardError": "errors",
    "SSHTunnel": "tunnels",
    "Script": "task",
    "Secret": "secrets",
    "SlurmExecutor": "executors.slurm",
    "SlurmJobDetails": "executors.slurm",
    "SlurmTemplate": "launchers",
    "Snapshot": "snapshots.snapshot",
    "TaskFailed": "errors",
    "Torchrun": "launchers",
    "autoconvert": "config",
    "dryrun_fn": "config",
    "help": "config",
    "import_executor": "user_executors",
    "lazy_imports": "config",
    "load_profile": "profiles.load",
    "run": "oneshot",
}

_MODULES = ("cli", "core", "errors")

__all__ = [*_PUBLIC, *_MODULES]


def __getattr__(name: str) -> Any:
    module = _PUBLIC.get(name)
    if module is not None:
        value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    elif name.endswith("Executor") and not name.startswith("_"):
        value = importlib.import_module(f"{__name__}.executors").find_class(name)
    else:
        value = None
    if value is None:  # name and obj let the interpreter say "did you mean"
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
