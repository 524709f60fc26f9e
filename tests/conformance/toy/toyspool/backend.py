"""The backend: from Runyard's jobs to tickets, and back."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from runyard import executors
from runyard.backends import logfiles, results, wrapper
from runyard.backends.base import (
    JOB,
    PYTHON,
    RUNNER,
    Cursor,
    Features,
    Handle,
    Job,
    JobId,
    LogChunk,
    Request,
    expand,
)
from runyard.errors import CancelError, ConfigError, SubmitError, Unavailable
from runyard.launchers.base import Placement
from runyard.states import JobState, Observation
from toyspool import spool as commands


class SpoolBackend:
    """See ``runyard.backends.base.Backend``."""

    kind: ClassVar[str] = "toyspool"
    features: ClassVar[Features] = Features(detached_queue=True, poll_interval=0.05)

    def __init__(self, spool: str) -> None:
        self.spool = Path(spool)

    @classmethod
    def connect(cls, executor: Any, home: str) -> Self:
        return cls(executor.spool)

    @classmethod
    def cluster(cls, executor: Any) -> str:
        return str(executor.spool)

    def plan(self, job: Job) -> Request:
        (component,) = job.components
        executor = executors.from_dict(component.executor)
        launcher = executor.get_launcher()
        if launcher.kind not in self.features.launchers:
            raise ConfigError(f"the launcher {launcher.kind!r} does not work in a spool", hint="use none")
        python = executor.python or sys.executable
        argv = launcher.wrap(component.program, Placement(python=python, job=job.id.native))
        paths = {PYTHON: python, RUNNER: job.local_runner, JOB: job.local_dir}
        member = wrapper.Member(
            name="",
            argv=tuple(expand(word, paths) for word in argv),
            env=component.env,
            secrets=component.secrets,
            setup=component.setup,
            workdir=component.workdir,
        )
        script = wrapper.render(
            title=job.id.native,
            folder=job.local_dir,
            members=(member,),
            facts={"RUNYARD_EXPERIMENT_ID": job.id.experiment, "RUNYARD_TASK": job.id.name},
            redactor=(sys.executable, f"{job.local_runner}/redact.py"),
        )
        submitter = commands.__file__ or ""
        return Request(
            job=job.id,
            command=(sys.executable, submitter, str(self.spool), f"{job.local_dir}/ticket.sh"),
            files={"ticket.sh": script},
            folder=job.local_dir,
        )

    def prepare(self, requests: Sequence[Request]) -> list[str]:
        return []

    def submit(self, requests: Sequence[Request]) -> list[Handle | SubmitError]:
        return [self._submit(request) for request in requests]

    def _submit(self, request: Request) -> Handle | SubmitError:
        try:
            ticket = commands.submit(
                self.spool, request.command[-1], _name(request.job), str(request.attempt), request.secrets
            )
        except commands.Unreachable as e:
            raise Unavailable(str(e)) from e
        except OSError as e:
            return SubmitError(f"{request.job.name} was refused: {e}", hint="look at the spool folder")
        return self._handle(ticket, request)

    def _handle(self, ticket: str, request: Request) -> Handle:
        return Handle(self.kind, str(self.spool), f"{ticket}|{request.attempt}", request.folder)

    def find(self, jobs: Sequence[tuple[Request, int]]) -> dict[JobId, Handle]:
        try:
            known = commands.tickets(self.spool)
            out = {}
            for request, attempt in jobs:
                wanted = (_name(request.job), str(attempt))
                for ticket, what in known.items():
                    state = commands.state(self.spool, ticket) or {}
                    if (what["name"], what["claim"]) == wanted and state.get("code") != wrapper.CLAIMED:
                        out[request.job] = self._handle(ticket, request.at(attempt))
                        break
            return out
        except commands.Unreachable as e:
            raise Unavailable(str(e)) from e

    def observe(self, handles: Sequence[Handle]) -> dict[Handle, Observation]:
        try:
            return {h: self._observe(h) for h in handles}
        except commands.Unreachable as e:
            raise Unavailable(str(e)) from e

    def _observe(self, handle: Handle) -> Observation:
        ticket, attempt = handle.id.split("|")
        seen = commands.state(self.spool, ticket)
        if seen is None:
            left = results.read_rc(handle.folder, int(attempt))
            return results.ended(left[0], at=left[1]) if left else Observation(None)
        native = str(seen["state"])
        started = results.read_started(handle.folder, int(attempt))
        at = started.at if started else None
        match native:
            case "waiting":
                return Observation(JobState.PENDING, native=native)
            case "running":
                return Observation(JobState.RUNNING, native=native, started=at or seen["at"])
            case "cancelled":
                return Observation(JobState.CANCELLED, native=native, ended=seen["at"])
        if seen["code"] == wrapper.CLAIMED:
            return Observation(None, reason="another ticket had claimed this attempt")
        return results.ended(seen["code"], at=seen["at"], started=at)

    def cancel(self, handles: Sequence[Handle]) -> dict[Handle, CancelError | None]:
        try:
            for handle in handles:
                commands.cancel(self.spool, handle.id.partition("|")[0])
        except commands.Unreachable as e:
            raise Unavailable(str(e)) from e
        return dict.fromkeys(handles)

    def logs(self, handle: Handle, cursor: Cursor) -> Iterator[LogChunk]:
        try:
            commands.reach(self.spool)
        except commands.Unreachable as e:
            raise Unavailable(str(e)) from e
        yield from logfiles.read(handle.folder, cursor)

    def wakeups(self) -> Sequence[int]:
        return ()


def _name(job: JobId) -> str:
    return job.native
