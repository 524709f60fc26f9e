"""Processes of this machine: each job is one ``sh`` in a session of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from runyard import executors, snapshots
from runyard.backends import gpus, logfiles, wrapper
from runyard.backends.base import (
    CODE,
    JOB,
    PYTHON,
    RUNNER,
    Component,
    Cursor,
    Features,
    Handle,
    Job,
    JobId,
    LogChunk,
    Request,
    expand,
)
from runyard.backends.fetching import HereFetcher
from runyard.backends.process import ProcessId, boot_id, group_members, oom_kills, parse_stat, start_time
from runyard.backends.results import attempt_dir, ended, just_claimed, read_rc, read_started, reason_for
from runyard.errors import CancelError, ConfigError, PackagingError, SubmitError
from runyard.executors.base import Executor
from runyard.executors.macros import ExecutorMacros
from runyard.launchers.base import Placement
from runyard.shell import Raw
from runyard.states import JobState, Observation

SCRIPT = "job.sh"
GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL when a job is cancelled."""


@dataclass
class _Running:
    """What this process knows about a job it started or watches."""

    process: ProcessId
    attempt: int
    oom_before: int
    child: subprocess.Popen[bytes] | None = None
    pidfd: int = -1
    stop_at: float = 0.0
    started: float = 0.0


class LocalBackend:
    """Runs jobs as processes of this machine; see :class:`~runyard.backends.base.Backend`."""

    kind: ClassVar[str] = "local"
    features: ClassVar[Features] = Features(
        groups=True,
        launchers=frozenset({"default", "torchrun", "ft"}),
        poll_interval=0.2,
        cancel_on_terminate=True,
    )

    def __init__(self, home: str) -> None:
        self.home = home
        self._running: dict[str, _Running] = {}
        self._trees: set[str] = set()

    @classmethod
    def connect(cls, executor: Executor, home: str) -> Self:
        """Return a backend for this machine."""
        del executor
        return cls(home)

    @classmethod
    def cluster(cls, executor: Executor) -> str:
        """Return this machine's name."""
        del executor
        return socket.gethostname()

    # -- planning ------------------------------------------------------------------------------

    def plan(self, job: Job) -> Request:
        """Return the job's ``sh`` script and how it is started."""
        macros = {
            ExecutorMacros.HEAD_NODE_IP_VAR: "127.0.0.1",
            ExecutorMacros.NUM_NODES_VAR: "1",
            ExecutorMacros.NODE_RANK_VAR: "0",
            ExecutorMacros.HET_GROUP_HOST_VAR: "127.0.0.1",
        } | {ExecutorMacros.group_host(i): "127.0.0.1" for i in range(len(job.components))}
        members, count = [], 0
        for component in job.components:
            executor = executors.from_dict(component.executor)
            macros[ExecutorMacros.NPROC_PER_NODE_VAR] = str(executor.nproc_per_node())
            members.append(self._member(job, component, executor))
            count += _gpus(executor)
        folder, runner = job.local_dir, job.local_runner
        options: dict[str, Any] = {"gpus": count} if count else {}
        if code := [{**c.code, "path": f"{job.local_code}/{c.code['tree']}"} for c in job.components if c.code]:
            options["code"] = code
        script = wrapper.render(
            title=f"{job.id.name} of {job.id.experiment}",
            folder=folder,
            members=tuple(members),
            macros=macros,
            facts={"RUNYARD_EXPERIMENT_ID": job.id.experiment, "RUNYARD_TASK": job.id.name},
            redactor=(job.python, f"{runner}/redact.py"),
        )
        return Request(
            job=job.id,
            command=("sh", f"{folder}/{SCRIPT}"),
            files={SCRIPT: script},
            folder=folder,
            options=options,
        )

    def _member(self, job: Job, component: Component, executor: Executor) -> wrapper.Member:
        launcher = executor.get_launcher()
        if launcher.kind not in self.features.launchers:
            raise ConfigError(
                f"task {job.id.name!r}: the launcher {launcher.kind!r} does not work with {type(executor).__name__}",
                hint=f"use one of {', '.join(sorted(self.features.launchers))}",
            )
        python = executor.python or job.python
        place = Placement(nproc_per_node=executor.nproc_per_node(), python=python, job=job.id.native)
        paths = {PYTHON: python, RUNNER: job.local_runner, JOB: job.local_dir, CODE: job.local_code}
        argv = launcher.wrap(component.program, place)
        return wrapper.Member(
            name=component.name if job.group else "",
            argv=tuple(expand(word, paths) for word in argv),
            env={**_path(job.path_prefix), **launcher.environment(), **component.env},
            secrets=component.secrets,
            setup=component.setup,
            workdir=expand(component.workdir, paths),
        )

    # -- submitting ----------------------------------------------------------------------------

    def prepare(self, requests: Sequence[Request]) -> list[str]:
        """Return nothing: this machine is here, and a task that asks for too much of it is told when it starts."""
        del requests
        return []

    def submit(self, requests: Sequence[Request]) -> list[Handle | SubmitError]:
        """Start one process group per request."""
        return [self._start(request) for request in requests]

    def _start(self, request: Request) -> Handle | SubmitError:
        depth = int(os.environ.get("RUNYARD_DEPTH", "0")) + 1
        env = os.environ | {wrapper.CLAIM: str(request.attempt), "RUNYARD_DEPTH": str(depth)}
        if request.secrets:
            env["RUNYARD_SECRETS_FILE"] = request.secrets
        wanted = request.options.get("gpus", 0)
        try:
            self._bring_code(request.options.get("code", ()))
            if not wanted:
                return self._spawn(request, env)
            with gpus.Slots(self.home) as slots:
                devices = slots.take(wanted, str(request.job.native))
                handle = self._spawn(request, env | {"CUDA_VISIBLE_DEVICES": ",".join(devices)})
                slots.assign(devices, ProcessId.parse(handle.id.partition("|")[0]))
                return handle
        except SubmitError as e:
            return e
        except PackagingError as e:
            return SubmitError(f"task {request.job.name!r}: {e.message}", hint=e.hint)
        except OSError as e:
            return SubmitError(
                f"task {request.job.name!r} could not be started: {e}",
                hint="free processes, memory or disk space, then run it again",
            )

    def _bring_code(self, trees: Sequence[Mapping[str, Any]]) -> None:
        """Make the code trees a job needs; tasks with the same code share one."""
        for tree in trees:
            path = tree["path"]
            if path in self._trees:
                continue
            if "link" in tree:
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
                with suppress(FileExistsError):
                    os.symlink(tree["link"], path)
            else:
                store = Path(tree["store"])
                snapshots.LocalStore(store).materialise(snapshots.Snapshot.load(tree["hash"], home=store.parent), path)
            self._trees.add(path)

    def _spawn(self, request: Request, env: dict[str, str]) -> Handle:
        before = oom_kills()
        child = subprocess.Popen(
            request.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=env,
            cwd=request.folder,
            start_new_session=True,
        )
        process = ProcessId.of(child.pid) or ProcessId(child.pid, "0", "gone")
        handle = Handle(self.kind, socket.gethostname(), f"{process}|{request.attempt}", request.folder)
        self._running[handle.id] = _Running(process, request.attempt, before, child, _pidfd(child.pid))
        return handle

    def find(self, jobs: Sequence[tuple[Request, int]]) -> dict[JobId, Handle]:
        """Return the jobs whose attempt was claimed, by what their wrapper recorded."""
        found = {}
        for request, attempt in jobs:
            claim = read_started(request.folder, attempt)
            if claim is None and attempt_dir(request.folder, attempt).is_dir():
                time.sleep(0.05)  # claimed this very moment: its next line records who it is
                claim = read_started(request.folder, attempt)
            if claim is not None:
                process = ProcessId(claim.pid, parse_stat(claim.stat) or "0", claim.boot)
                found[request.job] = Handle(self.kind, claim.host, f"{process}|{attempt}", request.folder)
        return found

    # -- observing -----------------------------------------------------------------------------

    def observe(self, handles: Sequence[Handle]) -> dict[Handle, Observation]:
        """Return what is known about each process; those of other machines are left out."""
        here = socket.gethostname()
        return {h: self._observe(h) for h in handles if h.cluster == here}

    def _observe(self, handle: Handle) -> Observation:
        running = self._watch(handle)
        status = running.child.poll() if running.child else None
        if status is None and (running.child or running.process.alive()):
            self._press(running)
            if not running.started:
                claim = read_started(handle.folder, running.attempt)
                if claim is None:
                    return Observation(JobState.PENDING, where=handle.cluster)
                running.started = claim.at
            return Observation(JobState.RUNNING, started=running.started, where=handle.cluster)
        return self._ended(handle, running, status)

    def _ended(self, handle: Handle, running: _Running, status: int | None) -> Observation:
        """Judge a process that is gone: by its result, by how it died, else by nothing at all."""
        claim = read_started(handle.folder, running.attempt)
        started = claim.at if claim else None
        mine = claim is None or claim.pid == running.process.pid
        result = read_rc(handle.folder, running.attempt) if mine else None
        oom = oom_kills() > running.oom_before
        self._forget(handle)
        if result is not None:
            return ended(result[0], at=result[1], started=started, where=handle.cluster, oom=oom)
        if claim is None and status in (None, wrapper.CLAIMED) and just_claimed(handle.folder, running.attempt):
            return Observation(JobState.PENDING, where=handle.cluster)  # soon told: by whom
        if status == wrapper.CLAIMED or not mine:
            return Observation(None, reason="another submission had claimed this attempt")
        _end_group(running.process)
        now = time.time()
        if status is not None and status >= 0:
            return ended(status, at=now, started=started, where=handle.cluster)
        if status is not None:
            seen = ended(128 - status, at=now, started=started, where=handle.cluster, oom=oom)
            return (
                seen
                if oom
                else Observation(
                    JobState.FAILED,
                    128 - status,
                    f"{reason_for(128 - status)} (its shell was killed)",
                    started=started,
                    ended=now,
                    where=handle.cluster,
                )
            )
        return Observation(
            None, reason="its process is gone and left no exit code (killed, or the machine was restarted)"
        )

    def _watch(self, handle: Handle) -> _Running:
        if handle.id not in self._running:
            process, attempt = handle.id.split("|")
            identity = ProcessId.parse(process)
            pidfd = _pidfd(identity.pid) if identity.alive() else -1
            self._running[handle.id] = _Running(identity, int(attempt), oom_kills(), None, pidfd)
        return self._running[handle.id]

    def _forget(self, handle: Handle) -> None:
        running = self._running.pop(handle.id, None)
        if running and running.pidfd >= 0:
            os.close(running.pidfd)

    def wakeups(self) -> Sequence[int]:
        """Return the pidfds of running jobs: readable when the process ends."""
        return [r.pidfd for r in self._running.values() if r.pidfd >= 0]

    # -- managing ------------------------------------------------------------------------------

    def cancel(self, handles: Sequence[Handle]) -> dict[Handle, CancelError | None]:
        """Send SIGTERM to each process group; :meth:`observe` sends SIGKILL after the grace period."""
        out: dict[Handle, CancelError | None] = {}
        for handle in handles:
            out[handle] = None
            if handle.cluster != socket.gethostname():
                out[handle] = CancelError(
                    f"{handle.id.partition('@')[0]} runs on {handle.cluster}, not on this machine",
                    hint=f"run the same command on {handle.cluster}",
                )
                continue
            running = self._watch(handle)
            if running.process.alive() and not running.stop_at:
                running.stop_at = time.monotonic() + GRACE
                _signal_group(running.process.pid, signal.SIGTERM)
        return out

    def _press(self, running: _Running) -> None:
        if running.stop_at and time.monotonic() > running.stop_at:
            _signal_group(running.process.pid, signal.SIGKILL)

    def logs(self, handle: Handle, cursor: Cursor) -> Iterator[LogChunk]:
        """Yield what the log files hold beyond ``cursor``."""
        return logfiles.read(handle.folder, cursor)

    def fetcher(self) -> HereFetcher:
        """Return what reads the files of jobs."""
        return HereFetcher()


def _gpus(executor: Any) -> int:
    # Only a launcher starts several processes; without one, a task is one process.
    processes = 1 if executor.get_launcher().kind == "default" else executor.ntasks_per_node
    return int(executor.gpus_per_task) * int(processes)


def _path(prefix: str) -> dict[str, str]:
    """Put a virtual environment first on PATH, so that ``python`` in a task's shell is the one in use."""
    return {} if not prefix or "$" in prefix or '"' in prefix else {"PATH": Raw(f"{prefix}:$PATH")}


def _pidfd(pid: int) -> int:
    """Return a descriptor that becomes readable when the process ends, or -1 where there is none.

    Source: pidfd_open(2), Linux 5.3. Without it the engine asks every ``poll_interval`` seconds.
    """
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _end_group(process: ProcessId) -> None:
    """Kill what a dead shell left of its process group.

    A group's number is not given to another process while the group has members, so the group is
    the job's own exactly when no process has the shell's number any more.
    """
    if process.boot == boot_id() and start_time(process.pid) is None and group_members(process.pid):
        _signal_group(process.pid, signal.SIGKILL)
