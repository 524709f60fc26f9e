"""``runyard run``."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HOSTILE = [
    "a  b",
    "$HOME",
    "$(touch pwned)",
    "`id`",
    "*",
    "it's",
    'say "hi"',
    "--name",
    "-x",
    "\\n",
    "line\nbreak",
    "",
    "é✓",
]


def test_output_is_data_and_the_status_is_talk(cli) -> None:
    done = cli("run", "--name", "hello", "--", "sh", "-c", "echo one; echo two >&2")
    assert done.stdout == "one\ntwo\n"
    assert done.stderr.startswith("hello * succeeded in ")
    assert done.stderr.count("\n") == 1


def test_arguments_reach_the_program_as_they_are(cli) -> None:
    show = "import json, sys; print(json.dumps(sys.argv[1:]))"
    done = cli("run", "--quiet", "--", "python", "-c", show, *HOSTILE)
    assert json.loads(done.stdout) == HOSTILE
    assert not (cli.cwd / "pwned").exists()


def test_options_end_at_the_command_with_or_without_dashes(cli) -> None:
    assert cli("run", "-q", "echo", "-n", "--detach").stdout == "--detach\n"
    assert cli("run", "-q", "--", "echo", "--", "x").stdout == "-- x\n"


def test_bytes_that_are_no_text_survive_the_way_to_the_program(cli) -> None:
    word = b"caf\xe9"
    show = "import os, sys; print(os.fsencode(sys.argv[1]).hex())"
    done = subprocess.run(
        [sys.executable, "-m", "runyard", "run", "-q", "--", "python", "-c", show, word],
        env=cli.env, cwd=cli.cwd, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.decode().strip() == word.hex()


@pytest.mark.parametrize("code", [0, 1, 3, 77, 255])
def test_the_exit_code_is_the_commands(cli, code: int) -> None:
    cli("run", "--", "sh", "-c", f"exit {code}", code=code)


def test_a_signal_gives_the_shells_exit_code_and_a_reason(cli) -> None:
    done = cli("run", "--", "sh", "-c", "kill -SEGV $$", code=139)
    assert "signal SIGSEGV" in done.stderr


def test_environment(cli) -> None:
    words = ["run", "-q", "-e", "A=x=y  z", "--env", "FROM_HERE", "--", "sh", "-c", 'echo "$A|$FROM_HERE"']
    assert cli(*words, FROM_HERE="mine").stdout == "x=y  z|mine\n"
    assert "FROM_HERE is not set here" in cli(*words, code=2).stderr
    assert "1A" in cli("run", "-e", "1A=x", "--", "true", code=2).stderr


def test_a_secret_is_in_no_file_and_not_in_the_output(cli) -> None:
    cli("run", "-e", "MY_TOKEN=tok-123456789", "--", "sh", "-c", 'echo "got $MY_TOKEN"; test -n "$MY_TOKEN"')
    shown = cli("experiment", "show", "sh").stdout
    assert "MY_TOKEN=***" in shown
    texts = [p.read_bytes() for p in cli.home.rglob("*") if p.is_file()]
    assert len(texts) > 3
    assert not any(b"tok-123456789" in text for text in texts)


def test_retries_and_limits(cli) -> None:
    count = 'echo attempt $RUNYARD_ATTEMPT; test "$RUNYARD_ATTEMPT" -gt 1'
    done = cli("run", "--retries", "2", "--name", "flaky", "--", "sh", "-c", count)
    assert done.stdout == "attempt 1\nattempt 2\n"
    late = cli("run", "--time", "1s", "--", "sleep", "60", code=None)
    assert late.returncode not in (0, 2)
    assert "time limit (00:00:01)" in late.stderr


def test_fields_of_the_executor_by_name(cli) -> None:
    cli("run", "-q", "--set", "max_parallel=2", "--set", "setup_lines=export B=7", "--", "sh", "-c", "test $B = 7")
    member = cli.json("experiment", "show", "sh")["tasks"][0]["members"][0]
    assert member["executor"]["max_parallel"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "max_paralel=2"], "did you mean 'max_parallel'?"),
        (["--set", "max_parallel=two"], "'two' is no int"),
        (["--set", "max_parallel"], "has no value"),
        (["--set", "packager=git"], "cannot be given as text"),
        (["--set", "nodes=2"], "this machine is one node"),
        (["--executor", "locl"], "did you mean 'local'?"),
        (["--time", "soon"], "'soon' is not a duration"),
        (["--retries", "-1"], "--retries"),
    ],
)
def test_wrong_options_are_refused_before_anything_starts(cli, words: list[str], said: str) -> None:
    done = cli("run", *words, "--", "true", code=2)
    assert said in done.stderr
    assert cli("experiment", "list").stdout == ""


def test_a_command_that_is_not_there_is_refused_before_anything_starts(cli) -> None:
    assert "did you mean 'python'?" in cli("run", "--", "pyhton", "x.py", code=2).stderr
    script = cli.cwd / "go.sh"
    script.write_text("#!/bin/sh\necho went\n")
    assert "did you mean ./go.sh?" in cli("run", "--", "go.sh", code=2).stderr
    assert "not executable" in cli("run", "--", "./go.sh", code=2).stderr
    assert "does not exist" in cli("run", "--", "./gone.sh", code=2).stderr
    assert cli("experiment", "list").stdout == ""
    script.chmod(0o755)
    assert cli("run", "-q", "--", "./go.sh").stdout == "went\n"


def test_gpus_are_those_of_the_command(cli) -> None:
    for fields, asked in (("gpus_per_node=8", "--gpus-per-node=2"), ("ntasks_per_node=8", "--gpus-per-task=2")):
        (cli.cwd / "env.toml").write_text(f'[c]\nexecutor = "slurm"\npackager = "none"\n{fields}\n')
        shown = cli("run", "--run", "c", "--gpus", "2", "--dry-run", "--", "true").stdout
        assert [line for line in shown.splitlines() if "--gpus" in line] == [f"#SBATCH {asked}"]


def test_an_option_behind_the_command_is_told(cli) -> None:
    done = cli("run", "echo", "--dry-run")
    assert done.stdout == "--dry-run\n"
    assert "--dry-run stands after the command, so it is the command's own" in done.stderr
    assert "stands after" not in cli("run", "--dry-run", "--", "echo", "--dry-run").stderr


def test_a_dry_run_prints_the_script_and_leaves_nothing(cli) -> None:
    done = cli("run", "--dry-run", "--name", "dry", "--", "echo", "a b")
    assert "exec echo 'a b'" in done.stdout
    assert not cli.home.exists() or not list(cli.home.glob("experiments/*/*"))


def test_detached_prints_the_id_and_goes_on(cli) -> None:
    done = cli("run", "--detach", "--name", "later", "--title", "Some title", "--", "sh", "-c", "sleep 0.3; echo done")
    id = done.stdout.strip()
    assert id.startswith("Some-title_")
    assert f"runyard experiment status {id}" in done.stderr
    cli("experiment", "wait", id)
    assert cli("experiment", "logs", "Some title").stdout == "done\n"


def test_ctrl_c_without_a_terminal_cancels_and_gives_130(cli, until) -> None:
    process = cli.start("run", "--name", "long", "--", "sh", "-c", "echo up; sleep 60")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert cli.states("long") == {"long": "CANCELLED"}


def test_ctrl_c_on_a_terminal_asks_and_can_detach(cli, until) -> None:
    main, other = pty.openpty()
    terminal = {"stdin": other, "stdout": other, "stderr": other, "start_new_session": True}
    body = "echo up; while ! test -e go; do sleep 0.05; done; echo end"
    process = cli.start("run", "--name", "kept", "--", "sh", "-c", body, **terminal)
    os.close(other)
    seen = b""
    while b"up" not in seen:
        seen += os.read(main, 1000)
    process.send_signal(signal.SIGINT)
    while b"etach" not in seen:
        seen += os.read(main, 1000)
    os.write(main, b"d\n")
    assert process.wait(timeout=60) == 0
    os.close(main)
    (cli.cwd / "go").touch()
    cli("experiment", "wait", "kept")
    assert cli("experiment", "logs", "kept").stdout == "up\nend\n"


def test_a_reader_that_leaves_does_not_end_the_job(cli) -> None:
    body = "echo a; while ! test -e go; do sleep 0.05; done; echo b; sleep 0.2; echo c"
    process = cli.start("run", "--name", "talker", "--", "sh", "-c", body)
    assert process.stdout is not None
    assert process.stdout.readline() == "a\n"
    process.stdout.close()
    (cli.cwd / "go").touch()
    assert process.wait(timeout=60) == 141
    assert process.stderr is not None
    said = process.stderr.read()
    assert "goes on" in said
    assert "Traceback" not in said
    cli("experiment", "wait", "talker")
    assert cli("experiment", "logs", "talker").stdout == "a\nb\nc\n"


def test_two_at_once_get_ids_of_their_own(cli) -> None:
    both = [cli.start("run", "-q", "--name", "twin", "--", "true") for _ in range(4)]
    assert [p.wait(timeout=60) for p in both] == [0] * 4
    assert len({row["id"] for row in cli.json("experiment", "list")}) == 4


def test_a_home_that_cannot_be_written_is_named(cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = cli("run", "--", "true", code=2, RUNYARD_HOME=str(tmp_path / "file" / "home"))
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr


def test_time_does_not_stand_still(cli) -> None:
    before = time.time()
    cli("run", "-q", "--", "true")
    assert before - 1 < cli.json("experiment", "list")[0]["created"] < time.time() + 1
