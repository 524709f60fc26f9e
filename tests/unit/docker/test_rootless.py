"""Whose number a container gets below a rootless engine."""

from __future__ import annotations

from typing import Any

import pytest

from runyard.backends.docker import plan

ENTRY = {"member": "", "as_caller": True, "create": {"command": [], "labels": {}, "user": "1000:1000"}}


def document(**changes: Any) -> dict[str, Any]:
    return {"name": "job-01234567", "network": False, "containers": [{**ENTRY, **changes}]}


@pytest.mark.parametrize(
    ("rootless", "as_caller", "user"),
    [(True, True, "0:0"), (True, False, "1000:1000"), (False, True, "1000:1000")],
)
def test_the_caller_is_root_there(rootless: bool, as_caller: bool, user: str) -> None:
    (create,) = plan.at(document(as_caller=as_caller), 1, rootless=rootless)
    assert create["user"] == user


def test_requests_recorded_before_there_was_such_a_thing_still_run() -> None:
    old = document()
    del old["containers"][0]["as_caller"]
    (create,) = plan.at(old, 2, rootless=True)
    assert (create["user"], create["name"]) == ("1000:1000", "job-01234567.2")
