"""All that is different on an engine of another machine: files travel, instead of being mounted."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from runyard.backends.base import Handle, Request
from runyard.backends.docker import leftovers
from runyard.backends.docker.delivery import Delivery
from runyard.backends.docker.engine import Engine
from runyard.backends.docker.files import Files, Gone
from runyard.backends.docker.helper import Helper
from runyard.backends.docker.mirror import Mirror
from runyard.backends.docker.outcome import Left, Seen
from runyard.backends.docker.plan import CONTAINERS, EXPERIMENT_DIR, EXPERIMENT_LABEL, VOLUME_LABEL
from runyard.backends.wrapper import ATTEMPTS
from runyard.errors import Unavailable


class Remote:
    """One engine of another machine, as far as files are concerned.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.files = Files(engine)
        self._delivery = Delivery(self.files, self.helper)
        self._helpers: dict[str, Helper] = {}
        self._mirrors: dict[str, Mirror] = {}
        self._starts: dict[str, float | None] = {}

    def helper(self, volume: str, image: str) -> Helper:
        """Return the helper of an experiment."""
        if volume not in self._helpers:
            self._helpers[volume] = Helper(self.files, volume, image)
        return self._helpers[volume]

    def make_volume(self, request: Request) -> None:
        """Make the volume of a job's experiment."""
        volume = str(request.options["volume"])
        self.files.make_volume(volume, {VOLUME_LABEL: "experiment", EXPERIMENT_LABEL: request.job.experiment})

    def deliver(
        self, request: Request, document: Mapping[str, Any], made: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> None:
        """See :meth:`~runyard.backends.docker.delivery.Delivery.bring`."""
        self._delivery.bring(request, document, made)

    def left(self, handle: Handle, member: str, seen: Seen | None) -> Left:
        """Return what a member left, after it was brought here if it has ended.

        Raises:
            Unavailable: when it cannot be brought now: nothing is known then.
        """
        attempt = leftovers.key(handle)[1]
        if seen is not None and seen.live:
            if seen.id not in self._starts:
                now = self.engine.inspect(seen.id)
                self._starts[seen.id] = now.started if now else None
            return Left(started=self._starts[seen.id])
        if seen is None or seen.state != "created":
            mirror = self._mirror(handle.folder)
            try:
                if mirror and (seen is not None or self.files.has_volume(self._volume(handle.folder))):
                    mirror.collect(seen.id if seen else "", attempt, member)
            except Gone:
                raise Unavailable(f"the container of {handle.id} is just being removed") from None
        return leftovers.left(handle.folder, attempt, member)

    def claimed(self, request: Request, attempt: int, members: Sequence[str]) -> bool:
        """Say whether the wrapper of an attempt has begun, also when its containers are gone."""
        if any(leftovers.left(request.folder, attempt, m).started for m in members):
            return True
        volume = str(request.options["volume"])
        if not self.files.has_volume(volume):
            return False
        helper = self.helper(volume, image_of(json.loads(request.files[CONTAINERS])))
        base = f"{_there(request.folder)}/{ATTEMPTS}/{attempt}"
        marks = ["/".join([base, *([m] if m else []), "started"]) for m in members]
        return helper.run('for mark; do [ ! -e "$mark" ] || exit 0; done; exit 1', *marks).code == 0

    def follow(self, handle: Handle, shown: Mapping[str, Seen]) -> None:
        """Bring what is new of the logs of an attempt whose containers are shown."""
        mirror = self._mirror(handle.folder)
        ids = [(seen.id, member) for member, seen in shown.items() if seen.state != "created"]
        if mirror and ids:
            with suppress(Gone):  # it has just ended, and is brought here with all it left
                mirror.follow(ids, leftovers.key(handle)[1])

    def is_due(self, handle: Handle) -> bool:
        """Say whether the logs of a job are worth another look."""
        mirror = self._mirror(handle.folder)
        return mirror is not None and mirror.is_due()

    def dismiss(self, folder: str) -> None:
        """Remove the helper of a job's experiment: it starts again when it is needed."""
        if document := read_document(folder):
            self.helper(str(document["volume"]), image_of(document)).remove()

    def discard(self, volume: str) -> None:
        """Remove the volume of an experiment, with what its tasks wrote."""
        self.engine.remove([f"{volume}.helper"])
        self.files.remove_volume(volume)

    # -- looking into the record ---------------------------------------------------------------

    @staticmethod
    def _volume(folder: str) -> str:
        return str((read_document(folder) or {}).get("volume", ""))

    def _mirror(self, folder: str) -> Mirror | None:
        if folder not in self._mirrors:
            document = read_document(folder)
            if document is None:
                return None
            helper = self.helper(str(document["volume"]), image_of(document))
            self._mirrors[folder] = Mirror(self.files, helper, folder, _there(folder))
        return self._mirrors[folder]


def read_document(folder: str) -> dict[str, Any] | None:
    """Return what the containers of a recorded job are made of; ``None`` where no such job is."""
    try:
        found: dict[str, Any] = json.loads(Path(folder, CONTAINERS).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found


def _there(folder: str) -> str:
    """Return a job's folder in the volume."""
    return f"{EXPERIMENT_DIR}/{os.path.basename(folder)}"


def image_of(document: Mapping[str, Any]) -> str:
    """Return the image of a job's first container."""
    return str(document["containers"][0]["create"]["image"])
