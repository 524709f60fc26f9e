"""The scheduler's commands: what ``qsub``, ``qstat`` and ``qdel`` are elsewhere. ``python -m`` this to submit.

::

    <spool>/tickets/<ticket>.json   one submission: script, name, claim, secrets
    <spool>/states/<ticket>.json    {"state": "running" | "done", "pid": …, "code": …}; none while it waits
    <spool>/cancel/<ticket>         somebody wants it to end
    <spool>/offline                 the scheduler cannot be reached
    <spool>/lossy                   it takes submissions, and its answers are lost
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any


class Unreachable(OSError):
    """The scheduler does not answer."""


def prepare(spool: Path) -> None:
    for name in ("tickets", "states", "cancel"):
        (spool / name).mkdir(parents=True, exist_ok=True)


def reach(spool: Path) -> None:
    if (spool / "offline").exists() or not (spool / "tickets").is_dir():
        raise Unreachable(f"no answer from {spool}")


def submit(spool: Path, script: str, name: str = "by hand", claim: str = "", secrets: str = "") -> str:
    reach(spool)
    ticket = f"{time.time_ns()}-{uuid.uuid4().hex[:8]}"
    write(spool / "tickets" / f"{ticket}.json", {"script": script, "name": name, "claim": claim, "secrets": secrets})
    if (spool / "lossy").exists():
        raise Unreachable(f"the connection to {spool} broke")
    return ticket


def tickets(spool: Path) -> dict[str, dict[str, Any]]:
    reach(spool)
    return {p.stem: read(p) for p in sorted((spool / "tickets").glob("*.json"))}


def state(spool: Path, ticket: str) -> dict[str, Any] | None:
    """Return the state of a ticket, or ``None`` when it is unknown."""
    reach(spool)
    try:
        return read(spool / "states" / f"{ticket}.json")
    except FileNotFoundError:
        return {"state": "waiting"} if (spool / "tickets" / f"{ticket}.json").exists() else None


def cancel(spool: Path, ticket: str) -> None:
    reach(spool)
    if (spool / "tickets" / f"{ticket}.json").exists():
        (spool / "cancel" / ticket).touch()


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def write(path: Path, value: dict[str, Any]) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(value))
    draft.rename(path)


if __name__ == "__main__":
    print(submit(Path(sys.argv[1]), sys.argv[2]))
