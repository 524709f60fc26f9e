from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import runyard
from runyard.runner import pytask

SRC = str(Path(runyard.__path__[0]).parent)
PLAIN: str = getattr(sys, "_base_executable", sys.executable)
"""This Python without the virtual environment: no Runyard there."""

CANDIDATES = [
    "/usr/bin/python3",
    *(f"~/.pyenv/versions/{v}/bin/python3" for v in ("3.8.18", "3.9.18", "3.13.0")),
]
PYTHONS = [str(path) for path in map(os.path.expanduser, CANDIDATES) if os.path.exists(path)]


class Project:
    """A folder with a launching script and modules, and jobs made from it by real interpreters."""

    def __init__(self, root: Path) -> None:
        self.code = root / "code"
        self.job = root / "job"
        self.code.mkdir()
        self.job.mkdir()

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.code / f"{name}.py").write_text(text)

    def launch(self, script: str = "launch.py", *, main: str | None = "launch.py", stdin: str | None = None) -> None:
        """Run a script that leaves its task in ``job/``: it ends with ``ship(task)``."""
        ship = (
            "import sys, pathlib\n"
            "def ship(task):\n"
            "    from runyard.config.calltree import encode\n"
            "    call = encode(task)\n"
            f"    main = {main!r} if call.main_script else None\n"
            "    for name, data in call.files(main).items():\n"
            f"        path = pathlib.Path({str(self.job)!r}, name)\n"
            "        path.parent.mkdir(parents=True, exist_ok=True); path.write_bytes(data)\n"
        )
        folder = self.job.parent / "helper"
        folder.mkdir(exist_ok=True)
        (folder / "shipping.py").write_text(ship)
        path = os.pathsep.join([SRC, str(folder)])
        command = [sys.executable, *script.split()] if stdin is None else [sys.executable, "-"]
        env = {**os.environ, "PYTHONPATH": path}
        subprocess.run(command, cwd=self.code, env=env, check=True, input=stdin, text=True, timeout=60)

    def run(self, python: str = PLAIN, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the job like the engine does; Runyard is not on its path.

        Should a test launch for real, its records stay in the folder of the test.
        """
        own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        own["RUNYARD_HOME"] = own["NEMORUN_HOME"] = own["HOME"] = str(self.job.parent / "home")
        return subprocess.run(
            [python, "-u", pytask.__file__, str(self.job / "call.json")],
            cwd=self.code,
            env={**own, **env},
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture(params=[PLAIN, *PYTHONS], ids=lambda path: Path(path).parent.parent.name)
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)
