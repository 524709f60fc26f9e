"""Find the fenced code blocks of a Markdown page, and execute a page as its reader would.

Python blocks of a page share one interpreter, like lines typed at a prompt; a block marked
```` ```python {name} ```` shares another one with the blocks of that name. Bash and console blocks run in
between, in the same folder. A comment before a block says what else to do with it::

    <!-- docs-test: skip (needs a Slurm cluster) -->
    <!-- docs-test: file train.py -->
    <!-- docs-test: exit 3 -->
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXECUTED = {"python": "python", "py": "python", "bash": "bash", "sh": "bash", "console": "console"}
PROMPT = Path(__file__).with_name("prompt.py")
SECONDS = 120

_FENCE = re.compile(r"^(?P<indent> *)(?P<marks>`{3,}|~{3,})(?P<info>[^`]*)$")
_MARK = re.compile(r"<!-- docs-test: (?P<verb>skip|file|exit) \(?(?P<value>.*?)\)? -->")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, text and place, and what its mark asks for."""

    page: str
    line: int
    language: str
    text: str
    space: str = ""
    verb: str = ""
    value: str = ""

    @property
    def where(self) -> str:
        """Page and line, for messages."""
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return every page that people read: the Markdown files at the root, in docs and beside the examples."""
    skipped = {"_build", "generated"}
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    return sorted(path for path in found if not skipped & set(path.parts))


def blocks_of(text: str, page: str) -> list[Block]:
    """Return the blocks of a page, in order."""
    found: list[Block] = []
    lines = text.splitlines()
    mark: tuple[str, str] = ("", "")
    i = 0
    while i < len(lines):
        if seen := _MARK.search(lines[i]):
            mark = (seen["verb"], seen["value"])
        elif fence := _FENCE.match(lines[i]):
            start, indent = i + 1, len(fence["indent"])
            end = start
            while end < len(lines) and lines[end].strip() != fence["marks"]:
                end += 1
            language, _, rest = fence["info"].strip().partition(" ")
            space = rest.strip().removeprefix("{").removesuffix("}") if rest.strip().startswith("{") else ""
            body = "\n".join(line[indent:] if not line[:indent].strip() else line for line in lines[start:end])
            found.append(Block(page, start, language, body + "\n", space, *mark))
            mark, i = ("", ""), end
        elif lines[i].strip():
            mark = ("", "")
        i += 1
    return found


def commands_of(block: Block) -> str:
    """Return the shell lines of a bash block, or what follows the prompts of a console block."""
    if EXECUTED[block.language] == "bash":
        return block.text
    commands: list[str] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
        elif commands and commands[-1].endswith("\\"):
            commands.append(line.removeprefix("> "))
    return "\n".join(commands) + "\n"


class Session:
    """A temporary folder in which the blocks of one page are executed."""

    def __init__(self, folder: Path) -> None:
        self.cwd = folder / "work"
        self.cwd.mkdir()
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("RUNYARD_", "NEMORUN_"))}
        self.env |= {
            "RUNYARD_HOME": str(folder / "home"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_COLOR": "1",
        }
        self._prompts: dict[str, tuple[subprocess.Popen[str], int]] = {}

    def execute(self, block: Block) -> str:
        """Execute a block; return "" or what went wrong, with its output."""
        if block.verb == "file":
            path = self.cwd / block.value
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
            return ""
        kind = EXECUTED.get(block.language)
        if kind is None or block.verb == "skip":
            return ""
        return self._python(block) if kind == "python" else self._shell(block)

    def _shell(self, block: Block) -> str:
        wanted = int(block.value) if block.verb == "exit" else 0
        try:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", commands_of(block)],
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            return f"{block.where}: still running after {SECONDS} s\n{late.output or ''}"
        if done.returncode == wanted:
            return ""
        return f"{block.where}: exit code {done.returncode}, not {wanted}\n{done.stdout}"

    def _python(self, block: Block) -> str:
        process, replies = self._prompts.get(block.space) or self._start(block.space)
        assert process.stdin is not None
        log = self.cwd.parent / f"python-{block.space}.log"
        before = log.stat().st_size
        alarm = threading.Timer(SECONDS, process.kill)  # ends the read below
        alarm.start()
        process.stdin.write(json.dumps([block.where, block.text]) + "\n")
        process.stdin.flush()
        answer = os.read(replies, 1)
        alarm.cancel()
        alarm.join()
        if answer == b"1":
            return ""
        output = log.read_bytes()[before:].decode(errors="replace")
        return f"{block.where}: {'failed' if answer else f'ended, or ran for more than {SECONDS} s'}\n{output}"

    def _start(self, space: str) -> tuple[subprocess.Popen[str], int]:
        read, write = os.pipe()
        with (self.cwd.parent / f"python-{space}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", f"exec(open({str(PROMPT)!r}).read(), {{'replies': {write}}})"],
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                pass_fds=[write],
            )
        os.close(write)
        self._prompts[space] = (process, read)
        return process, read

    def close(self) -> None:
        """End the interpreters."""
        for process, replies in self._prompts.values():
            if process.stdin:
                process.stdin.close()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(replies)


def execute_page(blocks: list[Block]) -> str:
    """Execute the blocks of one page in order; return "" or the first failure."""
    with tempfile.TemporaryDirectory(prefix="runyard-docs-") as folder:
        session = Session(Path(folder))
        try:
            return next((problem for block in blocks if (problem := session.execute(block))), "")
        finally:
            session.close()
