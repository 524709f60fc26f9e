"""What is shown, recorded and kept: dry-runs, reruns, secrets, scripts for people."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from runyard.backends.base import Job
from runyard.backends.registry import backend_class
from runyard.engine import launch
from runyard.secrets import Secret
from runyard.states import JobState
from runyard.task import Script
from runyard.testing.conformance.harness import Harness, Scenario, dumped, tree

_SECRETS = {"HF_TOKEN": "hf-conformance-Qx81", "FROM_HERE": 'it\'s $(secret) "47"\nsecond line of it'}


def plan_is_pure(h: Harness) -> None:
    """Planning the same job twice gives the same bytes, also after a trip through JSON, and changes no file."""
    exp = h.experiment(env_vars={"B": "1", "A": "2"}, setup_lines="true")
    exp.add(Script(inline="echo hello", args=["x y"], env={"D": "1", "C": "2"}), name="task")
    h.home.mkdir(exist_ok=True)
    before = tree(h.folder)
    _, (first,), _ = launch.preview(h.home, exp.title, 1_700_000_000, exp._entries(False))
    _, (second,), _ = launch.preview(h.home, exp.title, 1_700_000_000, exp._entries(False))
    backend = backend_class(h.executor()).connect(h.executor(), str(h.home))
    third = backend.plan(Job.from_json(first.job.to_json()))
    assert tree(h.folder) == before
    assert first.files == second.files
    assert dumped(first.request.to_json()) == dumped(second.request.to_json()) == dumped(third.to_json())
    assert dict(first.request.files) == dict(second.request.files) == dict(third.files)


def dryrun_is_what_is_submitted(h: Harness) -> None:
    """What a dry-run shows is, byte for byte, what the launch with the same id writes and submits."""
    exp = h.experiment(retries=2, env_vars={"A": "it's\nodd"})
    exp.add(Script(inline="echo one"), name="one")
    exp.add(Script(inline="echo two", args=["$x"]), name="two", dependencies=["one"])
    shown = exp.dryrun(log=False)
    assert not list(h.home.glob("experiments/*/*")), "a dry-run left files"
    exp.run()
    assert exp.id in shown
    for name, row in h.rows(exp.id).items():
        folder = row.request["folder"]
        assert f"# command: {shlex.join(row.request['command'])}\n" in shown
        assert row.request["files"], "nothing is submitted?"
        for file in row.request["files"]:
            text = Path(folder, file).read_text()
            assert f"# file: {folder}/{file}\n{text}" in shown, f"{name}: {file} is not what was shown"


def submitted_by_hand(h: Harness) -> None:
    """A recorded script that a person submits runs as an attempt of its own, and leaves the record alone."""
    exp = h.experiment()
    exp.add(h.writes("$RUNYARD_ATTEMPT", "proof"), name="task")
    exp.run()
    before = h.rows(exp.id)["task"]
    h.submit_by_hand(before)
    h.until_lines("proof", 2)
    first, second = h.lines("proof")
    assert first == "1"
    assert second != "1"
    assert h.rows(exp.id)["task"] == before


def rerun(h: Harness) -> None:
    """``reset`` gives a new experiment with all tasks, dependencies and settings, from the record alone."""
    exp = h.experiment(retries=1)
    exp.add(h.writes("first", "proof", "[ $RUNYARD_ATTEMPT -ge 2 ]"), name="first")
    exp.add(h.writes("second", "proof"), name="second", dependencies=["first"])
    exp.run()
    new = h.again(exp.id).reset()
    new.clean_mode = True
    new.run()
    assert new.id != exp.id
    assert h.lines("proof") == ["first", "first", "second"] * 2
    assert h.rows(new.id)["second"].spec["dependencies"] == [["first", "afterok"]]


def rerun_what_failed(h: Harness) -> None:
    """Only what did not succeed runs again; what it needed of the rest counts as satisfied."""
    exp = h.experiment()
    exp.add(h.writes("good", "proof"), name="good")
    exp.add(h.writes("bad", "proof", f"[ -e {h.shared}/mended ]"), name="bad", dependencies=["good"])
    exp.add(h.writes("last", "proof"), name="last", dependencies=["bad", "good"])
    exp.run(raise_on_failure=False)
    h.go("mended")
    results = exp.reset(failed=True).run()
    assert {n: r.status for n, r in results.items()} == dict.fromkeys(("bad", "last"), JobState.SUCCEEDED)
    assert h.lines("proof") == ["good", "bad", "bad", "last"]


def secrets_never_show(h: Harness) -> None:
    """Secrets reach the task, and appear in no file, argument list, dry-run or log; they go with the job."""
    before = os.environ.get("FROM_HERE")
    os.environ["FROM_HERE"] = _SECRETS["FROM_HERE"]
    try:
        exp = h.experiment(env_vars={"HF_TOKEN": _SECRETS["HF_TOKEN"], "FROM_HERE": Secret("FROM_HERE")})
        text = (
            'set -x; echo "$HF_TOKEN $FROM_HERE"; set +x\n'
            f'for v in HF_TOKEN FROM_HERE; do printf %s "${{!v}}" | sha256sum; done\ntouch {h.shared}/ready\n'
        )
        exp.add(Script(inline=text + h.waits_for("go")), name="task")
        _hides(exp.dryrun(log=False).encode(), "the dry-run")
        exp.run(detach=True)
        h.until(lambda: (h.shared / "ready").exists(), "the task's start")
        none_on_disk(h, _SECRETS.values(), but="secrets")
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                _hides(process.read_bytes(), str(process))
            except OSError:
                continue  # it has ended
        h.go("go")
        assert h.until_ended(exp.id) == {"task": JobState.SUCCEEDED}
    finally:
        os.environ.pop("FROM_HERE") if before is None else os.environ.update({"FROM_HERE": before})
    log = h.text(exp.id, "task")
    assert "***" in log
    for value in _SECRETS.values():
        assert hashlib.sha256(value.encode()).hexdigest() in log, "the task did not get the value"
    secrets_go(h)
    none_on_disk(h, _SECRETS.values())


def secrets_go(h: Harness) -> None:
    """Wait until the files with secrets are removed."""
    folders = [root / "secrets" for root in (h.home, *h.roots)]
    h.until(lambda: not any(f or d for root in folders for _, d, f in os.walk(root)), "the removal of the secrets")


def none_on_disk(h: Harness, values: Iterable[str], but: str = "") -> None:
    """Look for secret values in all files, but for the folder ``but``, whose files must be private."""
    for root in (h.home, *h.roots):
        for folder, folders, files in os.walk(root):
            for path in (Path(folder, name) for name in (*folders, *files)):
                with suppress(FileNotFoundError):  # processes are at work: what is gone holds nothing any more
                    mode = path.lstat().st_mode
                    if but and path.is_relative_to(root / but):
                        assert not stat.S_IMODE(mode) & 0o077, f"{path} is open to others"
                    elif stat.S_ISREG(mode):
                        _hides(path.read_bytes(), str(path), values)


def _hides(data: bytes, where: str, values: Iterable[str] = _SECRETS.values()) -> None:
    pieces = [line for value in values for line in value.splitlines()]
    assert not [p for p in pieces if p.encode() in data], f"a secret stands in {where}"


def records_are_private(h: Harness) -> None:
    """Nobody else may read or write what is kept of an experiment."""
    exp = h.experiment()
    exp.add(Script(inline="echo mine"), name="task")
    exp.run()
    for path in (h.home, *h.home.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert path.is_symlink() or not mode & 0o077, f"{path} has mode {mode:o}"


SCENARIOS: dict[str, Scenario] = {
    f.__name__: f
    for f in (
        plan_is_pure,
        dryrun_is_what_is_submitted,
        submitted_by_hand,
        rerun,
        rerun_what_failed,
        secrets_never_show,
        records_are_private,
    )
}
