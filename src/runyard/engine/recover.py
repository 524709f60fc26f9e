"""An experiment as its folder tells, without the database. Imports nothing of the user's.

What happened is read from ``events.jsonl``; where that ends too early, from what the wrapper left behind:
``rc`` and ``started``. A job whose process still runs, or whose scheduler must be asked, is handed to the
engine as one whose submission is uncertain, which adopts it. What had not started goes on only when
something of its experiment is still going on: nobody expects an old graph to start again by itself.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from runyard import executors
from runyard.backends.base import Job
from runyard.backends.process import ProcessId, parse_stat
from runyard.backends.registry import backend_class
from runyard.backends.results import ended, read_rc, read_started
from runyard.backends.wrapper import ATTEMPTS
from runyard.engine import graph
from runyard.engine.plan import JOB_FILE
from runyard.engine.record import SECRETS
from runyard.errors import RunyardError, StoreError
from runyard.states import JobState, Status
from runyard.store import layout
from runyard.store.records import AttemptRow
from runyard.store.restore import FoundExperiment, FoundJob

ABOUT = "experiment.yaml"
GONE = "its process is gone and left no exit code"
NEVER = "the record was lost before it started"

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Event = tuple[float, str, Status]


def experiment(home: Path, folder: Path, *, driven: bool = False) -> tuple[FoundExperiment, list[str]]:
    """Return the experiment of a folder, and in words what of it could not be read.

    Args:
        home: Root of the records.
        folder: The experiment's folder.
        driven: A controller drove it until now, so it is to go on.

    Raises:
        StoreError: when too little can be read, or when it was never launched.
    """
    about, names = _about(folder)
    events, problems = _events(folder / layout.EVENTS)
    jobs: list[FoundJob] = []
    for name in names:
        try:
            jobs.append(_job(home, folder / name, about["id"], name))
        except StoreError as e:
            problems.append(e.message)
    if not jobs:
        raise StoreError(f"{folder}: none of its tasks can be read: {'; '.join(problems) or 'it has none'}")
    if not events and not any(_newest(Path(folder, j.name)) for j in jobs) and not driven:
        raise StoreError(f"{folder}: it was never launched, or died before its first task (a kept dry-run?)")
    judged, news = _judge(jobs, events, home / SECRETS / about["id"], driven and len(jobs) == len(names))
    history = [(at, name, s.attempt, s.state, s.reason) for at, name, s in [*events, *news]]
    known = {j.name for j in jobs}
    found = FoundExperiment(
        id=about.pop("id"),
        title=about.pop("title"),
        created=about.pop("created"),
        folder=str(folder.relative_to(home)),
        facts=about,
        jobs=judged,
        events=[e for e in history if e[1] in known],
    )
    return found, problems


# -- reading ---------------------------------------------------------------------------------------


def _about(folder: Path) -> tuple[dict[str, Any], list[str]]:
    path = folder / ABOUT
    try:
        text = path.read_text("utf-8", "replace")
        about = yaml.load(yaml.reader.Reader.NON_PRINTABLE.sub("\ufffd", text), _Loader)
        names = [str(task["name"]) for task in about.pop("tasks")]
        about["id"], about["title"] = str(about["id"]), str(about["title"])
        about["created"] = float(about["created"])
    except OSError as e:
        raise StoreError(f"{path} cannot be read: {e.strerror}") from e
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as e:
        raise StoreError(f"{path} is damaged or half written") from e
    if about["id"] != folder.name:
        raise StoreError(f"{path} is about {about['id']}, not {folder.name} (a copy?)")
    return about, names


def _events(path: Path) -> tuple[list[_Event], list[str]]:
    found: list[_Event] = []
    bad = 0
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError as e:
        return [], [f"{path} cannot be read: {e.strerror}"]
    for line in lines:
        try:
            data = json.loads(line)
            status = Status(
                state=JobState(data["state"]),
                attempt=int(data["attempt"]),
                reason=str(data.get("reason", "")),
                exit_code=data.get("exit_code"),
                started=data.get("started"),
                ended=data.get("ended"),
                where=str(data.get("where", "")),
            )
            found.append((float(data["at"]), str(data["task"]), status))
        except (ValueError, KeyError, TypeError):
            bad += 1
    return found, [f"{path}: {bad} line(s) cannot be read"] if bad else []


def _job(home: Path, folder: Path, id: str, name: str) -> FoundJob:
    path = folder / JOB_FILE
    try:
        saved = json.loads(path.read_text("utf-8", "surrogateescape"))
        spec, request = dict(saved["job"]), dict(saved["request"])
        spec["home"] = str(home)  # the home may have been moved since
        job = Job.from_json(spec)
        wrong = list(job.id) != [id, name] or {"command", "files", "folder", "options"} - set(request)
    except OSError as e:
        raise StoreError(f"{path} cannot be read: {e.strerror}") from e
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise StoreError(f"{path} is damaged") from e
    if wrong:
        raise StoreError(f"{path} is not about {name} of {id}")
    return FoundJob(name, spec, request, "", Status())


def _newest(folder: Path) -> int:
    """Return the number of a job's newest attempt, or 0."""
    with suppress(OSError):
        return max((int(p.name) for p in (folder / ATTEMPTS).iterdir() if p.name.isdigit()), default=0)
    return 0


# -- judging ---------------------------------------------------------------------------------------


def _judge(
    jobs: Sequence[FoundJob], events: Sequence[_Event], secrets: Path, driven: bool
) -> tuple[list[FoundJob], list[_Event]]:
    """Return the jobs with what is known of them, and the changes of state that no event told."""
    last: dict[str, Status] = {}
    attempts: dict[str, list[AttemptRow]] = {}
    for _, name, status in events:
        last[name] = status
        if status.state.ended and status.state is not JobState.SKIPPED:
            attempts.setdefault(name, []).append(_attempt(name, status))
    seen = {j.name: _look(j, last.get(j.name, Status())) for j in jobs}
    goes_on = driven or JobState.SUBMITTING in {s.state for s in seen.values()}
    states = {name: status.state for name, status in seen.items()}
    by_name = {j.name: j for j in jobs}
    news: list[_Event] = []
    for name in _order(jobs):
        job, status = by_name[name], seen[name]
        if status.state is JobState.CREATED:
            status = _unstarted(job, status, states, goes_on)
        elif goes_on and _is_news(status, last.get(name)) and status.attempt <= job.spec["retries"]:
            status = Status(JobState.SUBMITTING, attempt=status.attempt)  # the engine finds it, and retries
        states[name] = status.state
        if status.state.ended and status != last.get(name):
            news.append((status.ended or time.time(), name, status))
            if status.state is not JobState.SKIPPED and _newest(Path(_folder(job))):
                attempts.setdefault(name, []).append(_attempt(name, status))
        own = secrets / name
        by_name[name] = replace(
            job,
            status=status,
            attempts=attempts.get(name, ()),
            secrets=str(own) if own.is_file() and not status.state.ended else "",
        )
    return [by_name[j.name] for j in jobs], news


def _look(job: FoundJob, told: Status) -> Status:
    """Return what the events tell of a job; where they end too early, what its files tell."""
    if told.state.ended:
        return told
    folder, attempt = _folder(job), _newest(Path(_folder(job)))
    if not attempt:
        queued = told.state.in_flight and _queues(job.spec)
        return replace(told, state=JobState.SUBMITTING if queued else JobState.CREATED, reason="")
    claim = None
    with suppress(ValueError, KeyError):
        claim = read_started(folder, attempt)
    started = claim.at if claim else told.started
    if result := read_rc(folder, attempt):
        o = ended(result[0], at=result[1], started=started, where=claim.host if claim else told.where)
        assert o.state is not None
        return Status(o.state, attempt, o.reason, o.exit_code, started=o.started, ended=o.ended, where=o.where)
    if claim and (claim.host != socket.gethostname() or _alive(claim.pid, claim.stat, claim.boot)):
        return Status(JobState.SUBMITTING, attempt)
    return Status(JobState.LOST, attempt, GONE, started=started, where=told.where)


def _is_news(status: Status, told: Status | None) -> bool:
    """Say whether a failure is known from the files only: nobody had a chance to retry."""
    return status.state is JobState.FAILED and (told is None or not told.state.ended)


def _alive(pid: int, stat: str, boot: str) -> bool:
    return ProcessId(pid, parse_stat(stat) or "0", boot).alive()


def _unstarted(job: FoundJob, status: Status, states: Mapping[str, JobState], goes_on: bool) -> Status:
    own = [(d, kind) for d, kind in job.spec["dependencies"] if "/" not in d]
    if missing := [d for d, _ in own if d not in states]:
        return replace(status, state=JobState.LOST, reason=f"its dependency {missing[0]!r} cannot be recovered")
    verdict, why = graph.verdict(own, states)
    if verdict is False:
        return replace(status, state=JobState.SKIPPED, reason=why, ended=time.time())
    return status if goes_on else replace(status, state=JobState.LOST, reason=NEVER)


def _queues(spec: Mapping[str, Any]) -> bool:
    """Say whether a job that nobody has started yet may wait in a queue that is not ours."""
    try:
        return backend_class(executors.from_dict(spec["components"][0]["executor"])).features.detached_queue
    except RunyardError:
        return True  # its plug-in is not installed now


def _folder(job: FoundJob) -> str:
    return Job.from_json(job.spec).local_dir


def _order(jobs: Sequence[FoundJob]) -> list[str]:
    names = [j.name for j in jobs]
    known = set(names)
    needs = {j.name: [d for d, _ in j.spec["dependencies"] if d in known] for j in jobs}
    return graph.check(names, needs)


def _attempt(name: str, status: Status) -> AttemptRow:
    return AttemptRow(name, status.attempt, status.state, status.reason, status.exit_code, status.started, status.ended)
