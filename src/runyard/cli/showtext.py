"""The description of an experiment or task as text."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

from runyard.cli.output import age, moment
from runyard.engine.report import seconds_of, shown_state
from runyard.states import JobState
from runyard.store.records import JobRow
from runyard.terminal import duration, table


def experiment_text(about: Mapping[str, Any], jobs: Sequence[JobRow]) -> str:
    """Return how an experiment was launched, and a table of its tasks."""
    user, host = about.get("user", ""), about.get("host", "")
    lines = _pairs(
        [
            ("title", about["title"]),
            ("launched", f"{moment(about['created'])} ({age(time.time() - about['created'])})"),
            ("by", f"{user}@{host}" if user else host),
            ("in", about.get("cwd")),
            ("with", about.get("program")),
            ("script", about.get("script")),
            ("its copy", about["script_copy"]),
            ("rerun of", about.get("rerun_of")),
            ("folder", about["folder"]),
            ("troubles", about["controller_log"]),
        ]
    )
    rows = []
    for job in jobs:
        needs = ", ".join(name for name, _ in job.spec["dependencies"]) or "-"
        took = duration(seconds_of(job.status, time.time()))
        rows.append((job.name, shown_state(job.status.state), str(job.status.attempt), took, job.spec["kind"], needs))
    tasks = table(("TASK", "STATE", "ATTEMPT", "TIME", "ON", "AFTER"), rows)
    return "\n".join([about["id"], *lines, "", tasks])


def task_text(task: Mapping[str, Any]) -> str:
    """Return what a task runs, where, and what happened to it."""
    needs = ", ".join(f"{d['task']} ({d['type']})" for d in task["dependencies"])
    why = f": {task['reason']}" if task["reason"] and task["state"] != JobState.SUCCEEDED else ""
    limit = duration(task["time_limit"]) if task["time_limit"] else ""
    lines = [f"task {task['name']}"]
    lines += _pairs(
        [
            ("state", f"{shown_state(JobState(task['state']))}{why}"),
            ("attempt", f"{task['attempt']} (retries: {task['retries']})"),
            ("after", needs),
            ("limit", limit),
            ("ran on" if task["ended"] else "runs on", task["where"]),
        ]
    )
    for member in task["members"]:
        lines += _member(member, grouped=len(task["members"]) > 1)
    lines += _pairs([("submitted", shlex.join(task["submitted"]))])
    lines += _section("attempts", [_attempt(a) for a in task["attempts"]])
    lines += _section(
        "history",
        [
            f"{moment(e['at'])}  {shown_state(JobState(e['state']))} (attempt {e['attempt']}) {e['reason']}"
            for e in task["events"]
        ],
    )
    lines += _section("files", [*task["files"], *task["logs"]])
    return "\n".join(lines)


def _member(member: Mapping[str, Any], grouped: bool) -> list[str]:
    head = [f"  member {member['name']}"] if grouped else []
    executor = {k: v for k, v in member["executor"].items() if k != "env_vars"}
    settings = "  ".join(f"{k}={v}" for k, v in executor.items() if k != "kind")
    env = "  ".join(f"{k}={shlex.quote(v)}" if v != "***" else f"{k}=***" for k, v in member["env"].items())
    return head + _pairs(
        [
            ("runs", member["runs"]),
            ("in", member["cwd"]),
            ("executor", f"{executor.get('kind', '')}  {settings}".rstrip()),
            ("env", env),
            ("setup", member["setup"].strip().replace("\n", "; ")),
        ]
    )


def _attempt(attempt: Mapping[str, Any]) -> str:
    known = attempt["started"] is not None and attempt["ended"] is not None
    took = f" in {duration(attempt['ended'] - attempt['started'])}" if known else ""
    why = f": {attempt['reason']}" if attempt["reason"] and attempt["state"] != JobState.SUCCEEDED else ""
    return f"{attempt['attempt']}  {shown_state(JobState(attempt['state']))}{took}{why}"


def _pairs(pairs: Sequence[tuple[str, Any]]) -> list[str]:
    return [f"  {name:<10} {value}" for name, value in pairs if value]


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"  {title}", *(f"    {line.rstrip()}" for line in lines)] if lines else []
