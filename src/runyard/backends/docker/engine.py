"""The only module that talks to docker-py, and where its errors are put into our words."""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

from runyard.backends.docker import transport
from runyard.backends.docker.events import Events
from runyard.backends.docker.outcome import Seen, inspected, listed
from runyard.backends.docker.plan import ATTEMPT_LABEL, JOB_LABEL, MEMBER_LABEL
from runyard.errors import ConfigError, SubmitError, Unavailable

_SECONDS = 60
"""How long one answer may take."""

_HINTS = (
    ("could not select device driver", "GPUs need the NVIDIA Container Toolkit: see its installation guide"),
    ("unknown or invalid runtime", "see the runtimes in `docker info`, and correct runtime"),
    ("unknown runtime", "see the runtimes in `docker info`, and correct runtime"),
    ("port is already allocated", "choose another port in additional_kwargs['ports'], or end what uses this one"),
    ("address already in use", "choose another port in additional_kwargs['ports'], or end what uses this one"),
    ("bind source path does not exist", "correct volumes, or make the folder first"),
    ("invalid mount config", "correct volumes"),
    ("invalid volume spec", "correct volumes: source:target[:ro]"),
    ("invalid mode", "correct volumes: source:target[:ro]"),
    ("network", "see `docker network ls`, and correct network"),
    ("executable file not found", "the image needs a shell: sh, mkdir and mv"),
    ("unable to find user", "correct user; numbers (1000:1000) need no entry in the image"),
    ("no such image", "pull or build it first"),
    ("no space left", "free disk space: docker system prune"),
)


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

    @contextmanager
    def asking(self) -> Iterator[Any]:
        """Give the client; an engine that does not answer raises :class:`Unavailable`."""
        docker = sdk()
        requests = importlib.import_module("requests")
        try:
            if self.in_doubt or self.way.knocks:
                options = self.way.ready()
                if self._client is None:
                    self._client = _client(docker, options)
                    weakref.finalize(self, self._client.close)
            yield self._client
            self.in_doubt = False
        except docker.errors.APIError:
            raise
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as e:
            self.in_doubt = True
            raise self._unavailable(e) from e

    def _unavailable(self, error: Exception) -> Unavailable:
        text = str(error)
        if "timed out" in text.lower():
            return Unavailable(f"the Docker engine at {self.address} does not answer", hint="is it overloaded?")
        if explained := self.way.explain(text):
            return explained
        return Unavailable(
            f"no Docker engine answers at {self.address}",
            hint="start it (systemctl start docker), or set DOCKER_HOST or the docker context",
        )

    # -- looking -------------------------------------------------------------------------------

    def info(self) -> Mapping[str, Any]:
        """Return what the engine says about itself."""
        with self.asking() as client, self.reading():
            return dict(client.api.info())

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
                hint="correct container_image, log in to its registry (docker login), or build it (docker build -t)",
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
                if e.status_code != 409:
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
                if e.status_code != 409:
                    raise

    @contextmanager
    def submitting(self) -> Iterator[None]:
        try:
            yield
        except sdk().errors.APIError as e:
            said = _said(e)
            raise SubmitError(f"the Docker engine refused it: {said}", hint=hint_for(said)) from e
        except TypeError as e:  # docker-py's word for an unknown or unfitting argument
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
    return (data.get("State") or {}).get("Status") in ("exited", "dead")


def _said(error: Any) -> str:
    return str(getattr(error, "explanation", None) or error).strip()
