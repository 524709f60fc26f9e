"""``runyard profile check``."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator

import click

from runyard.cli.checks import ERROR, OK, WARNING, Finding, finding_text
from runyard.cli.output import count, emit, emit_json
from runyard.cli.profile import SUMMARIES, complete_profile
from runyard.engine import launch
from runyard.engine.plan import Entry
from runyard.errors import RunyardError
from runyard.executors.base import Executor
from runyard.home import runyard_home
from runyard.packagers.base import Packager
from runyard.profiles.load import Target, resolve
from runyard.secrets import Secret
from runyard.task import Script
from runyard.terminal import has_colour


@click.command("check", short_help=SUMMARIES["check"])
@click.argument("name", shell_complete=complete_profile)
@click.option("--batch", is_flag=True, help="As `--batch NAME` would use it; default: as `--run NAME`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name: str, batch: bool, as_json: bool) -> int:
    """Log in where the profile NAME leads, and say what would not work. Nothing is submitted.

    The exit code is 2 when the profile itself is wrong, and 1 when something it names does not work.
    """
    target = resolve(name, "batch" if batch else "run")
    findings = []
    for finding in _findings(target):
        findings.append(finding)
        if not as_json:
            emit(finding_text(finding, has_colour(sys.stdout)))
    if as_json:
        emit_json({"profile": name, "checks": [dataclasses.asdict(f) for f in findings]})
    return 1 if any(f.state == ERROR for f in findings) else 0


def _findings(target: Target) -> Iterator[Finding]:
    executor = target.executor
    yield Finding(OK, "profile", f"{' -> '.join(target.profile.chain)}: {executor.info()}")
    for line in target.warnings:
        yield Finding(WARNING, "tokens", line)
    for name, value in executor.env_vars.items():
        if isinstance(value, Secret):
            yield _tried("secrets", f"{name} is there", value.resolve)
    yield _code(executor)
    yield _login(executor)


def _code(executor: Executor) -> Finding:
    packager = executor.packager
    prepared = getattr(packager, "prepared", None)
    if prepared is None or packager.symlink_from_remote_dir:
        return Finding(OK, "code", "nothing ships: the job finds its code where it runs")
    try:
        listing = prepared(None)
    except RunyardError as e:
        return Finding(ERROR, "code", e.message, e.hint)
    return Finding(OK, "code", f"{count(sum(f.tag != 'd' for f in listing.found), 'file')} would ship from here")


def _login(executor: Executor) -> Finding:
    """Let the backend look at a job that does nothing: it logs in, and asks whether such a job could run."""
    probe = executor.clone()
    probe.packager = Packager()
    probe.env_vars = {}

    def entries(id: str) -> list[Entry]:
        probe.experiment_id = id
        return [Entry("check", (Script(inline="true"),), (probe,))]

    home = runyard_home()
    try:
        _, jobs, _ = launch.preview(home, "check", int(time.time()), entries)
        told = launch.prepare(home, jobs)
    except RunyardError as e:
        return Finding(ERROR, "launch", e.message, e.hint)
    return Finding(OK, "launch", "; ".join(["a job could run", *told]))


def _tried(about: str, fine: str, action: Callable[[], object]) -> Finding:
    try:
        action()
    except RunyardError as e:
        return Finding(ERROR, about, e.message, e.hint)
    return Finding(OK, about, fine)
