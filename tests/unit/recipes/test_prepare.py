"""What a recipe's own command becomes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from runyard.errors import ConfigError
from runyard.recipes.prepare import Wanted, prepare
from runyard.task import Script


def task(folder: Path, cmd: str) -> Script:
    """Prepare a recipe with a command."""
    (folder / "train.yaml").write_text("lr: 1\n")
    (folder / "train.py").write_text(
        f"# /// script\n# [tool.runspec]\n# config.dir = '.'\n# run.cmd = {json.dumps(cmd)}\n# ///\n"
    )
    return prepare(Wanted(folder / "train.py", folder, config="train")).task


@pytest.mark.parametrize(
    ("cmd", "words"),
    [
        ("python -m tool {config}", ["python", "-m", "tool", "CONFIG"]),
        ("tool --config={config} {script} last", ["tool", "--config=CONFIG", "SCRIPT", "last"]),
        (
            "bash -c 'for i in {1..3}; do echo $i ${HOME}; done'",
            ["bash", "-c", "for i in {1..3}; do echo $i ${HOME}; done"],
        ),
        ("awk '{print $1}' {config}", ["awk", "{print $1}", "CONFIG"]),
        ("awk {{print}} {config}", ["awk", "{print}", "CONFIG"]),
        ("tool {{script}} {{config}} {script}", ["tool", "{script}", "{config}", "SCRIPT"]),
        ("tool --{{a}}={config} {{config}}", ["tool", "--{a}=CONFIG", "{config}"]),
        ("""tool '{"a": {"b": 1}}'""", ["tool", '{"a": {"b": 1}}']),
    ],
)
def test_words_of_a_command(tmp_path: Path, cmd: str, words: list[str]) -> None:
    made = task(tmp_path, cmd)
    argv = [*shlex.split(made.entrypoint), made.path, *made.args]
    names = {"train.py": "SCRIPT", "./train.py": "SCRIPT", str(tmp_path / "train.py"): "SCRIPT"}
    assert [names.get(w, w).replace(Script.file("train.yaml"), "CONFIG") for w in argv] == words


@pytest.mark.parametrize("cmd", ["tool {confg}", "tool {script", "tool a{script}", "tool x{config}y", "tool {{a}}{b}"])
def test_places_that_are_none(tmp_path: Path, cmd: str) -> None:
    with pytest.raises(ConfigError):
        task(tmp_path, cmd)
