"""What of a job's folder goes to another machine."""

from __future__ import annotations

from pathlib import Path

from runyard.backends.base import JobId, Request
from runyard.backends.slurm.delivery import files


def test_what_came_from_the_target_is_not_sent_there(tmp_path: Path) -> None:
    for name in ("job.sh", "attempts/1/log", "log", "pulled/checkpoint"):
        (tmp_path / "e" / "task" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "e" / "task" / name).write_text(name)
    request = Request(JobId("e", "task"), (), {}, "", options={"home": str(tmp_path), "path": "e/task"})
    assert [name for name, _, _ in files([request], [])] == ["e/task/job.sh", "e/task/attempts/.keep"]
