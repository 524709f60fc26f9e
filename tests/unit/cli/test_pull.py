"""``runyard experiment pull``."""

import json
import os
import subprocess
import sys
from pathlib import Path

WRITE = 'cd "$RUNYARD_OUTPUT_DIR"; mkdir d; echo a > a; echo b > d/b; ln -s / up; printf x > "$(printf "n\\377\\n1")"'


def launch(cli) -> Path:
    """Run a task that writes files; return its output folder."""
    cli("run", "-q", "--title", "exp", "--name", "task", "--", "sh", "-c", WRITE)
    (found,) = cli.home.glob("experiments/*/*/task/attempts/1/output")
    return found


def test_paths_are_printed_and_what_happened_is_told(cli) -> None:
    output = launch(cli)
    done = cli("experiment", "pull", "exp", "task", "d", "*a")
    assert done.stdout == f"{output}/a\n{output}/d/b\n"
    assert done.stderr == f"task: 2 files in {output}, where the task wrote them\n"

    done = cli("experiment", "pull", "exp", "0", "**/[abu]*", "--into", "here")
    assert done.stdout == f"{cli.cwd}/here/a\n{cli.cwd}/here/d/b\n"
    assert done.stderr == (
        "warning: left out: a link that leads out of the folder: up\ntask: pulled 2 of 2 files, 4 B\n"
    )
    again = cli("experiment", "pull", "exp", "task", "d/b", "--into", "here", "--attempt", "1")
    assert again.stderr == "task: pulled 0 of 1 file, 0 B; 1 was here already\n"


def test_names_that_are_no_text_and_json(cli) -> None:
    output = launch(cli)
    words = [sys.executable, "-m", "runyard", "experiment", "pull", "exp", "task", "n*"]
    done = subprocess.run(words, env=cli.env, cwd=cli.cwd, stdout=subprocess.PIPE, check=True, timeout=60)
    assert done.stdout == os.fsencode(output) + b"/n\xff\n1\n"
    seen = cli.json("experiment", "pull", "exp", "task", "--into", "here")
    assert seen == {
        "folder": f"{cli.cwd}/here",
        "files": [f"{cli.cwd}/here/{name}" for name in ("a", "d/b", "n\udcff\n1")],
        "pulled": 3,
        "bytes": 5,
        "warnings": ["left out: a link that leads out of the folder: up"],
    }
    assert json.dumps(seen).isascii()


def test_a_bad_request_is_one_message_and_exit_code_2(cli) -> None:
    output = launch(cli)
    for words, said in [
        (["exp", "tsk"], "did you mean 'task'?"),
        (["exp", "task", "zzz"], f"in its output folder {output}"),
        (["exp", "task", "../x"], "leads out of the task's folders"),
        (["exp", "task", "--attempt", "7"], "no attempt 7"),
        (["nothing", "task"], "nothing"),
        (["exp"], "TASK"),
        (["exp", "task", "--attempt", "0"], "--attempt"),
    ]:
        done = cli("experiment", "pull", *words, code=2)
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert said in done.stderr
        assert "  -> " in done.stderr


def test_tasks_are_completed(cli) -> None:
    launch(cli)
    env = {"_RUNYARD_COMPLETE": "bash_complete", "COMP_WORDS": "runyard experiment pull exp ", "COMP_CWORD": "4"}
    assert cli(code=None, **env).stdout == "plain,task\n"
