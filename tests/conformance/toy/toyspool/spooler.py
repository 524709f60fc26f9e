"""The scheduler itself: starts tickets in order, a few at a time. ``spooler.py SPOOL SLOTS``; ends with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from toyspool import spool as commands

GRACE = 1.0


class Spooler:
    def __init__(self, spool: Path, slots: int) -> None:
        self.spool, self.slots = spool, slots
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.seen: set[str] = set()
        self.kill_at: dict[str, float] = {}

    def step(self) -> None:
        for path in sorted((self.spool / "tickets").glob("*.json")):
            if path.stem not in self.seen and len(self.running) < self.slots:
                self.seen.add(path.stem)
                self.start(path.stem, commands.read(path))
        for path in list((self.spool / "cancel").iterdir()):
            self.cancel(path.name)
            path.unlink()
        for ticket, child in list(self.running.items()):
            if ticket in self.kill_at and time.monotonic() > self.kill_at[ticket]:
                self.signal(child, signal.SIGKILL)
            code = child.poll()
            if code is not None:
                self.done(ticket, 128 - code if code < 0 else code)

    def start(self, ticket: str, wanted: dict[str, str]) -> None:
        env = {"PATH": os.environ["PATH"], "HOME": "/", "LANG": "C.UTF-8"}
        if wanted["claim"]:
            env["RUNYARD_CLAIM"] = wanted["claim"]
        if wanted["secrets"]:
            env["RUNYARD_SECRETS_FILE"] = wanted["secrets"]
        child = subprocess.Popen(
            ["sh", wanted["script"]],
            cwd="/",
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.running[ticket] = child
        commands.write(self.spool / "states" / f"{ticket}.json", {"state": "running", "at": time.time()})

    def cancel(self, ticket: str) -> None:
        if ticket in self.running:
            self.signal(self.running[ticket], signal.SIGTERM)
            self.kill_at.setdefault(ticket, time.monotonic() + GRACE)
        elif ticket not in self.seen:
            self.seen.add(ticket)
            commands.write(self.spool / "states" / f"{ticket}.json", {"state": "cancelled", "at": time.time()})

    def done(self, ticket: str, code: int) -> None:
        child = self.running.pop(ticket)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        commands.write(self.spool / "states" / f"{ticket}.json", {"state": "done", "code": code, "at": time.time()})

    @staticmethod
    def signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)


def main() -> None:
    parent = os.getppid()
    spooler = Spooler(Path(sys.argv[1]), int(sys.argv[2]))
    while os.getppid() == parent:
        spooler.step()
        time.sleep(0.01)


if __name__ == "__main__":
    main()
