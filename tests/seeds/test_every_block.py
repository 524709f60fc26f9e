"""Every code block and command of the seed documents has its test, or waits for an executor that is not built yet."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
from dispositions import BLOCKS, COMMANDS, Runs, Test, Waits

import runyard
import seed_files
from seed_blocks import Executed, preview, shipped

pytestmark = pytest.mark.seeds
RUNS = {key: found for key, found in BLOCKS.items() if isinstance(found, Runs)}
WAITING = {key: found for key, found in {**BLOCKS, **COMMANDS}.items() if isinstance(found, Waits)}


def name_of(key: tuple[object, ...]) -> str:
    return "-".join(map(str, key))


def is_there(name: str) -> bool:
    """Tell whether Runyard has a public name."""
    try:
        functools.reduce(getattr, name.split("."), runyard)
    except AttributeError:
        return False
    return True


def test_each_block_has_a_disposition() -> None:
    found = {(doc, n) for doc in seed_files.documents() for n in range(1, len(seed_files.blocks(doc)) + 1)}
    assert found == set(BLOCKS)


def test_each_command_has_a_disposition() -> None:
    assert {(doc, *place) for doc in seed_files.documents() for place in seed_files.commands(doc)} == set(COMMANDS)


def test_blocks_without_fences_are_where_they_were() -> None:
    firsts = [block.text.split()[0] for block in seed_files.blocks("002")]
    assert firsts == ["-", "-", "-", "#", "import"]


def test_each_test_that_is_named_exists() -> None:
    files = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    there = {name for text in files for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}
    assert {found.name for found in {**BLOCKS, **COMMANDS}.values() if isinstance(found, Test)} <= there


@pytest.mark.parametrize("key", WAITING, ids=name_of)
def test_what_waits_is_not_built_yet(key: tuple[str, int]) -> None:
    built = [name for name in WAITING[key].names if is_there(name)]
    assert not built, f"{name_of(key)} waits for {', '.join(built)}, which is there: execute it, and say how in BLOCKS"


@pytest.mark.parametrize("key", RUNS, ids=name_of)
def test_a_python_block(key: tuple[str, int], project: Path) -> None:
    expected = RUNS[key]
    done = Executed(seed_files.block(*key), **expected.given)
    assert [shipped(packager) for packager in done.packagers()] == list(expected.ships)
    executors = done.executors()
    assert len(executors) == len(expected.shows)
    for executor, words in zip(executors, expected.shows, strict=True):
        text = preview(executor)
        assert all(word in text for word in words), text
