"""Execute a Python block of a seed document, and look at everything that it made."""

from __future__ import annotations

import ast
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import runyard as run
from code_blocks import Block

_titles = itertools.count(1)


class Executed:
    """A block that was executed, statement by statement.

    Args:
        block: The block.
        given: Names that it takes for given; ``run`` and ``os`` always are.

    Attributes:
        names: Its variables afterwards.
        made: The value of each of its assignments and expressions, in order.
    """

    def __init__(self, block: Block, **given: Any) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__", "run": run, "os": os, **given}
        self.made: list[Any] = []
        for node in ast.parse(block.text, block.where).body:
            if isinstance(node, ast.Expr):
                self.made.append(eval(compile(ast.Expression(node.value), block.where, "eval"), self.names))
                continue
            exec(compile(ast.Module([node], []), block.where, "exec"), self.names)
            if isinstance(node, ast.Assign):
                self.made.append(self.names[ast.unparse(node.targets[0])])

    def packagers(self) -> list[run.Packager]:
        """Return the packagers that it made, in order."""
        return [value for value in self.made if isinstance(value, run.Packager)]

    def executors(self) -> list[run.Executor]:
        """Return the executors that it made, in order."""
        return [value for value in self.made if isinstance(value, run.Executor)]


def shipped(packager: run.Packager) -> frozenset[str] | None:
    """Return the files that a packager really ships from the current folder; None when it ships nothing."""
    snapshot = packager.snapshot()
    return None if snapshot is None else frozenset(entry.path for entry in snapshot)


def preview(executor: run.Executor | None = None, task: Any = None) -> str:
    """Return the dry run of an experiment with one task. It contacts nothing."""
    exp = run.Experiment(f"seed{next(_titles)}", executor=executor)
    exp.add(task or run.Script(inline="nvidia-smi"), name="task")
    return exp.dryrun(log=False)


def locals_of(function: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Call a function and return its local variables at its end: what it makes and does not return can be looked at."""
    found: dict[str, Any] = {}

    def look(frame: FrameType, event: str, _arg: Any) -> None:
        if event == "return" and frame.f_code is function.__code__:
            found.update(frame.f_locals)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        function(*args, **kwargs)
    finally:
        sys.setprofile(before)
    return found


def git(folder: Path, *args: str) -> str:
    """Run git in a folder and return what it prints."""
    done = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write(folder: Path, *names: str) -> None:
    """Write files, each with its name as its text."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
