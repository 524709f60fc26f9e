"""``runyard experiment logs``."""

import random
from pathlib import Path

import pytest

from runyard.cli.logprinter import BLOCK, tail_offset


def test_one_task_is_not_labelled_several_are(cli) -> None:
    cli.launch(
        "with run.Experiment('two') as exp:\n"
        "    exp.add(run.Script(inline='echo 1; printf 2'), name='a')\n"
        "    exp.add(run.Script(inline='echo 3'), name='long-name')\n    exp.run()\n"
    )
    assert cli("experiment", "logs", "two", "0").stdout == "1\n2\n"
    assert cli("experiment", "logs", "two", "--task", "long-name").stdout == "3\n"
    assert cli("experiment", "logs", "two").stdout == "a         | 1\na         | 2\nlong-name | 3\n"
    said = cli("experiment", "logs", "two", "lon-name", code=2).stderr
    assert "did you mean 'long-name'?" in said


def test_lines_can_be_chosen(cli) -> None:
    cli("run", "-q", "--name", "count", "--", "seq", "1", "30")
    logs = ["experiment", "logs", "count"]
    assert cli(*logs, "--tail", "2").stdout == "29\n30\n"
    assert cli(*logs, "--tail", "0").stdout == ""
    assert cli(*logs, "-f", "--tail", "2").stdout == "29\n30\n"
    assert cli(*logs, "--grep", "^.?5$").stdout == "5\n15\n25\n"
    assert cli(*logs, "--grep", "5", "--tail", "1").stdout == "25\n"
    assert "--grep '('" in cli(*logs, "--grep", "(", code=2).stderr


def test_attempts(cli) -> None:
    body = 'echo attempt $RUNYARD_ATTEMPT; test "$RUNYARD_ATTEMPT" -gt 1'
    cli("run", "-q", "--name", "flaky", "--retries", "1", "--", "sh", "-c", body)
    both = cli("experiment", "logs", "flaky")
    assert both.stdout == "attempt 1\nattempt 2\n"
    assert both.stderr == "--- flaky: attempt 2\n"
    assert cli("experiment", "logs", "flaky", "--attempt", "1").stdout == "attempt 1\n"
    assert cli("experiment", "logs", "flaky", "--tail", "9").stdout == "attempt 2\n"
    assert cli("experiment", "logs", "flaky", "--attempt", "1", "--tail", "9").stdout == "attempt 1\n"
    none = cli("experiment", "logs", "flaky", "--attempt", "3")
    assert (none.stdout, none.stderr) == ("", "flaky has no log of attempt 3; attempts so far: 2\n")


def test_members_of_a_group(cli) -> None:
    cli.launch(
        "with run.Experiment('g') as exp:\n"
        "    left = run.Script(inline='echo left', entrypoint='sh')\n"
        "    exp.add([left, run.Script(inline='echo right')], name='pair')\n    exp.run()\n"
    )
    assert sorted(cli("experiment", "logs", "g").stdout.splitlines()) == ["bash | right", "sh | left"]
    assert cli("experiment", "logs", "g", "--member", "sh").stdout == "left\n"
    assert cli("experiment", "logs", "g", "--member", "sh", "--tail", "1").stdout == "left\n"
    assert "members: bash, sh" in cli("experiment", "logs", "g", "--member", "zsh").stderr


def test_following_prints_what_was_there_then_what_comes_then_ends(cli, until) -> None:
    body = "echo before; touch up; while ! test -e go; do sleep 0.02; done; echo after; printf end"
    id = cli.detached("--name", "slow", "--", "sh", "-c", body)
    until((cli.cwd / "up").exists)
    process = cli.start("experiment", "logs", "-f", id)
    assert process.stdout is not None
    assert process.stdout.readline() == "before\n"
    (cli.cwd / "go").write_text("")
    out, said = process.communicate(timeout=60)
    assert (out, said, process.returncode) == ("after\nend\n", "", 0)
    assert cli("experiment", "logs", "-f", id).stdout == "before\nafter\nend\n"  # ended: it does not hang


def test_following_goes_on_when_the_controller_is_killed(cli, until) -> None:
    cli.launch(
        "with run.Experiment('left') as exp:\n"
        "    a = exp.add(run.Script(inline='echo a1; while ! test -e go; do sleep 0.02; done; echo a2'), name='a')\n"
        "    exp.add(run.Script(inline='echo b'), name='b', dependencies=[a])\n    exp.run(detach=True)\n"
    )
    process = cli.start("experiment", "logs", "-f", "left")
    assert process.stdout is not None
    assert process.stdout.readline() == "a | a1\n"
    cli.kill_controllers()
    (cli.cwd / "go").write_text("")
    out, _ = process.communicate(timeout=60)
    assert out == "a | a2\nb | b\n"


def test_following_one_task_ends_with_it(cli, until) -> None:
    cli.launch(
        "with run.Experiment('two') as exp:\n"
        "    exp.add(run.Script(inline='echo quick'), name='quick')\n"
        "    exp.add(run.Script(inline='sleep 60'), name='long')\n    exp.run(detach=True)\n"
    )
    assert cli("experiment", "logs", "-f", "two", "quick").stdout == "quick\n"
    cli("experiment", "cancel", "two")
    done = cli("experiment", "logs", "-f", "two", "long")
    assert done.stdout == ""


def test_a_task_without_a_log_says_why(cli) -> None:
    cli.launch(
        "with run.Experiment('skip') as exp:\n"
        "    a = exp.add(run.Script(inline='exit 1'), name='a')\n"
        "    exp.add(run.Script(inline='echo'), name='b', dependencies=[a])\n    exp.run(raise_on_failure=False)\n"
    )
    assert cli("experiment", "logs", "skip", "b").stderr == "b has no log; its state: skipped\n"
    assert cli("experiment", "logs", "-f", "skip", "b").stderr == "b has no log; its state: skipped\n"


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000, 100_000])
def test_the_tail_of_a_file_begins_where_its_last_lines_do(tmp_path: Path, count: int, end: bytes) -> None:
    random.seed(count)
    lines = [b"x" * random.choice([0, 3, 80, BLOCK + 5 if i % 997 == 0 else 9]) for i in range(3000)]
    lines[-1] = b"last"
    data = b"\n".join(lines) + end
    path = tmp_path / "log"
    path.write_bytes(data)
    wanted = lines[-count:] if count else []
    rest = data[tail_offset(path, count) :]
    assert rest == (b"\n".join(wanted) + end if wanted else b"")


def test_the_tail_of_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"")
    assert tail_offset(path, 3) == 0
