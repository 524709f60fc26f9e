"""The driver's loop, step by step, in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import runyard as run
from runyard.engine import controller
from runyard.engine.driver import Driver
from runyard.errors import LeaseLost, StoreError
from runyard.states import JobState
from runyard.store import lease, records
from runyard.store.db import Database
from runyard.testing.conformance import Harness


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    monkeypatch.chdir(tmp_path)
    harness = Harness(run.LocalExecutor, tmp_path)
    yield harness
    harness.end_everything()


def driven(harness: Harness, *texts: str) -> tuple[Database, str, Driver]:
    exp = harness.experiment()
    for i, text in enumerate(texts):
        exp.add(run.Script(inline=text), name=f"task-{i}")
    _, _, db = harness.recorded(exp)
    epoch = lease.acquire(db, exp.id, controller.me(), controller.is_alive)
    assert epoch is not None
    return db, exp.id, Driver(db, exp.id, epoch)


def test_it_drives_to_the_end(harness: Harness) -> None:
    db, id, driver = driven(harness, "true", "exit 3")
    with db:
        driver.run()
        assert [r.status.state for r in records.jobs(db, id)] == [JobState.SUCCEEDED, JobState.FAILED]
        assert records.experiment(db, id).live == 0


def test_a_store_that_cannot_be_written_for_a_while(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a step nor a beat that fails ends the driver; what happened meanwhile is seen again."""
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.0)
    db, id, driver = driven(harness, f"echo ran >> {harness.shared}/proof")
    with db:
        db.run("PRAGMA query_only = 1")
        with pytest.raises(StoreError):
            driver.step()
        driver.wait()
        assert harness.lines("proof") == [], "submitted without a record of the intent"
        db.run("PRAGMA query_only = 0")
        driver.run()
    assert harness.lines("proof") == ["ran"]
    assert harness.states(id) == {"task-0": JobState.SUCCEEDED}


def test_a_handle_that_could_not_be_written_is_found_again(harness: Harness) -> None:
    db, id, driver = driven(harness, f"echo ran >> {harness.shared}/proof; sleep 0.3")
    with db:
        submit = driver.ledger.backends[next(iter(driver.ledger.backends))].submit

        def submit_and_fill_the_disk(requests):
            handles = submit(requests)
            db.run("PRAGMA query_only = 1")
            return handles

        driver.ledger.backends[next(iter(driver.ledger.backends))].submit = submit_and_fill_the_disk  # type: ignore[method-assign]
        with pytest.raises(StoreError):
            driver.step()
        db.run("PRAGMA query_only = 0")
        assert harness.states(id) == {"task-0": JobState.SUBMITTING}
        harness.until_lines("proof")
        driver.run()
    assert harness.states(id) == {"task-0": JobState.SUCCEEDED}
    assert harness.lines("proof") == ["ran"]


def test_it_stops_when_another_has_taken_over(harness: Harness) -> None:
    db, id, driver = driven(harness, "sleep 0.2")
    with db:
        driver.step()
        db.run("UPDATE experiments SET lease_epoch = lease_epoch + 1 WHERE id = ?", (id,))
        with pytest.raises(LeaseLost):
            driver.run()
        db.run("UPDATE experiments SET lease_owner = '' WHERE id = ?", (id,))
    harness.drive(id)
    assert harness.until_ended(id) == {"task-0": JobState.SUCCEEDED}
    for backend in driver.ledger.backends.values():
        for running in backend._running.values():  # type: ignore[attr-defined]
            running.child.wait(timeout=60)
