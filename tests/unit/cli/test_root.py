"""The root of the command line: help, errors, plug-ins, completion."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import runyard
from runyard.cli import experiment
from runyard.cli.lazy import LazyGroup
from runyard.cli.root import cli as root


def walk(group: LazyGroup, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str, click.Command]]:
    """Return all built-in commands with their summary."""
    found = []
    for name, summary in group.summaries.items():
        command = group.get_command(click.Context(group), name)
        found.append(((*words, name), summary, command))
        if isinstance(command, LazyGroup):
            found += walk(command, (*words, name))
    return found


def test_the_summary_in_a_list_is_the_commands_own() -> None:
    for words, summary, command in walk(root):
        assert command.name == words[-1]
        assert command.get_short_help_str(200) == summary, words


def test_every_command_has_help_that_says_something() -> None:
    for words, _, command in walk(root):
        text = command.get_help(click.Context(command, info_name=" ".join(words)))
        assert command.help, words
        assert "Usage:" in text
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, (words, option.name)


def test_help_is_there_without_importing_any_command(cli) -> None:
    code = "import sys; sys.argv[1:] = ['--help']\n"
    code += "from runyard.cli.root import main\n"
    code += "try: main()\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=cli.env)
    loaded = set(done.stderr.split())
    assert "experiment" in done.stdout
    assert not {"sqlite3", "rich", "fiddle", "runyard.cli.run", "runyard.engine"} & loaded
    assert len(loaded) < 200


@pytest.mark.parametrize("words", [["version"], ["--version"]])
def test_version(cli, words: list[str]) -> None:
    assert cli(*words).stdout == f"runyard {runyard.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["experimet"], "Did you mean 'experiment'?"),
        (["train.py", "-c", "tiny"], "Did you mean `runyard run train.py`?"),
        (["experiment", "stauts", "x"], "Did you mean 'status'?"),
        (["experiment", "list", "--limit"], "-> runyard experiment list --help"),
        (["experiment", "list", "--limt", "3"], "--limit"),
        (["run"], "runyard run -- echo hello"),
        (["experiment", "status"], "REF"),
        (["experiment", "rm"], "--older-than"),
    ],
)
def test_a_misused_command_is_one_message_with_the_nearest_name(cli, words: list[str], said: str) -> None:
    done = cli(*words, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "  -> runyard" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_has_no_traceback_unless_asked_for(cli) -> None:
    quiet = cli("experiment", "status", "nothing", code=2)
    assert quiet.stderr.startswith("error: there is no store at ")
    assert "\n  -> run something first" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in cli("experiment", "status", "nothing", code=2, RUNYARD_DEBUG="1").stderr


def test_colour_only_where_it_is_wanted(cli) -> None:
    assert "\033[" not in cli("experiment", "status", "x", code=2).stderr
    assert "\033[31merror:" in cli("experiment", "status", "x", code=2, FORCE_COLOR="1").stderr
    assert "\033[" not in cli("experiment", "status", "x", code=2, FORCE_COLOR="1", NO_COLOR="1").stderr


def test_a_reader_that_leaves_is_no_error(cli) -> None:
    for _ in range(3):
        cli("run", "-q", "--", "true")
    reader, writer = os.pipe()
    os.close(reader)
    process = cli.start("experiment", "list", "--all", stdout=writer)
    os.close(writer)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 141
    assert said == ""


def plugin(folder: Path, body: str) -> None:
    """Install a distribution with one command."""
    folder.mkdir()
    (folder / "sweeper.py").write_text(body)
    info = folder / "fancy_sweeper-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fancy-sweeper\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[runyard.commands]\nsweep = sweeper:command\nrun = sweeper:command\n")


def test_commands_of_plugins(cli, tmp_path: Path) -> None:
    body = "import click\n@click.command()\n@click.option('--n')\ndef command(n):\n    click.echo(f'n={n}')\n"
    plugin(tmp_path / "site", body)
    env = {"PYTHONPATH": str(tmp_path / "site")}
    assert cli("sweep", "--n", "3", **env).stdout == "n=3\n"
    shown = cli("--help", **env).stdout
    assert "(from fancy-sweeper)" in shown
    assert shown.count("  run ") == 1  # what is built in wins
    assert "Did you mean 'sweep'?" in cli("swep", code=2, **env).stderr


@pytest.mark.parametrize("body", ["raise RuntimeError('boom')", "command = 3"])
def test_a_broken_plugin_is_named_and_breaks_nothing_else(cli, tmp_path: Path, body: str) -> None:
    plugin(tmp_path / "site", body)
    env = {"PYTHONPATH": str(tmp_path / "site")}
    said = cli("sweep", code=2, **env).stderr
    assert "'sweep' of fancy-sweeper" in said
    assert "Traceback" not in said
    cli("--help", **env)
    cli("version", **env)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cli, shell: str) -> None:
    assert "_RUNYARD_COMPLETE" in cli("completion", shell).stdout


def test_what_is_completed(cli) -> None:
    cli("run", "-q", "--title", "alpha", "--name", "first", "--", "true")
    id = cli.json("experiment", "list")[0]["id"]

    def complete(line: str) -> list[str]:
        words = line.split(" ")
        env = {"_RUNYARD_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        lines = cli(code=None, **env).stdout.split("\n")
        return [item.partition(",")[2] for item in lines if item]

    assert complete("runyard exp") == ["experiment"]
    assert "rerun" in complete("runyard experiment r")
    assert complete("runyard experiment status al") == ["alpha", id]
    assert complete("runyard experiment logs alpha fi") == ["first"]
    assert complete("runyard experiment logs alpha --task ") == ["first"]
    assert complete("runyard experiment logs nothing fi") == []


def test_the_documentation_can_walk_the_commands() -> None:
    pages = importlib.import_module("generated_pages").cli_pages()
    assert set(pages) >= {"cli-runyard.rst", "cli-run.rst", "cli-experiment.rst", "cli-doctor.rst"}
    for name in experiment.SUMMARIES:
        assert f"runyard experiment {name}" in pages["cli-experiment.rst"]


def test_json_is_one_line_for_programs(cli) -> None:
    cli("run", "-q", "--", "true")
    out = cli("experiment", "list", "--json").stdout
    assert out.count("\n") == 1
    assert json.loads(out)[0]["states"] == {"SUCCEEDED": 1}


LISTS = (
    ("experiment list", list),
    ("experiment status task", dict),
    ("experiment show task", dict),
    ("experiment pull task task", dict),
    ("profile list", list),
    ("profile show here", dict),
    ("profile check here", dict),
    ("code ls", dict),
    ("code show", list),
    ("doctor", dict),
)
NEEDING_RECORDS = ("experiment status", "experiment show", "experiment pull")


def test_all_that_lists_something_prints_json_and_nothing_else(cli) -> None:
    """With records and without; what is said to people goes to standard error."""
    subprocess.run(["git", "init", "-q"], cwd=cli.cwd, check=True)
    (cli.cwd / "env.toml").write_text("[here]\n")
    (cli.cwd / "x.py").write_text("")
    empty = [(words, kind) for words, kind in LISTS if not words.startswith(NEEDING_RECORDS)]
    for words, kind in empty:
        assert isinstance(cli.json(*words.split()), kind), words
    assert cli.json("experiment", "list") == []
    assert cli.json("code", "ls") == {"disk_bytes": 0, "code": []}
    cli("run", "-q", "-n", "task", "--packager", "git", "--", "true")
    for words, kind in LISTS:
        assert isinstance(cli.json(*words.split()), kind), words
