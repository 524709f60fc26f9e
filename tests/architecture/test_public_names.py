"""Every public name can be had, explains itself, and stands in the reference."""

import inspect
import re

import pytest

import generated_pages
import runyard

NAMES = sorted(name for name in runyard.__all__ if not name.startswith("__"))


@pytest.mark.parametrize("name", NAMES)
def test_it_has_a_docstring_of_its_own(name: str) -> None:
    thing = getattr(runyard, name)
    if isinstance(thing, type) or inspect.isroutine(thing) or inspect.ismodule(thing):
        doc = thing.__dict__.get("__doc__") if isinstance(thing, type) else thing.__doc__
        assert doc, f"runyard.{name} has no docstring"
        assert not doc.startswith(f"{name}("), f"runyard.{name} has only the docstring that dataclass makes"


def test_it_stands_in_the_reference() -> None:
    pages = "\n".join(generated_pages.api_pages().values())
    shown = set(re.findall(r"^\.\. auto\w+:: runyard\.(\w+)$", pages, re.MULTILINE))
    modules = {name for name in NAMES if inspect.ismodule(getattr(runyard, name))}
    assert shown | modules == set(NAMES)


def test_every_command_stands_in_the_reference() -> None:
    pages = "\n".join(generated_pages.cli_pages().values())
    for command in ("experiment list", "experiment status", "experiment logs", "experiment cancel", "run"):
        assert re.search(rf"^runyard {command}\n[=-]+$", pages, re.MULTILINE), f"runyard {command} is not documented"


def test_names_are_listed_once_and_exist() -> None:
    assert len(runyard.__all__) == len(set(runyard.__all__))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = runyard.no_such_name
