"""``runyard doctor``: checks, and repairs."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import click

from runyard.cli.checks import ERROR, all_findings, finding_text
from runyard.cli.output import count, emit, emit_json
from runyard.cli.root import SUMMARIES
from runyard.engine.rebuild import Rebuilt, rebuild
from runyard.home import runyard_home
from runyard.store import health
from runyard.terminal import has_colour


@click.command("doctor", short_help=SUMMARIES["doctor"])
@click.option("--rebuild", "repair", is_flag=True, help="Record what lies in the folders and is not recorded.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(repair: bool, as_json: bool) -> int:
    """Check this installation and its records. The exit code is 1 when something is wrong.

    With --rebuild, the database is made anew from the experiments' folders. A usable one is kept and
    completed; a damaged one is moved aside. What still runs is adopted and goes on.
    """
    home = runyard_home()
    done = rebuild(home) if repair else None
    if done and not as_json:
        emit(_rebuilt_text(done) + "\n")
    findings = []
    for finding in all_findings(home):
        findings.append(finding)
        if not as_json:
            emit(finding_text(finding, has_colour(sys.stdout)))
    if as_json:
        checks = [dataclasses.asdict(f) for f in findings]
        emit_json({"home": str(home), "checks": checks, "rebuilt": _rebuilt_json(done) if done else None})
    return 1 if any(f.state == ERROR for f in findings) else 0


def _rebuilt_text(done: Rebuilt) -> str:
    before = {
        health.MISSING: "there was no database",
        health.USABLE: f"the database is usable; {count(done.kept, 'experiment')} kept as they were",
        health.DAMAGED: f"the database was damaged; it lies now at {done.aside}",
    }[done.was]
    lines = [before, f"recovered from folders: {count(len(done.recovered), 'experiment')}"]
    lines += [f"  {id}{' (goes on)' if id in done.live else ''}" for id in done.recovered[:50]]
    if len(done.recovered) > 50:
        lines.append(f"  … and {len(done.recovered) - 50} more")
    if done.problems:
        lines.append("not recovered:")
        lines += [f"  {problem}" for problem in done.problems]
    return "\n".join(lines)


def _rebuilt_json(done: Rebuilt) -> dict[str, Any]:
    return {**dataclasses.asdict(done), "aside": str(done.aside) if done.aside else None}
