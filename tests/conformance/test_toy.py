"""A third party's backend, found by its entry point: the same suite, and nothing of Runyard edited."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import runyard as run
from runyard import executors
from runyard.states import JobState
from runyard.testing import conformance

TOY = Path(__file__).with_name("toy")


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[conformance.Harness]:
    monkeypatch.syspath_prepend(str(TOY))
    monkeypatch.setenv("PYTHONPATH", str(TOY))
    kind = executors.executor_class("toyspool")
    from toyspool import spool as commands

    spool = tmp_path / "spool"
    commands.prepare(spool)

    @contextmanager
    def outage() -> Iterator[None]:
        (spool / "offline").touch()
        try:
            yield
        finally:
            (spool / "offline").unlink()

    spooler = subprocess.Popen([sys.executable, str(TOY / "toyspool" / "spooler.py"), str(spool), "6"])
    try:
        yield conformance.Harness(
            lambda **fields: kind(spool=str(spool), **fields), tmp_path, outage=outage, roots=[spool]
        )
    finally:
        spooler.terminate()
        spooler.wait(timeout=60)


NO_GROUPS = "the spool runs single scripts"

test_toy = conformance.suite(
    unsupported={name: NO_GROUPS for name in conformance.SCENARIOS if "group" in name and "refused" not in name}
)


def test_the_toy_is_found_by_its_entry_point_and_refused_by_name_without_it(
    harness: conformance.Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert executors.third_party()["toyspool"].value == "toyspool.executor:ToySpoolExecutor"
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(TOY)])
    with pytest.raises(run.errors.ConfigError, match="unknown executor 'toyspool'"):
        executors.executor_class("toyspool")


def test_a_launcher_that_does_not_work_there_is_refused(harness: conformance.Harness) -> None:
    exp = harness.experiment(launcher="torchrun")
    exp.add(run.Script(inline="true"), name="task")
    with pytest.raises(run.errors.ConfigError, match="'torchrun' does not work in a spool"):
        exp.run()
    assert not list(harness.home.glob("experiments/*/*"))


def test_tasks_of_one_experiment_run_here_and_there(harness: conformance.Harness) -> None:
    """Dependencies work across backends."""
    exp = harness.experiment()
    exp.add(harness.writes("here", "proof"), run.LocalExecutor(), name="here")
    exp.add(harness.writes("there", "proof"), name="there", dependencies=["here"])
    exp.add(harness.writes("back", "proof"), run.LocalExecutor(), name="back", dependencies=["there"])
    exp.run()
    assert harness.lines("proof") == ["here", "there", "back"]


def test_lost_answer_of_a_submission_is_cleared_up(harness: conformance.Harness) -> None:
    """The scheduler takes the job, the answer is lost, and it stays unreachable for a while: it runs once."""
    spool = harness.folder / "spool"
    (spool / "lossy").touch()
    exp = harness.experiment()
    exp.add(harness.writes("ran", "proof"), name="task")
    exp.run(detach=True)
    harness.until_lines("proof")
    (spool / "lossy").unlink()
    assert harness.until_ended(exp.id) == {"task": JobState.SUCCEEDED}
    assert harness.lines("proof") == ["ran"]
    assert len(list((spool / "tickets").glob("*.json"))) == 1


def test_nothing_is_submitted_while_nobody_can_say_what_was(harness: conformance.Harness) -> None:
    exp = harness.experiment()
    exp.add(harness.writes("ran", "proof"), name="task")
    (harness.folder / "spool" / "lossy").touch()
    with harness.controller_that_dies("return runyard.engine.driver _submit"):
        exp.run(detach=True)
        harness.until_lines("proof")
        harness.until((harness.folder / "died").exists, "the controller's death")
        harness.until(lambda: not harness.holder(exp.id), "the end of the controller")
    assert harness.outage
    with harness.outage():
        (harness.folder / "spool" / "lossy").unlink()
        harness.again(exp.id).status(return_dict=True)  # takes over, and cannot ask
        harness.driver(exp.id)
        assert harness.states(exp.id) == {"task": JobState.SUBMITTING}
    assert harness.until_ended(exp.id) == {"task": JobState.SUCCEEDED}
    assert harness.lines("proof") == ["ran"]
    assert len(list((harness.folder / "spool" / "tickets").glob("*.json"))) == 1


def test_following_goes_on_after_an_outage(harness: conformance.Harness) -> None:
    exp = harness.experiment()
    exp.add(run.Script(inline=f"echo before\n{harness.waits_for('go')}echo after"), name="task")
    exp.run(detach=True)
    harness.until(lambda: "before" in harness.text(exp.id, "task"), "the first line")
    program = f"import runyard as run; run.Experiment.from_id({exp.id!r}).wait(tail_logs=True)"
    follower = subprocess.Popen(
        [sys.executable, "-c", program], env=harness.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert follower.stdout is not None
    try:
        assert follower.stdout.readline() == b"before\n"
        assert harness.outage
        with harness.outage():
            with pytest.raises(subprocess.TimeoutExpired):
                follower.wait(timeout=0.7)
            harness.go("go")
        rest, _ = follower.communicate(timeout=60)
    finally:
        follower.kill()
        follower.wait()
        follower.stdout.close()
    assert rest.splitlines()[0] == b"after", rest
    assert follower.returncode == 0


def test_records_purged_by_the_scheduler_are_judged_by_what_the_job_left(harness: conformance.Harness) -> None:
    exp = harness.experiment()
    exp.add(harness.writes("ran", "proof", harness.waits_for("go") + "exit 6"), name="task")
    exp.run(detach=True)
    harness.until_lines("proof")
    harness.until(lambda: harness.rows(exp.id)["task"].handle, "the record of its submission")
    harness.kill(harness.driver(exp.id))
    harness.go("go")
    folder = Path(harness.rows(exp.id)["task"].request["folder"])
    harness.until((folder / "attempts" / "1" / "rc").exists, "the job's end")
    for path in (harness.folder / "spool").glob("*/*.json"):
        path.unlink()
    done = harness.again(exp.id).wait(raise_on_failure=False)["task"]
    assert (done.status, done.exit_code) == (JobState.FAILED, 6)
