"""The files that travel with a job run on Python 3.8 with nothing but its standard library."""

import ast
import sys
from pathlib import Path

import pytest

import runyard.runner

FILES = sorted(Path(runyard.runner.__file__).parent.glob("*.py"))
NEWER = {"removeprefix", "removesuffix", "bit_count", "is_relative_to"}
"""Methods that Python 3.8 lacks, and that nobody asks for with ``hasattr``."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_parses_on_python_3_8(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & NEWER
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Match)
        assert not (isinstance(node, (ast.With, ast.AsyncWith)) and _in_parentheses(path, node))


def _in_parentheses(path: Path, node: ast.With | ast.AsyncWith) -> bool:
    """True for ``with (a as b, c as d):``, which Python 3.8 refuses."""
    line = path.read_text().splitlines()[node.lineno - 1].strip()
    return line.removeprefix("async ").startswith("with (") and any(item.optional_vars for item in node.items)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_imports_the_standard_library_only(path: Path) -> None:
    tree = ast.parse(path.read_text())
    here = {file.stem for file in FILES}
    for node in tree.body:  # what a function imports where it is used may be absent
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        for name in names:
            assert name.split(".")[0] in sys.stdlib_module_names | here, f"{path.name} imports {name}"
