"""A container that does small things with an experiment's volume: ends of logs, listings, copies of code.

It comes from the image of a task, so nothing has to be pulled for it, has no network, and ends by itself. All processes
that look after an experiment share one, by its name. Most short experiments never need it.
"""

from __future__ import annotations

import time
from contextlib import suppress

from runyard.backends.docker.files import LONG_SECONDS, Files, Gone, Ran
from runyard.backends.docker.plan import EXPERIMENT_DIR, VOLUME_LABEL
from runyard.errors import BackendError, Unavailable

CODE_VOLUME = "runyard-code"
"""The volume of an engine with the code trees that were sent to it."""
CACHE_DIR = "/runyard/cache"
SECONDS = 900
"""How long a helper lives; then the next one is started."""
_TRIES = 3


class Helper:
    """The helper of one experiment on one engine. It starts when it is first used.

    Args:
        files: The engine's files.
        volume: The experiment's volume.
        image: An image with a shell and the usual file tools.
    """

    def __init__(self, files: Files, volume: str, image: str) -> None:
        self._files = files
        self._volume = volume
        self._image = image
        self._id = ""

    @property
    def name(self) -> str:
        """The container's name."""
        return f"{self._volume}.helper"

    def run(self, script: str, *args: str, seconds: float = LONG_SECONDS) -> Ran:
        """Run a ``sh`` script, and return what it printed. When the helper ends meanwhile, it is run once more.

        Args:
            script: The script.
            args: Its arguments.
            seconds: How long it may print nothing.

        Raises:
            Unavailable: when there can be no helper.
        """
        for attempt in range(_TRIES):
            time.sleep(0.2 * attempt)  # the last one may be about to be removed
            self._id = self._id or self._start()
            with suppress(Gone):
                return self._files.run(self._id, script, *args, seconds=seconds)
            self._id = ""
        raise Unavailable(f"the container {self.name} ends again and again", hint="see `docker events`")

    def id(self) -> str:
        """Return the id of the container, which runs."""
        seen = self._files.engine.inspect(self._id) if self._id else None
        if seen is None or not seen.live:
            self._id = self._start()
        return self._id

    def remove(self) -> None:
        """Remove it, whoever started it."""
        self._id = ""
        with suppress(BackendError):
            self._files.engine.remove([self.name])

    def _start(self) -> str:
        self._files.make_volume(CODE_VOLUME, {VOLUME_LABEL: "code"})
        create = {
            "image": self._image,
            "name": self.name,
            "entrypoint": ["sleep", str(SECONDS)],
            "command": [],
            "user": "0:0",
            "init": True,
            "network": "none",
            "auto_remove": True,
            "labels": {VOLUME_LABEL: self._volume},
            "mounts": [
                {"Type": "volume", "Source": self._volume, "Target": EXPERIMENT_DIR, "ReadOnly": False},
                {"Type": "volume", "Source": CODE_VOLUME, "Target": CACHE_DIR, "ReadOnly": False},
            ],
        }
        try:
            id, state = self._files.engine.create(create)
            if state == "created":
                self._files.engine.start(id)
            elif state in ("exited", "dead"):  # the engine could not remove it by itself; the next try makes another
                self._files.engine.remove([id])
        except BackendError as e:
            if isinstance(e, Unavailable):
                raise
            raise Unavailable(
                f"no helper could be started from {self._image}: {e.message}",
                hint=e.hint or "the image needs the usual file tools: coreutils or BusyBox",
            ) from e
        return id
