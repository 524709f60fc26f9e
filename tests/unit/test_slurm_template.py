"""A launcher that is a template of the user's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runyard import launchers
from runyard.errors import ConfigError
from runyard.launchers import SlurmTemplate
from runyard.launchers.base import Placement, Program
from runyard.shell import Raw

PROGRAM = Program("command", ("printf",), ("<%s>\\n", "two words", "it's $HOME; $(x)"))


def run(launcher: SlurmTemplate, **env: str) -> list[str]:
    argv = launcher.wrap(PROGRAM, Placement(nnodes=2, nproc_per_node=4, node_rank=Raw("$RANK"), job="j"))
    return subprocess.run(argv, env={"PATH": "/usr/bin:/bin", **env}, text=True, capture_output=True).stdout.split("\n")


def test_the_command_and_the_values_arrive_as_they_are() -> None:
    text = (
        "echo {{ nodes }} {{ nproc_per_node }} {{ node_rank }} {{ tag }} {{ flags | raw }} ${#HOME}\nexec {{ command }}"
    )
    launcher = SlurmTemplate(template_inline=text, template_vars={"tag": "a  'b' $(c)", "flags": "-x   -y"})
    assert run(launcher, RANK="1", HOME="/root") == [
        "2 4 1 a  'b' $(c) -x -y 5",
        "<two words>",
        "<it's $HOME; $(x)>",
        "",
    ]


def test_a_record_holds_the_template_itself(tmp_path: Path) -> None:
    path = tmp_path / "template.sh"
    path.write_text("exec {{ command }}")
    launcher = SlurmTemplate(template_path=str(path))
    record = launcher.to_dict()
    path.unlink()
    again = launchers.from_dict(record)
    assert isinstance(again, SlurmTemplate)
    assert run(again)[0] == "<two words>"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "either template_path or template_inline"),
        ({"template_path": "no/such"}, "cannot be read"),
        ({"template_inline": "{{ nope }}"}, "'nope' is undefined"),
        ({"template_inline": "a\n{% if %}"}, "line 2"),
    ],
)
def test_mistakes_are_named(fields: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SlurmTemplate(**fields).script(Placement())
