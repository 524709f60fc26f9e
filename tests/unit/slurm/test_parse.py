"""What a cluster answered: recorded output of Slurm 22.05, with and without noise around it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.backends.slurm import outcome, parse
from runyard.backends.slurm.commands import QUEUE
from runyard.states import JobState

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> parse.View:
    return parse.view((RECORDED / name).read_text())


def row(*values: str) -> str:
    """Write a line as ``squeue -O`` does."""
    return "".join(value[:width].ljust(width) for value, (_, width) in zip(values, QUEUE, strict=True))


# -- the queue ----------------------------------------------------------------------------------


def test_jobs_under_way() -> None:
    queue = recorded("under_way.txt").queue
    words = {job: seen.state for job, seen in queue.items()}
    assert words.pop("1") == "COMPLETED"
    assert words["4_0"] == "COMPLETED"
    assert {words[f"4_{i}"] for i in (1, 2, 3)} == {"FAILED"}
    assert (words["5_0"], words["5_1"]) == ("RUNNING", "RUNNING")
    assert {words[f"5_{i}"] for i in range(2, 10)} == {"PENDING"}
    assert words["9"] == "CANCELLED"
    assert queue["5_9"].reason == "JobArrayTaskLimit"
    assert queue["13"].reason == "PartitionTimeLimit"


def test_a_heterogeneous_jobs_first_component_is_the_job_itself() -> None:
    queue = recorded("under_way.txt").queue
    assert (queue["6"].nodes, queue["6"].name) == ("n1", "het")
    assert queue["6+1"].nodes == "n[2-3]"
    assert "6+0" not in queue


def test_a_requeued_job_counts_its_restarts_and_keeps_its_name() -> None:
    seen = recorded("under_way.txt").queue["8"]
    assert (seen.state, seen.restarts, seen.reason, seen.name) == ("PENDING", 1, "BeginTime", "a name|with bars")
    assert seen.start == 1795256543.0
    assert recorded("later.txt").queue["8"].restarts == 1


def test_a_start_that_is_not_known_is_none() -> None:
    assert recorded("under_way.txt").queue["12"].start is None


def test_words_for_nothing_are_nothing() -> None:
    queue = recorded("under_way.txt").queue
    assert (queue["16"].reason, queue["12"].nodes) == ("", "")


def test_recorded_jobs_are_judged_as_they_ended() -> None:
    queue = recorded("later.txt").queue
    ends = {job: (o.state, o.reason) for job, o in ((j, outcome.judge(s, None, j)) for j, s in queue.items())}
    assert ends["1"] == (JobState.SUCCEEDED, "")
    assert ends["9"] == (JobState.CANCELLED, "cancelled in Slurm")
    assert ends["16"] == (JobState.FAILED, "time limit")
    assert ends["17"] == (JobState.FAILED, "deadline reached before it could end")
    assert ends["3"] == (JobState.FAILED, "failed in Slurm (JobLaunchFailure)")
    assert ends["11"] == (JobState.PENDING, "a dependency can never be satisfied")
    assert ends["14"] == (JobState.PENDING, "JobHeldUser")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "JOBID STATE",
        "12 users are logged in",
        "2026",
        "Last login: Sat Nov 21 10:00:00 2026 from 10.0.0.1",
        "%",
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        row("", "RUNNING", "0", "1", "", "", "x", "0"),
        row("12", "", "0", "1", "", "", "x", "0"),
    ],
)
def test_noise_is_no_row(line: str) -> None:
    assert parse.queue_row(line) is None
    assert parse.accounting_row(line) is None


@pytest.mark.parametrize("state", ["running", "WHAT_COMES_NEXT"])
def test_unknown_words_are_kept(state: str) -> None:
    seen = parse.queue_row(row("12", state, "x", "N/A", "None", "n1", "a", "0"))
    assert seen is not None
    assert (seen.state, seen.restarts, seen.reason) == (state.upper(), 0, "")


@pytest.mark.parametrize(("status", "code"), [("28928", 113), ("113", None), ("768", None), ("0", None), ("", None)])
def test_a_second_claimant_is_known_by_its_exit_code(status: str, code: int | None) -> None:
    """Also while the first has not yet said, or our file system not yet shown, that the attempt is its own."""
    seen = parse.queue_row(row("12", "FAILED", "0", "5", "NonZeroExitCode", "n1", "a", status))
    assert seen is not None
    assert seen.exit_code == code


@given(st.text(max_size=400))
def test_no_text_is_an_error(text: str) -> None:
    parse.queue_row(text)
    parse.accounting_row(text)
    parse.view("%queue\n" + text.replace("%file", "").replace("%failed", ""))
    parse.submitted(text)
    parse.job_number(text)
    parse.forecasts(text)


NAMES = st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]), min_size=1, max_size=100)


@given(NAMES)
def test_a_name_may_hold_anything_but_a_line_feed(name: str) -> None:
    text = (
        "%queue\n" + row("7", "RUNNING", "0", "5", "None", "n1", name, "0") + "\n" + row("8", *["PENDING"] * 7) + "\n"
    )
    queue = parse.view(text).queue
    assert set(queue) == {"7", "8"}
    assert queue["7"].name == name.strip()


# -- the accounting -----------------------------------------------------------------------------


def accounting() -> dict[str, parse.Seen]:
    return parse.view("%accounting\n" + (RECORDED / "sacct.txt").read_text()).accounting


def test_accounting_rows() -> None:
    rows = accounting()
    assert (rows["2"].state, rows["2"].exit_code, rows["2"].signal) == ("FAILED", 7, 0)
    assert (rows["3"].exit_code, rows["3"].signal) == (0, 11)
    assert (rows["9"].state, rows["9"].nodes) == ("CANCELLED", "n2")
    assert (rows["12"].start, rows["12"].nodes) == (None, "")
    assert rows["8"].name == "a name|with bars"
    assert rows["6"].nodes == "n1"
    assert rows["16"].end == 1795256617.0


def test_accounting_rows_are_judged_as_they_ended() -> None:
    ends = {job: outcome.judge(seen, None, job) for job, seen in accounting().items()}
    assert {
        j: (o.state, o.exit_code, o.reason) for j, o in ends.items() if j in ("1", "2", "3", "16", "17", "240")
    } == {
        "1": (JobState.SUCCEEDED, 0, ""),
        "2": (JobState.FAILED, 7, "exit code 7"),
        "3": (JobState.FAILED, 139, "signal SIGSEGV"),
        "16": (JobState.FAILED, None, "time limit"),
        "17": (JobState.FAILED, 1, "deadline reached before it could end"),
        "240": (JobState.FAILED, None, "node failure (n2)"),
    }


def test_the_last_record_of_a_job_counts() -> None:
    line = "7|{}|0:0|1|2|n1|None|a\n"
    rows = parse.view("%accounting\n" + line.format("NODE_FAIL") + line.format("COMPLETED")).accounting
    assert rows["7"].state == "COMPLETED"


@pytest.mark.parametrize("line", ["7|COMPLETED", "sacct: error", "7.batch|COMPLETED|0:0|1|2|n1|None|a"])
def test_other_lines_of_sacct_are_left_out(line: str) -> None:
    assert parse.accounting_row(line) is None


# -- whole answers ------------------------------------------------------------------------------


def test_noise_around_an_answer_is_ignored() -> None:
    noise = "Welcome!\n12 jobs\n%unknown mark\n"
    text = noise + "%queue\n" + row("7", "RUNNING", "0", "5", "None", "n1", "a", "0") + "\n%files\n"
    text += "%file 7|1|7|100|0|||0|/home/u/a|b\nlogout\n"
    view = parse.view(text)
    assert view.answered
    assert set(view.queue) == {"7"}
    left = view.files["7", "/home/u/a|b"]
    assert (left.attempt, left.owner, left.started, left.ended, left.code, left.secrets) == (
        1,
        "7",
        100,
        None,
        None,
        False,
    )


def test_a_result_that_was_left() -> None:
    left = parse.view("%file 7|2|7|100|1|160|137|1|/f\n").files["7", "/f"]
    assert (left.attempt, left.restarts, left.ended, left.code, left.secrets) == (2, 1, 160.0, 137, True)
    nothing = parse.view("%file 7|||||||0|/f\n").files["7", "/f"]
    assert (nothing.attempt, nothing.owner, nothing.code) == (0, "", None)


@pytest.mark.parametrize("text", ["", "Welcome!\n", "slurm_load_jobs error: nobody there\n"])
def test_no_answer_is_not_an_empty_queue(text: str) -> None:
    assert not parse.view(text).answered


def test_an_empty_queue_is_an_answer() -> None:
    view = parse.view("%queue\n\n%files\n")
    assert view.answered
    assert not view.queue


@pytest.mark.parametrize(("text", "code"), [("%failed 1\n", 1), ("%failed 124\n", 124), ("x\n%failed 127\ny\n", 127)])
def test_a_query_that_failed(text: str, code: int) -> None:
    view = parse.view(text)
    assert (view.failed, view.answered) == (code, False)


# -- submissions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("123\n", "123"),
        ("123;cluster\n", "123"),
        ("Welcome!\nsbatch: lua: your job is fine\n123\n", "123"),
        ("123\nsbatch: note: 7 jobs left\n", "123"),
        ("", ""),
        ("sbatch: error: 3\n", ""),
        ("Submitted batch job 12", ""),
    ],
)
def test_the_number_of_a_submission(said: str, number: str) -> None:
    assert parse.job_number(said) == number


def test_answers_of_several_submissions() -> None:
    text = "motd\n%unpacked\n%submitted 0 0\n12\n%submitted 2 1\nsbatch: error: a\nsbatch: error: b\n"
    arrived, said = parse.submitted(text)
    assert arrived
    assert said == {0: (0, "12"), 2: (1, "sbatch: error: a\nsbatch: error: b")}
    assert parse.submitted("%refused\n") == (False, {})


def test_forecasts() -> None:
    text = "x\n%forecast 0 0\nsbatch: Job 8 to start\n%absent /a\n%forecast 1 1\nallocation failure: no\nwhy\n"
    assert parse.forecasts(text) == {0: (0, "sbatch: Job 8 to start"), 1: (1, "allocation failure: no\nwhy")}


# -- logs ---------------------------------------------------------------------------------------


def test_pieces_of_logs() -> None:
    data = b"motd\n%log 0 6 attempts/1/log\na\n%log%log 5 2 attempts/1/a b/err\nxy%log 0 9 attempts/2/log\ncut"
    assert list(parse.chunks(data)) == [
        ("attempts/1/log", 0, b"a\n%log"),
        ("attempts/1/a b/err", 5, b"xy"),
        ("attempts/2/log", 0, b"cut"),
    ]
    assert list(parse.chunks(b"")) == []
    assert list(parse.chunks(b"motd only")) == []


@given(st.lists(st.tuples(st.integers(0, 10**9), st.binary(min_size=1, max_size=50)), max_size=5))
def test_pieces_come_back_whatever_bytes_they_hold(pieces: list[tuple[int, bytes]]) -> None:
    data = b"".join(b"%%log %d %d attempts/1/log\n%s" % (at, len(piece), piece) for at, piece in pieces)
    assert [(c.offset, c.data) for c in parse.chunks(data)] == pieces
