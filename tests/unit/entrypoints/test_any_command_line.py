"""Whatever is written on a command line: it is used or refused, nothing of it is run, and an export gives it again."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import runyard as run
from runyard.cli.entrypoints.flow import perform
from runyard.cli.entrypoints.program import entry_of
from runyard.config import serialize

MANY = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass
class Layer:
    size: int = 1
    scale: float = 1.0


@dataclass
class Model:
    name: str = "m"
    layers: list[Layer] = field(default_factory=lambda: [Layer()])
    best: Layer | None = None


def train(
    model: Model = run.Config(Model),  # noqa: B008
    epochs: int = 1,
    out: Path = Path("out"),
    tags: set[str] = frozenset(),  # type: ignore[assignment]
    limits: dict[str, float] | None = None,
    span: tuple[int, str] = (1, "a"),
    note: str | None = None,
):
    raise AssertionError("it was called")


@pytest.fixture(autouse=True)
def _nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    refused = mock.Mock(side_effect=AssertionError("a value was run"))
    with mock.patch.object(os, "system", refused), mock.patch.object(subprocess, "Popen", refused):
        yield


NAMES = ["model", "model.name", "model.layers", "model.layers[0].size", "model.best.scale", "epochs", "out", "tags"]
NAMES += [
    "limits",
    "limits.a",
    "limits['b c']",
    "span[1]",
    "note",
    "run.name",
    "executor",
    "plugins",
    "executor.retries",
]
VALUES = [
    "1",
    "-2.5",
    "[]",
    "[{size: 2}]",
    "{a: 1}",
    "{x, y}",
    "none",
    "yes",
    "Layer(size=3)",
    "local",
    "@a.yaml",
    "''",
]
VALUES += [
    "__import__('os').system('x')",
    "os.system",
    "${HOME}",
    "$(reboot)",
    "(" * 30,
    "{[" * 9,
    "x=y",
    "a,b",
    "1e999",
]
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=15)
OVERRIDES = st.builds(
    "{}{}{}".format,
    st.sampled_from(NAMES) | TEXT,
    st.sampled_from(["=", "+=", "-=", "*=", "/=", "//=", "%=", "|=", "&="]),
    st.sampled_from(VALUES) | TEXT,
)
OPTIONS = st.sampled_from(
    ["--yes", "-v", "--detach", "--name", "-f", "--load", "-y", "--factory=x", "--dryrn", "--", "-"]
)


def command_line(*words: str) -> tuple[int, str]:
    """Return the exit code and what is said of a script's command line that exports its task."""
    said = io.StringIO()
    # A process of its own for each example would take minutes.
    with (
        mock.patch.object(sys, "argv", ["train.py", "--to-json=-", *words]),
        mock.patch.dict(os.environ),
        mock.patch.object(sys, "excepthook"),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(said),
    ):
        try:
            run.cli.main(train)
        except SystemExit as stop:
            return int(stop.code or 0), said.getvalue()
    return 0, said.getvalue()


@MANY
@given(st.lists(OVERRIDES | OPTIONS | TEXT, max_size=4))
@example(["epochs=__import__('os').system('x')"])
@example(["executor=os.system"])
@example(["limits.a=1", "limits.a*=1e308", "limits.a*=1e308"])
def test_it_is_used_or_refused(words: list[str]) -> None:
    code, said = command_line(*words)
    assert code in (0, 2), said
    assert (code == 2) == ("error: " in said), said


LAYERS = st.builds(
    "{{size: {}, scale: {}}}".format, st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False)
)
QUOTED = st.text(st.characters(codec="ascii", categories=["L", "N", "S", "Zs"]), max_size=12).map(repr)


@MANY
@pytest.mark.parametrize("form", ["yaml", "toml", "json"])
@given(
    words=st.fixed_dictionaries(
        {},
        optional={
            "model.name": QUOTED,
            "model.layers": st.lists(LAYERS, max_size=3).map(", ".join).map("[{}]".format),
            "model.best": st.just("none") | LAYERS,
            "epochs": st.integers().map(str),
            "out": QUOTED,
            "tags": st.sets(QUOTED, max_size=3).map(lambda found: f"[{', '.join(found)}]"),
            "limits": st.just("none")
            | st.dictionaries(QUOTED, st.integers(-9, 9), max_size=3).map(
                lambda found: "{" + ", ".join(f"{k}: {v}" for k, v in found.items()) + "}"
            ),
            "span": QUOTED.map("(3, {})".format),
            "note": st.just("none") | QUOTED,
        },
    )
)
def test_an_export_gives_the_same_task_again(form: str, words: dict[str, str]) -> None:
    """Through files, as people do it: exported, loaded, exported again, in every form."""
    overrides = [f"{name}={value}" for name, value in words.items()]
    with contextlib.redirect_stderr(io.StringIO()):
        perform(entry_of(train), run.cli.RunContext(), overrides, {form: f"a.{form}"})
        perform(entry_of(train), run.cli.RunContext(load=f"a.{form}"), [], {form: f"b.{form}"})
        perform(entry_of(train), run.cli.RunContext(load=f"b.{form}"), [], {"json": "c.json"})
    texts = [Path(f"{name}.{form}").read_text() for name in "ab"]
    assert texts[0] == texts[1]
    again = getattr(serialize, f"from_{form}")(texts[0])
    assert again == serialize.from_json(Path("c.json").read_text())
    assert isinstance(again, run.Partial)
