"""The only module that talks to docker-py, and where its errors are put into our words."""

from __future__ import annotations

import importlib
import socket
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from runyard.backends.docker import transport
from runyard.backends.docker.events import Events
from runyard.backends.docker.outcome import Seen, inspected, listed
from runyard.backends.docker.plan import ATTEMPT_LABEL, EXPERIMENT_LABEL, JOB_LABEL, MEMBER_LABEL, TASK_LABEL
from runyard.errors import ConfigError, SubmitError, Unavailable

_SECONDS = 60
"""How long one answer may take."""
_ALIVE = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))
        if hasattr(socket, name)
    ),
]
"""A machine that goes off is noticed, also where docker-py waits without limit: while it pulls."""

_HINTS = (
    (
        "could not select device driver",
        "the engine has no GPUs to give: they need a driver and the NVIDIA Container Toolkit; a task without GPUs "
        "leaves num_gpus out",
    ),
    ("unknown or invalid runtime", "see the runtimes in `docker info`, and correct runtime"),
    ("unknown runtime", "see the runtimes in `docker info`, and correct runtime"),
    ("port is already allocated", "choose another port in additional_kwargs['ports'], or end what uses this one"),
    ("address already in use", "choose another port in additional_kwargs['ports'], or end what uses this one"),
    ("bind source path does not exist", "correct volumes, or make the folder first"),
    ("invalid mount config", "correct volumes"),
    ("invalid volume spec", "correct volumes: source:target[:ro]"),
    ("invalid mode", "correct volumes: source:target[:ro]"),
    ("mount a directory onto a file", "correct volumes: a folder goes onto a folder, a file onto a file"),
    ("rlimit", "correct ulimits; the names are those in `man getrlimit`, in small letters and without RLIMIT_"),
    ("invalid port", "correct additional_kwargs['ports']: {\"80/tcp\": 8080} opens port 80 as 8080 of this machine"),
    ("gathering device information", "correct additional_kwargs['devices']"),
    ("network", "see `docker network ls`, and correct network"),
    ("executable file not found", "the image needs a shell: sh, mkdir and mv"),
    ("unable to find user", "correct user; numbers (1000:1000) need no entry in the image"),
    ("no such image", "pull or build it first"),
    ("no space left", "free disk space: docker system prune"),
)


_PULL_HINTS = (
    (
        ("manifest unknown", "not found", "name unknown"),
        "correct container_image, or build it: docker build -t {image} .",
    ),
    (
        ("unauthorized", "denied", "no basic auth", "authentication required"),
        "log in to its registry (docker login{host}), or correct container_image",
    ),
    (
        ("connection refused", "no such host", "unreachable", "timeout", "lookup ", "server gave http response"),
        "its registry{of} cannot be reached from the engine: correct container_image, or bring the image as a file "
        "(docker load)",
    ),
)
_NOISE = (
    "failed to create shim task: ",
    "OCI runtime create failed: ",
    "runc create failed: ",
    "unable to start container process: ",
    "error during container init: ",
)
"""Words of an engine's layers before what was wrong."""


def hint_for_pull(image: str, said: str) -> str:
    """Return what to do when an image could not be pulled.

    Example:
        >>> hint_for_pull("here:5000/box:1", 'Head "http://here:5000/v2/box/manifests/1": no basic auth credentials')
        'log in to its registry (docker login here:5000), or correct container_image'
    """
    first, slash, _ = image.partition("/")
    host = first if slash and ("." in first or ":" in first or first == "localhost") else ""
    lower = said.lower()
    words = {"image": image, "host": f" {host}" if host else "", "of": f" {host}" if host else " (Docker Hub)"}
    for causes, hint in _PULL_HINTS:
        if any(cause in lower for cause in causes):
            return hint.format(**words)
    return "correct container_image, log in to its registry (docker login), or build it (docker build -t)"


def hint_for(said: str) -> str:
    """Return what to do about something that an engine said.

    Example:
        >>> hint_for("driver failed programming: Bind for 0.0.0.0:80 failed: port is already allocated")
        "choose another port in additional_kwargs['ports'], or end what uses this one"
    """
    lower = said.lower()
    return next((hint for words, hint in _HINTS if words in lower), "")


def sdk() -> Any:
    """Return the package docker.

    Raises:
        ConfigError: when it is not installed.
    """
    try:
        return importlib.import_module("docker")
    except ImportError as e:
        raise ConfigError("DockerExecutor needs docker-py", hint='pip install "runyard[docker]"') from e


@dataclass
class Held:
    """Of one job, what the engine has: containers, networks, and whether one of them runs."""

    label: str
    experiment: str
    task: str
    what: list[str] = field(default_factory=list)
    live: bool = False


class Engine:
    """One Docker engine. The connection is made when it is first used.

    Args:
        address: Where it answers, as in ``DOCKER_HOST``; see :mod:`runyard.backends.docker.address`.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.way = transport.to(address)
        self.events = Events(self.way.connect)
        self._client: Any = None
        self.in_doubt = True
        """The last question had no answer."""
        self._rootless: bool | None = None

    @contextmanager
    def asking(self) -> Iterator[Any]:
        """Give the client; an engine that does not answer raises :class:`Unavailable`."""
        docker = sdk()
        requests, urllib3 = importlib.import_module("requests"), importlib.import_module("urllib3")
        foreign = (docker.errors.DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError)
        try:
            if self.in_doubt or self.way.knocks:
                options = self.way.ready()
                if self._client is None:
                    self._client = _client(docker, options)
                    adapter = requests.adapters.HTTPAdapter()
                    adapter.init_poolmanager(10, 10, socket_options=_ALIVE)
                    for way in ("http://", "https://"):
                        self._client.api.mount(way, adapter)
                    weakref.finalize(self, self._client.close)
            yield self._client
            self.in_doubt = False
        except docker.errors.APIError:
            raise
        except (*foreign, OSError) as e:
            self.in_doubt = True
            raise self._unavailable(e) from e

    def _unavailable(self, error: Exception) -> Unavailable:
        text = str(error)
        if "timed out" in text.lower():
            return Unavailable(f"the Docker engine at {self.address} does not answer", hint="is it overloaded?")
        if explained := self.way.explain(text):
            return explained
        start = "systemctl start docker"
        if "podman" in self.address:
            start = f"systemctl {'--user ' if '/run/user/' in self.address else ''}start podman.socket"
        return Unavailable(
            f"no Docker engine answers at {self.address}",
            hint=f"start it ({start}), or set DOCKER_HOST or the docker context",
        )

    # -- looking -------------------------------------------------------------------------------

    def info(self) -> Mapping[str, Any]:
        """Return what the engine says about itself."""
        with self.asking() as client, self.reading():
            return dict(client.api.info())

    def rootless(self) -> bool:
        """Say whether root in a container is an ordinary user outside; asked once.

        Source: ``docker info`` lists ``name=rootless`` among its security options, Podman has a field ``Rootless``.
        """
        if self._rootless is None:
            info = self.info()
            options = info.get("SecurityOptions") or ()
            self._rootless = bool(info.get("Rootless")) or any("name=rootless" in str(o) for o in options)
        return self._rootless

    def containers(self, label: str) -> dict[tuple[str, int], dict[str, Seen]]:
        """Return our containers that have a label, by job and attempt, then by member."""
        with self.asking() as client, self.reading():
            rows = client.api.containers(all=True, filters={"label": [JOB_LABEL, label]})
        out: dict[tuple[str, int], dict[str, Seen]] = {}
        for row in rows:
            labels = row.get("Labels") or {}
            attempt = str(labels.get(ATTEMPT_LABEL, ""))
            if attempt.isdigit():
                job = out.setdefault((labels[JOB_LABEL], int(attempt)), {})
                job[labels.get(MEMBER_LABEL, "")] = listed(row)
        return out

    def jobs(self) -> list[Held]:
        """Return the jobs, of whatever home, of which the engine holds containers or networks."""
        with self.asking() as client, self.reading():
            containers = client.api.containers(all=True, filters={"label": [JOB_LABEL]})
            networks = client.api.networks(filters={"label": [JOB_LABEL]})
        out: dict[str, Held] = {}
        for row, what in [*((c, "container") for c in containers), *((n, "network") for n in networks)]:
            labels = row.get("Labels") or {}
            name = row["Names"][0].lstrip("/") if what == "container" else row["Name"]
            job = Held(labels[JOB_LABEL], labels.get(EXPERIMENT_LABEL, ""), labels.get(TASK_LABEL, ""))
            job = out.setdefault(job.label, job)
            job.what.append(f"{what} {name}")
            job.live |= what == "container" and listed(row).live
        return list(out.values())

    def inspect(self, id: str) -> Seen | None:
        """Return all that is known of a container, or ``None`` when it is gone."""
        docker = sdk()
        with self.asking() as client, self.reading():
            try:
                data = client.api.inspect_container(id)
                said = client.api.logs(id, tail=3).decode("utf-8", "replace").strip() if _ended(data) else ""
            except docker.errors.NotFound:
                return None
            return inspected(data, said)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn an answer that is an error into :class:`Unavailable`: nothing is known then."""
        try:
            yield
        except sdk().errors.APIError as e:
            if isinstance(e, sdk().errors.NotFound):
                raise
            raise Unavailable(f"the Docker engine at {self.address} answered: {_said(e)}") from e

    def missing_images(self, images: Sequence[str]) -> list[str]:
        """Return those of the images that the engine does not have."""
        out = []
        with self.asking() as client, self.reading():
            for image in images:
                try:
                    client.api.inspect_image(image)
                except sdk().errors.NotFound:
                    out.append(image)
                except sdk().errors.APIError as e:
                    if "invalid reference" not in _said(e):
                        raise
                    raise ConfigError(
                        f"DockerExecutor.container_image={image!r} is no name of an image: {_said(e)}",
                        hint="write [registry/]name[:tag], in small letters: container_image='python:3.12-slim'",
                    ) from e
        return out

    def has_network(self, name: str) -> bool:
        """Say whether a network exists."""
        with self.asking() as client, self.reading():
            try:
                client.api.inspect_network(name)
            except sdk().errors.NotFound:
                return False
            return True

    # -- changing ------------------------------------------------------------------------------

    def pull(self, image: str) -> Iterator[Mapping[str, Any]]:
        """Pull an image, and yield what the engine reports.

        Raises:
            ConfigError: when it cannot be had.
        """
        why = ""
        with self.asking() as client:
            try:
                for event in client.api.pull(image, stream=True, decode=True):
                    if "error" in event:
                        why = str(event["error"])
                        break
                    yield event
            except sdk().errors.APIError as e:
                why = _said(e)
        if why:
            raise ConfigError(
                f"the image {image!r} is not on the Docker engine, and could not be pulled: {why}",
                hint=hint_for_pull(image, why),
            )

    def create(self, arguments: Mapping[str, Any]) -> tuple[str, str]:
        """Create a container, or find the one that has its name; return its id and state.

        Raises:
            SubmitError: when the engine refuses it.
        """
        docker = sdk()
        values = dict(arguments)
        image = values.pop("image")
        with self.asking() as client, self.submitting():
            try:
                return str(client.containers.create(image, **values).id), "created"
            except docker.errors.APIError as e:
                if not _taken(e):
                    raise
                data = client.api.inspect_container(values["name"])
                return str(data["Id"]), str(data["State"]["Status"])

    def start(self, id: str) -> None:
        """Start a container; one that runs already is left alone.

        Raises:
            SubmitError: when the engine cannot.
        """
        with self.asking() as client, self.submitting():
            client.api.start(id)

    def make_network(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a network, unless there is one of that name."""
        with self.asking() as client, self.submitting():
            try:
                client.api.create_network(name, driver="bridge", check_duplicate=True, labels=dict(labels))
            except sdk().errors.APIError as e:
                if not _taken(e):
                    raise

    @contextmanager
    def submitting(self) -> Iterator[None]:
        try:
            yield
        except sdk().errors.APIError as e:
            said = _said(e)
            raise SubmitError(f"the Docker engine refused it: {said}", hint=hint_for(said)) from e
        except importlib.import_module("requests").exceptions.RequestException:
            raise
        except (TypeError, ValueError, LookupError, AttributeError, sdk().errors.DockerException) as e:
            # docker-py's words for arguments that it cannot send; what the engine says are errors of its API.
            raise SubmitError(f"docker-py refused it: {e}", hint="correct additional_kwargs") from e

    def signal(self, ids: Sequence[str], name: str) -> None:
        """Send a signal to containers; those that have ended meanwhile are left alone."""
        with self.asking() as client:
            for id in ids:
                with suppress(sdk().errors.APIError):
                    client.api.kill(id, signal=name)

    def remove(self, ids: Sequence[str], network: str = "") -> None:
        """Remove containers with their anonymous volumes, and a network that was theirs."""
        with self.asking() as client:
            for id in ids:
                with suppress(sdk().errors.APIError):
                    client.api.remove_container(id, v=True, force=True)
            if network:
                with suppress(sdk().errors.APIError):
                    client.api.remove_network(network)

    def remove_labelled(self, label: str) -> int:
        """Remove all containers and networks that have a label; return how many there were."""
        with self.asking() as client, self.reading():
            filters = {"label": [JOB_LABEL, label]}
            ids = [c["Id"] for c in client.api.containers(all=True, filters=filters)]
            networks = [n["Id"] for n in client.api.networks(filters=filters)]
        self.remove(ids)
        for network in networks:
            self.remove((), network)
        return len(ids) + len(networks)


def _client(docker: Any, options: Mapping[str, Any]) -> Any:
    """Return a client of docker-py that has asked the engine for its version."""
    if "tls" not in options:
        return docker.DockerClient(**options, version="auto", timeout=_SECONDS)
    # REQUESTS_CA_BUNDLE, where it is set, would replace the authority that was given; so nobody asks before it is off.
    first = docker.DockerClient(**options, version=docker.constants.DEFAULT_DOCKER_API_VERSION, timeout=_SECONDS)
    with closing(first):
        first.api.trust_env = False
        version = first.api.version(api_version=False)["ApiVersion"]
    client = docker.DockerClient(**options, version=version, timeout=_SECONDS)
    client.api.trust_env = False
    return client


def known_arguments() -> frozenset[str]:
    """Return the arguments that docker-py's ``containers.create`` takes."""
    module = importlib.import_module("docker.models.containers")
    names = {*module.RUN_CREATE_KWARGS, *module.RUN_HOST_CONFIG_KWARGS}
    return frozenset(names | {"ports", "volumes", "network", "networking_config", "version", "platform"})


def _ended(data: Mapping[str, Any]) -> bool:
    return (data.get("State") or {}).get("Status") in ("exited", "stopped", "dead")


def _taken(error: Any) -> bool:
    """Say whether there is one of that name already, which Podman 4 answers with 500 instead of 409."""
    return error.status_code == 409 or "already in use" in _said(error) or "already exists" in _said(error)


def _said(error: Any) -> str:
    said = str(getattr(error, "explanation", None) or error).strip()
    for noise in _NOISE:
        said = said.replace(noise, "")
    return said
