"""One task: how it ends, what it prints, what it is given."""

from __future__ import annotations

from runyard.errors import TaskFailed
from runyard.shell import Raw
from runyard.states import JobState
from runyard.task import Script
from runyard.testing.conformance.harness import Harness, Scenario, raised

HOSTILE = (
    "",
    " ",
    "a b  c",
    'it\'s "quoted"',
    "$(touch injected) `touch injected` ${HOME} $HOME",
    "two\nlines\n",
    "; touch injected; #",
    "back\\slash \\n \\",
    "ünïcode — 日本語 🚀",
    "*?[a-z]~!&|<>(){}",
    "a,b=c:d%e@f",
    "-n",
    "--",
    "\ttab\rreturn",
)


def succeeds(h: Harness) -> None:
    """A task that ends with 0 has succeeded, and its result says so."""
    exp = h.experiment()
    exp.add(h.writes("ran", "proof", "echo hello"), name="good")
    result = exp.run()["good"]
    assert (result.status, result.exit_code, result.attempts, result.reason) == (JobState.SUCCEEDED, 0, 1, "")
    assert result.ok
    assert result.seconds is not None
    assert h.lines("proof") == ["ran"]
    assert h.text(exp.id, "good") == "hello\n"


def fails_with_its_exit_code(h: Harness) -> None:
    """A task that ends with 7 has failed; the attached run raises, with code, reason and last log lines."""
    exp = h.experiment()
    exp.add(Script(inline="echo last words; exit 7"), name="bad")
    error = raised(TaskFailed, exp.run)
    assert (error.job, error.reason, error.exit_code) == ("bad", "exit code 7", 7)
    assert error.log_tail == ("last words",)
    result = h.results(exp.id)["bad"]
    assert (result.status, result.exit_code, result.reason) == (JobState.FAILED, 7, "exit code 7")


def killed_by_a_signal(h: Harness) -> None:
    """The reason of a task that was killed names the signal."""
    exp = h.experiment()
    exp.add(Script(inline="kill -SEGV $$; sleep 60"), name="bad")
    result = exp.run(raise_on_failure=False)["bad"]
    assert result.status is JobState.FAILED
    assert "SIGSEGV" in result.reason


def command_not_found(h: Harness) -> None:
    """A program that does not exist is a failure with a reason, not a job that stays."""
    exp = h.experiment()
    exp.add(Script("no-such-program-anywhere", entrypoint=""), name="bad")
    result = exp.run(raise_on_failure=False)["bad"]
    assert (result.status, result.exit_code) == (JobState.FAILED, 127)
    assert "not found" in result.reason
    assert "no-such-program-anywhere" in h.text(exp.id, "bad")


def log_holds_what_was_printed(h: Harness) -> None:
    """Standard output and standard error are in the log, in order, byte for byte."""
    exp = h.experiment()
    exp.add(Script(inline="echo one; echo two >&2; printf 'three\\n\\n\\tfour\\n'"), name="talks")
    exp.run()
    assert list(h.log(exp.id, "talks").values()) == [b"one\ntwo\nthree\n\n\tfour\n"]


def log_may_be_any_bytes(h: Harness) -> None:
    """Bytes that are no UTF-8, and a last line without its newline, are kept and shown."""
    exp = h.experiment()
    exp.add(Script(inline="printf 'caf\\351\\n\\000\\377 no newline'"), name="talks")
    exp.run(tail_logs=True)
    assert list(h.log(exp.id, "talks").values()) == [b"caf\xe9\n\0\xff no newline"]


def no_output_is_an_empty_log(h: Harness) -> None:
    """A task that prints nothing has an empty log, and reading it ends."""
    exp = h.experiment()
    exp.add(Script(inline="true"), name="silent")
    exp.run(tail_logs=True)
    assert h.text(exp.id, "silent") == ""


def large_log_is_read_in_pieces(h: Harness) -> None:
    """A log of several megabytes, read from a cursor while it grows, gives each byte once."""
    exp = h.experiment()
    text = "for part in 1 2 3 4; do seq 1 100000; sleep 0.2; done"
    exp.add(Script(inline=text), name="talks")
    exp.run(detach=True)
    h.until(lambda: h.rows(exp.id)["talks"].handle, "a handle")
    from runyard.engine import logs
    from runyard.store.db import Database

    with Database(h.home) as db:
        reader = logs.reader(db, h.rows(exp.id)["talks"])
    assert reader is not None
    pieces: list[bytes] = []

    def read() -> bool:
        ended = h.states(exp.id)["talks"].ended
        for stream, offset, data in reader.backend.logs(reader.handle, reader.cursor):
            assert offset == sum(map(len, pieces)), "a piece is repeated or missing"
            pieces.append(data)
            reader.cursor[stream] = offset + len(data)
        return ended

    h.until(read, "the end of the task")
    assert b"".join(pieces) == b"".join(b"%d\n" % i for i in range(1, 100001)) * 4


def environment_survives(h: Harness) -> None:
    """Values of variables reach the task unchanged, whatever they hold; names keep their case."""
    values = {f"value_{i}": text for i, text in enumerate(HOSTILE)}
    exp = h.experiment(env_vars={**values, "http_proxy": "http://proxy:1"})
    program = 'for n in $(seq 0 %d); do name=value_$n; printf \'%%s\\0\' "${!name}"; done; printf %%s "$http_proxy"'
    exp.add(Script(inline=program % (len(HOSTILE) - 1)), name="reads")
    exp.run()
    assert h.text(exp.id, "reads").split("\0") == [*HOSTILE, "http://proxy:1"]
    assert not (h.work / "injected").exists()


def arguments_survive(h: Harness) -> None:
    """Arguments reach the task unchanged, whatever they hold."""
    exp = h.experiment()
    exp.add(Script(inline='printf \'%s\\0\' "$#" "$@"', args=list(HOSTILE)), name="reads")
    exp.run()
    assert h.text(exp.id, "reads").split("\0") == [str(len(HOSTILE)), *HOSTILE, ""]
    assert not (h.work / "injected").exists()


def raw_text_is_expanded_by_the_job(h: Harness) -> None:
    """``Raw`` arguments and variables are expanded by the job's own shell; nothing else is."""
    exp = h.experiment(env_vars={"FROM_JOB": Raw("task=$RUNYARD_TASK"), "PLAIN": "$RUNYARD_TASK"})
    task = Script(inline='echo "$1" "$2" "$FROM_JOB" "$PLAIN"', args=[Raw("[$RUNYARD_TASK]"), "[$RUNYARD_TASK]"])
    exp.add(task, name="reads")
    exp.run()
    assert h.text(exp.id, "reads") == "[reads] [$RUNYARD_TASK] task=reads $RUNYARD_TASK\n"


def script_environment_wins(h: Harness) -> None:
    """Variables of the script win over those of the executor."""
    exp = h.experiment(env_vars={"A": "executor", "B": "executor"})
    exp.add(Script(inline="echo $A $B", env={"A": "script"}), name="reads")
    exp.run()
    assert h.text(exp.id, "reads") == "script executor\n"


def runs_in_the_working_directory(h: Harness) -> None:
    """A script given by a relative path is found, and what it reads beside itself too."""
    (h.work / "beside.txt").write_text("read\n")
    (h.work / "train.sh").write_text("cat beside.txt\n")
    exp = h.experiment()
    exp.add(Script("train.sh"), name="reads")
    exp.run()
    assert h.text(exp.id, "reads") == "read\n"


def setup_lines_run_before_the_task(h: Harness) -> None:
    """Setup lines are bash, run in the task's own shell, and what they export is seen."""
    exp = h.experiment(setup_lines='list=(one two)\nexport FROM_SETUP="${list[1]}"\n')
    exp.add(Script(inline="echo $FROM_SETUP"), name="reads")
    exp.run()
    assert h.text(exp.id, "reads") == "two\n"


def job_knows_where_it_is(h: Harness) -> None:
    """A task finds its experiment, name and attempt in its environment."""
    exp = h.experiment()
    exp.add(Script(inline="echo $RUNYARD_EXPERIMENT_ID $RUNYARD_TASK $RUNYARD_ATTEMPT"), name="reads")
    exp.run()
    assert h.text(exp.id, "reads") == f"{exp.id} reads 1\n"


SCENARIOS: dict[str, Scenario] = {
    f.__name__: f
    for f in (
        succeeds,
        fails_with_its_exit_code,
        killed_by_a_signal,
        command_not_found,
        log_holds_what_was_printed,
        log_may_be_any_bytes,
        no_output_is_an_empty_log,
        large_log_is_read_in_pieces,
        environment_survives,
        arguments_survive,
        raw_text_is_expanded_by_the_job,
        script_environment_wins,
        runs_in_the_working_directory,
        setup_lines_run_before_the_task,
        job_knows_where_it_is,
    )
}
