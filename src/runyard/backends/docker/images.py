"""Images that an engine lacks are pulled, and people see how far that is."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from runyard.terminal import is_terminal

_EVERY_SECONDS = 5.0


def progress(events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield, for each event of a pull, how far it is, in words. Pure.

    Example:
        >>> list(progress([{"id": "a", "status": "Downloading", "progressDetail": {"current": 5, "total": 10**6}},
        ...                {"id": "a", "status": "Pull complete"}]))
        ['0 of 1 layers, 0.0 of 1.0 MB', '1 of 1 layers, 1.0 of 1.0 MB']
    """
    layers: dict[str, tuple[int, int, bool]] = {}
    for event in events:
        id, status = str(event.get("id", "")), str(event.get("status", ""))
        if not id or status.startswith("Pulling from"):
            continue
        done, total, complete = layers.get(id, (0, 0, False))
        if status == "Downloading":
            detail = event.get("progressDetail") or {}
            done, total = int(detail.get("current") or done), int(detail.get("total") or total)
        elif status in ("Pull complete", "Already exists", "Download complete"):
            done, complete = total, complete or status != "Download complete"
        layers[id] = (done, total, complete)
        count = sum(1 for x in layers.values() if x[2])
        now, whole = (sum(x[i] for x in layers.values()) / 1e6 for i in (0, 1))
        yield f"{count} of {len(layers)} layers, {now:.1f} of {whole:.1f} MB"


def show(image: str, events: Iterable[Mapping[str, Any]]) -> None:
    """Pull an image (by reading its events), and print how far it is on standard error."""
    live, last = is_terminal(sys.stderr), time.monotonic()
    sys.stderr.write(f"pulling {image}" + ("" if live else "\n"))
    for text in progress(events):
        if live:
            sys.stderr.write(f"\r\033[Kpulling {image}: {text}")
            sys.stderr.flush()
        elif time.monotonic() - last > _EVERY_SECONDS:
            sys.stderr.write(f"pulling {image}: {text}\n")
            last = time.monotonic()
    sys.stderr.write(f"\r\033[Kpulled {image}\n" if live else f"pulled {image}\n")
