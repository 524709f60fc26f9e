"""A job to work in."""

from __future__ import annotations

from pathlib import Path

import pytest

import runyard as run


@pytest.mark.parametrize("packaged", [False, True])
def test_it_starts_in_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packaged: bool) -> None:
    """The command finds the code, can import it, and sees the environment."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "mine.py").write_text("print('imported')\n")
    monkeypatch.chdir(work)
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    executor = run.LocalExecutor(packager=run.PatternPackager(include_pattern="*.py", relative_path=str(work)))
    cmd = "cd / && python -c 'import mine, os; print(os.environ[\"COLOUR\"])'"
    space = run.DevSpace("space", executor, cmd=cmd, use_packager=packaged, env_vars={"COLOUR": "blue"})
    result = space.launch()
    assert result is not None
    assert result.log_path.read_text() == "imported\nblue\n"
    assert executor.env_vars == {}
    assert executor.setup_lines == ""
