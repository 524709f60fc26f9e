"""The backend: containers of an engine, and the files that they leave in the jobs' folders."""

from __future__ import annotations

import json
import os
import pwd
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Self

from runyard import snapshots
from runyard.backends import logfiles
from runyard.backends.base import Component, Cursor, Features, Handle, Job, JobId, LogChunk, Request
from runyard.backends.codestore import CodeStore
from runyard.backends.docker import address, byhand, images, leftovers, outcome, plan
from runyard.backends.docker.engine import Engine, known_arguments
from runyard.backends.docker.orphans import find as find_leftovers
from runyard.backends.docker.orphans import remove as remove_leftover
from runyard.backends.docker.outcome import Left, Seen
from runyard.backends.docker.remote import Remote, read_document
from runyard.backends.docker.store import CodeVolume
from runyard.backends.docker.volumes import VolumeFetcher
from runyard.backends.fetching import Fetcher, HereFetcher
from runyard.errors import CancelError, ConfigError, PackagingError, SubmitError, Unavailable
from runyard.executors.base import Executor
from runyard.states import ENDED, Observation

BY_HAND = "by-hand.sh"
_AT_ONCE = 4


class DockerBackend:
    """Runs jobs as containers of an engine; see :class:`~runyard.backends.base.Backend`.

    A container's name holds job and attempt, so that the engine itself refuses a second submission.
    """

    kind: ClassVar[str] = "docker"
    features: ClassVar[Features] = Features(groups=True, launchers=plan.LAUNCHERS, poll_interval=0.3)

    def __init__(self, home: str, image: str = "") -> None:
        self.home = home
        self._image = image
        self._engines: dict[str, Engine] = {}
        self._remotes: dict[str, Remote] = {}
        self._trees: set[str] = set()
        self._one_at_a_time = threading.Lock()
        self._documents: dict[str, Mapping[str, Any]] = {}
        self._kill_at: dict[str, float] = {}

    @classmethod
    def connect(cls, executor: Executor, home: str) -> Self:
        """Return a backend; the engines are those that its requests and handles name."""
        return cls(home, str(getattr(executor, "container_image", "")))

    @classmethod
    def cluster(cls, executor: Executor) -> str:
        """Return the name of the engine that a launch from here would use; the records of a job hold its own."""
        del executor
        with suppress(ConfigError):  # planning says that a docker context is gone; what runs does not need it
            return address.cluster_of(address.chosen())
        return cls.kind

    # -- planning ------------------------------------------------------------------------------

    def plan(self, job: Job) -> Request:
        """Return the scripts of a job, what its containers are made of, and the same as a command."""
        engine = address.chosen()
        address.parse(engine)
        caller = _caller()
        document = plan.containers(job, caller, engine)
        folder = job.local_dir
        creates = [entry["create"] for entry in document["containers"]]
        files = {**plan.scripts(job, caller, engine), plan.CONTAINERS: plan.dumped(document)}
        if job.group:
            files[BY_HAND] = byhand.group_script(document, creates)
            command: tuple[str, ...] = ("sh", f"{folder}/{BY_HAND}")
        else:
            command = byhand.words(creates[0])
        options: dict[str, Any] = {"engine": address.cluster_of(engine), "name": document["name"]}
        if "volume" in document:
            options["volume"] = document["volume"]
        if code := [_code(job, c, e) for c, e in zip(job.components, creates, strict=True) if c.code]:
            options["code"] = code
        return Request(job=job.id, command=command, files=files, folder=folder, options=options)

    # -- submitting ----------------------------------------------------------------------------

    def prepare(self, requests: Sequence[Request]) -> list[str]:
        """Ask the engine whether it is there and has what the requests need; pull the images that it lacks.

        Raises:
            ConfigError: for what can never run.
            Unavailable: when the engine does not answer.
        """
        if not requests:
            for engine in [*self._engines.values()] or [Engine(address.chosen())]:
                engine.info()
            return []
        by_engine: dict[str, list[Request]] = {}
        for request in requests:
            by_engine.setdefault(str(request.options["engine"]), []).append(request)
        for cluster, some in by_engine.items():
            engine = self._engine(cluster)
            info = engine.info()
            creates = [e["create"] for r in some for e in json.loads(r.files[plan.CONTAINERS])["containers"]]
            for create in creates:
                _check(create, info, here=not address.is_remote(cluster))
            for network in dict.fromkeys(str(c["network"]) for c in creates if "network" in c):
                if plan.is_network(network) and not engine.has_network(network):
                    raise ConfigError(
                        f"the Docker engine has no network {network!r}", hint=f"docker network create {network}"
                    )
            for image in engine.missing_images(list(dict.fromkeys(str(c["image"]) for c in creates))):
                images.show(image, engine.pull(image))
        return []

    def submit(self, requests: Sequence[Request]) -> list[Handle | SubmitError]:
        """Create and start the containers of each request."""
        if len(requests) <= 1:
            return [self._submit(r) for r in requests]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self._submit, requests))

    def _submit(self, request: Request) -> Handle | SubmitError:
        cluster = str(request.options["engine"])
        if not address.is_in_reach(cluster):
            return SubmitError(f"task {request.job.name!r} was planned for {cluster}", hint="launch it there")
        handle = self._handle(request, request.attempt)
        if leftovers.recorded(handle):
            return handle  # it has run, and its container is gone: another would only find it claimed
        try:
            if "volume" not in request.options:
                with self._one_at_a_time:
                    self._bring_code(request.options.get("code", ()))
            self._start(self._engine(cluster), request)
        except (SubmitError, PackagingError, ConfigError) as e:
            return SubmitError(f"task {request.job.name!r}: {e.message}", hint=e.hint)
        return handle

    def _start(self, engine: Engine, request: Request) -> None:
        """Create all containers of an attempt, then start them; what exists already is used."""
        document = json.loads(request.files[plan.CONTAINERS])
        creates = plan.at(document, request.attempt, rootless=engine.rootless())
        network = plan.name_at(document, request.attempt) if document["network"] else ""
        remote = self._remote(str(request.options["engine"])) if "volume" in document else None
        if not remote and (gone := _missing_sources(creates)):
            raise SubmitError(f"{gone[0]} does not exist on this machine", hint="correct volumes, or make it first")
        if missing := engine.missing_images(list(dict.fromkeys(str(c["image"]) for c in creates))):
            for image in missing:
                for _ in engine.pull(image):
                    pass
        if network:
            engine.make_network(network, creates[0]["labels"])
        if remote:
            remote.make_volume(request)
        made: list[str] = []
        try:
            states = []
            for create in creates:
                id, state = engine.create(create)
                made.append(id)
                states.append(state)
            if remote and "created" in states:
                pairs = zip(zip(made, creates, strict=True), states, strict=True)
                new = [pair for pair, state in pairs if state == "created"]
                remote.deliver(request, document, new)
            for id, state in zip(made, states, strict=True):
                if state == "created":
                    engine.start(id)
        except (SubmitError, PackagingError):
            engine.remove(made, network)
            raise

    def _bring_code(self, trees: Sequence[Mapping[str, Any]]) -> None:
        """Make the code trees a job needs; tasks with the same code share one."""
        for tree in trees:
            path = str(tree["path"])
            if "link" in tree or path in self._trees:
                continue
            store = Path(tree["store"])
            snapshot = snapshots.Snapshot.load(tree["hash"], home=store.parent)
            snapshots.LocalStore(store).materialise(snapshot, path, root_safe=bool(tree["copies"]))
            self._trees.add(path)

    def find(self, jobs: Sequence[tuple[Request, int]]) -> dict[JobId, Handle]:
        """Return what was submitted: its containers have been started, or its wrapper has claimed the attempt."""
        found = {}
        shown: dict[str, dict[tuple[str, int], dict[str, Seen]]] = {}
        for request, attempt in jobs:
            cluster = str(request.options["engine"])
            if not address.is_in_reach(cluster):
                continue
            if cluster not in shown:
                shown[cluster] = self._engine(cluster).containers(plan.JOB_LABEL)
            members = self._members(request.folder)
            mine = shown[cluster].get((str(request.options["name"]), attempt), {})
            started = [m for m in members if m in mine and mine[m].state != "created"]
            if len(started) == len(members) or self._claimed(request, attempt, members):
                found[request.job] = self._handle(request, attempt)
        return found

    def _claimed(self, request: Request, attempt: int, members: Sequence[str]) -> bool:
        if "volume" in request.options:
            return self._remote(str(request.options["engine"])).claimed(request, attempt, members)
        return any(leftovers.left(request.folder, attempt, m).started for m in members)

    # -- observing -----------------------------------------------------------------------------

    def observe(self, handles: Sequence[Handle]) -> dict[Handle, Observation]:
        """Return what one query of the engine and the jobs' folders show; containers that have ended are removed."""
        out: dict[Handle, Observation] = {}
        by_engine: dict[str, list[Handle]] = {}
        for handle in handles:
            if not address.is_in_reach(handle.cluster):
                continue
            if ended := leftovers.recorded(handle):
                out[handle] = ended
            else:
                by_engine.setdefault(handle.cluster, []).append(handle)
        for cluster, mine in by_engine.items():
            engine = self._engine(cluster)
            engine.events.drain()
            shown = engine.containers(plan.JOB_LABEL)
            for handle in mine:
                try:
                    out[handle] = self._observe(engine, handle, shown.get(leftovers.key(handle), {}))
                except Unavailable:
                    if engine.in_doubt or len(mine) == 1:
                        raise
                    # What this one left cannot be read now; that is no reason to look at no other.
            if address.is_remote(cluster) and all(h in out and out[h].state in ENDED for h in mine):
                self._remote(cluster).dismiss(mine[0].folder)
        return out

    def _observe(self, engine: Engine, handle: Handle, shown: Mapping[str, Seen]) -> Observation:
        name, attempt = leftovers.key(handle)
        where = address.machine_of(handle.cluster)
        members = self._members(handle.folder) if shown or os.path.isdir(handle.folder) else [""]
        found = []
        for member in members:
            seen = shown.get(member)
            if seen and not seen.live and seen.state != "created":
                seen = engine.inspect(seen.id)
            found.append(outcome.judge(seen, self._left(handle, attempt, member, seen), where))
        whole = outcome.of_members(found)
        live = [s.id for s in shown.values() if s.live]
        if outcome.must_stop(found):
            self._stop(engine, handle, live)
        if live and time.monotonic() > self._kill_at.get(handle.id, float("inf")):
            engine.signal(live, "SIGKILL")
        if whole.state in ENDED:
            leftovers.write_result(handle, whole)
            self._kill_at.pop(handle.id, None)
            engine.remove([s.id for s in shown.values()], f"{name}.{attempt}" if members != [""] else "")
        return whole

    def _left(self, handle: Handle, attempt: int, member: str, seen: Seen | None) -> Left:
        if address.is_remote(handle.cluster):
            return self._remote(handle.cluster).left(handle, member, seen)
        return leftovers.left(handle.folder, attempt, member)

    def cancel(self, handles: Sequence[Handle]) -> dict[Handle, CancelError | None]:
        """Send SIGTERM to the jobs' containers; :meth:`observe` sends SIGKILL after the grace period."""
        out: dict[Handle, CancelError | None] = {}
        shown: dict[str, dict[tuple[str, int], dict[str, Seen]]] = {}
        for handle in handles:
            out[handle] = None
            if not address.is_in_reach(handle.cluster):
                out[handle] = CancelError(f"{handle.id} runs on {handle.cluster}", hint="cancel it there")
                continue
            engine = self._engine(handle.cluster)
            if handle.cluster not in shown:
                shown[handle.cluster] = engine.containers(plan.JOB_LABEL)
            mine = shown[handle.cluster].get(leftovers.key(handle), {}).values()
            self._stop(engine, handle, [s.id for s in mine if s.live])
            engine.remove([s.id for s in mine if s.state == "created"])
        return out

    def _stop(self, engine: Engine, handle: Handle, live: Sequence[str]) -> None:
        if live and handle.id not in self._kill_at:
            self._kill_at[handle.id] = time.monotonic() + plan.GRACE
            engine.signal(live, "SIGTERM")

    def logs(self, handle: Handle, cursor: Cursor) -> Iterator[LogChunk]:
        """Yield what the log files hold beyond ``cursor``; those of an engine elsewhere are first brought here."""
        if address.is_remote(handle.cluster) and handle.cluster and not leftovers.recorded(handle):
            remote = self._remote(handle.cluster)
            if remote.is_due(handle):
                name, attempt = leftovers.key(handle)
                shown = remote.engine.containers(f"{plan.JOB_LABEL}={name}")
                remote.follow(handle, shown.get((name, attempt), {}))
        return logfiles.read(handle.folder, cursor)

    def fetcher(self) -> Fetcher:
        """Return what reads files that lie in folders of this machine."""
        return HereFetcher()

    def fetcher_for(self, folder: str) -> Fetcher:
        """Return what reads the files of the job whose folder this is: here, or in a volume of its engine."""
        document = read_document(folder)
        if not document or "volume" not in document:
            return HereFetcher()
        cluster = address.cluster_of(str(document["engine"]))
        return VolumeFetcher(self._remote(cluster), document, os.path.dirname(folder), address.machine_of(cluster))

    def wakeups(self) -> Sequence[int]:
        """Return the engines' streams of events; without one, an engine is asked every ``poll_interval``.

        One that does not answer is left alone: ssh takes connections to it, and closes them, which would wake us.
        """
        return [fd for e in self._engines.values() if not e.in_doubt and (fd := e.events.fileno()) >= 0]

    def discard(self, requests: Sequence[Request]) -> None:
        """Remove whatever containers and networks the jobs of these requests still have.

        Raises:
            Unavailable: when the engine does not answer.
        """
        for cluster in {str(r.options["engine"]) for r in requests}:
            mine = [r.options for r in requests if r.options["engine"] == cluster]
            if address.is_in_reach(cluster):
                for name in [str(options["name"]) for options in mine]:
                    self._engine(cluster).remove_labelled(f"{plan.JOB_LABEL}={name}")
                for volume in {str(options["volume"]) for options in mine if "volume" in options}:
                    self._remote(cluster).discard(volume)

    def code_store(self) -> CodeStore | None:
        """Return the code that the chosen engine keeps, or ``None`` where it is one of this machine."""
        cluster = address.cluster_of(address.chosen())
        if not address.is_remote(cluster):
            return None
        return CodeVolume(self._remote(cluster).files, cluster, self._image)

    leftovers = staticmethod(find_leftovers)
    remove_leftover = staticmethod(remove_leftover)

    # -- helpers -------------------------------------------------------------------------------

    def _engine(self, cluster: str) -> Engine:
        if cluster not in self._engines:
            self._engines[cluster] = Engine(address.address_of(cluster))
        return self._engines[cluster]

    def _remote(self, cluster: str) -> Remote:
        if cluster not in self._remotes:
            self._remotes[cluster] = Remote(self._engine(cluster))
        return self._remotes[cluster]

    def _handle(self, request: Request, attempt: int) -> Handle:
        id = f"{request.options['name']}|{attempt}"
        return Handle(self.kind, str(request.options["engine"]), id, request.folder)

    def _members(self, folder: str) -> list[str]:
        """Return the members of a job, from its folder; a task by itself is one without a name."""
        if folder not in self._documents:
            try:
                self._documents[folder] = json.loads(Path(folder, plan.CONTAINERS).read_text("utf-8"))
            except (OSError, ValueError):
                return [""]
        return [str(entry["member"]) for entry in self._documents[folder]["containers"]]


def _caller() -> plan.Caller:
    uid = os.getuid()
    name = ""
    with suppress(KeyError):
        name = pwd.getpwuid(uid).pw_name
    return plan.Caller(uid, os.getgid(), name, address.this_machine())


def _code(job: Job, component: Component, create: Mapping[str, Any]) -> dict[str, Any]:
    assert component.code is not None
    user = str(create.get("user", ""))
    caller = os.getuid() != 0 and user.partition(":")[0] == str(os.getuid())
    # Files of a tree are hard links to stored code, which a container's root could write to in spite of their mode.
    return {**component.code, "path": f"{job.local_code}/{component.code['tree']}", "copies": not caller}


def _check(create: Mapping[str, Any], info: Mapping[str, Any], here: bool) -> None:
    """Refuse what this engine can never run.

    Raises:
        ConfigError: naming the field.
    """
    known = known_arguments() | {"image", "command", "name"}
    for name in create:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise ConfigError(
                f"DockerExecutor.additional_kwargs[{name!r}]: docker-py knows no such option",
                hint=f"did you mean {near[0]!r}?" if near else "see the reference of docker-py's containers.run",
            )
    runtimes = info.get("Runtimes") or {}
    if (runtime := create.get("runtime")) and runtimes and runtime not in runtimes:
        raise ConfigError(
            f"DockerExecutor.runtime={runtime!r}: the Docker engine has only {', '.join(sorted(runtimes))}",
            hint="install it (for nvidia: the NVIDIA Container Toolkit), or leave runtime out",
        )
    if here and (gone := _missing_sources([create], own=False)):
        raise ConfigError(
            f"DockerExecutor.volumes: {gone[0]} does not exist on this machine", hint="correct it, or make it first"
        )


def _missing_sources(creates: Sequence[Mapping[str, Any]], own: bool = True) -> list[str]:
    """Return the folders of this machine that should be mounted and do not exist (the engine would make them)."""
    wanted = [v.partition(":")[0] for c in creates for v in c.get("volumes", ())]
    if own:
        wanted += [m["Source"] for c in creates for m in c.get("mounts", ()) if m.get("Type") == "bind"]
    return [path for path in wanted if path.startswith("/") and not os.path.exists(path)]
