"""What a script's command line looks like: on a terminal of any width, in a pipe, and with secrets in it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

import processes

SCRIPT = '''
from dataclasses import dataclass
import runyard as run

@dataclass
class Model:
    hidden: int = 1
    description: str = "a text that is long enough to be folded in a narrow terminal"

@run.cli.factory
@run.autoconvert
def local() -> run.Executor:
    """Mine."""
    return run.LocalExecutor(retries=0)

@run.cli.entrypoint
def train(model: Model = run.Config(Model), api_token: str = "t0psecret", fail: bool = False, names: list[str] = []):
    """Train a model.

    Args:
        fail: Whether it fails, which is said here in so many words that they need several lines.
    """
    if fail:
        raise ValueError("it failed")

if __name__ == "__main__":
    run.cli.main(train)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(SCRIPT)
    return tmp_path


def piped(folder: Path, *args: str, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    env = processes.environment(folder / "home", **env)
    words = [sys.executable, "train.py", *args]
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done


def on_a_terminal(folder: Path, columns: int, *args: str, answer: str = "n\n", **env: str) -> str:
    """Return what a terminal of some width shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    given = {k: v for k, v in processes.environment(folder / "home", TERM="xterm").items() if k != "COLUMNS"} | env
    if env.get("NO_COLOR") != "1":
        given.pop("NO_COLOR")
    process = subprocess.Popen(
        [sys.executable, "train.py", *args], cwd=folder, env=given, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown, answered, deadline = b"", False, time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                shown += os.read(ours, 65536)
            except OSError:  # it has ended
                break
            if b"[y/N] " in shown and not answered:
                answered = True
                os.write(ours, answer.encode())
        process.wait(timeout=60)
    finally:
        processes.end(process)
        os.close(ours)
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_the_help_page_is_as_wide_as_the_terminal(folder: Path, columns: int) -> None:
    lines = on_a_terminal(folder, columns, "--help").splitlines()
    long = [line for line in lines if len(line) > columns and not re.match(r"  [^ ]+( / |: )", line)]
    assert [line for line in long if not line.endswith(":")] == []
    assert len([line for line in lines if "many words" in line or "several lines" in line]) >= 1
    assert "\n\n\n" not in "\n".join(lines)


def test_a_narrow_help_page_has_what_is_said_below_long_names(folder: Path) -> None:
    page = piped(folder, "--help", COLUMNS="40").stdout
    assert "  -n, --name NAME\n                Name of the run." in page


def test_the_table_before_the_question_is_folded(folder: Path) -> None:
    shown = on_a_terminal(folder, 40)
    assert "  .description  'a text that is long\n                enough to be folded in a\n" in shown
    assert max(map(len, re.sub(r"\033\[\d+m", "", shown).splitlines())) <= 40
    assert shown.endswith("Continue? [y/N] n\nnothing was launched\n")
    assert "\033[1m" in shown
    assert "\033[" not in on_a_terminal(folder, 80, NO_COLOR="1")
    assert "\033[" not in on_a_terminal(folder, 80, TERM="dumb")


def test_in_a_pipe_no_line_is_folded_or_coloured(folder: Path) -> None:
    said = piped(folder, "names=[" + ",".join(["abc"] * 50) + "]", code=2, COLUMNS="40").stderr
    assert f"names           {['abc'] * 50}\n" in said
    assert "\033[" not in said


def test_a_factory_hides_the_kind_of_its_name(folder: Path) -> None:
    page = piped(folder, "--help").stdout
    assert len(re.findall(r"^  local ", page, re.MULTILINE)) == 1


def test_a_default_that_looks_like_a_secret_is_shown_nowhere(folder: Path) -> None:
    assert "api_token: str" in piped(folder, "--help").stdout
    for args in (["--help"], ["--dryrun"], ["--to-yaml", "-"], ["--to-toml", "-"], ["--to-json", "-"], ["--yes", "-v"]):
        done = piped(folder, *args)
        assert "t0psecret" not in done.stdout + done.stderr


def test_a_secret_that_is_given_is_exported_with_a_warning(folder: Path) -> None:
    done = piped(folder, "api_token=mine!", "--to-yaml", "a.yaml")
    assert done.stderr.endswith("warning: a.yaml holds api_token in plain text: keep it to yourself\n")
    assert "api_token: mine!" in (folder / "a.yaml").read_text()
    assert (folder / "a.yaml").stat().st_mode & 0o777 == 0o600
    piped(folder, "--load", "a.yaml", "--yes")


def test_a_secret_that_is_given_stands_in_no_page_and_no_file_of_the_record(folder: Path) -> None:
    """It travels in the job's secrets file, which is gone with the job."""
    piped(folder, "api_token=mine-alone", "--yes")
    record = next((folder / "home" / "experiments" / "train").iterdir())
    assert "api_token=***" in (record / "experiment.yaml").read_text()
    words = [sys.executable, "-m", "runyard", "experiment", "show", "train"]
    env = processes.environment(folder / "home")
    shown = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "api_token=***" in shown
    assert "mine-alone" not in shown
    assert [p for p in (folder / "home").rglob("*") if p.is_file() and b"mine-alone" in p.read_bytes()] == []


def test_an_exception_is_shown_from_the_users_code_on(folder: Path) -> None:
    short = piped(folder, "fail=yes", "--direct", "--yes", code=1).stderr
    assert re.findall(r'File "(.*?)", line \d+, in (\w+)', short) == [(str(folder / "train.py"), "train")]
    assert short.endswith("ValueError: it failed\n")
    rich = piped(folder, "fail=yes", "--direct", "--yes", "--rich-exceptions", code=1, COLUMNS="200").stderr
    assert "it failed" in rich
    assert "cli/entrypoints" not in rich
    assert "cli/entrypoints" in piped(folder, "fail=yes", "--direct", "--yes", "-v", code=1).stderr


def test_ctrl_c_ends_with_130(folder: Path) -> None:
    waits = 'print("up", flush=True); import time; time.sleep(60)'
    (folder / "train.py").write_text(SCRIPT.replace('raise ValueError("it failed")', waits))
    process = subprocess.Popen(
        [sys.executable, "train.py", "fail=true", "--yes"], cwd=folder, env=processes.environment(folder / "home"),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said


def test_a_file_that_is_not_there_is_told_with_its_option(folder: Path) -> None:
    assert "error: --load nope.yaml: there is no file nope.yaml" in piped(folder, "--load", "nope.yaml", code=2).stderr
