"""Images beside the usual one: with another Python of this machine, or with none."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

from docker_engine import _file, _folder, _libraries, _link, _tool, _without_extras

TOOLS = "bash sh env cat mv mkdir rm ls chmod chown id hostname date sleep stat"
_PLACES = "import sys, sysconfig; print(sys._base_executable); print(sysconfig.get_path('stdlib'))"


def pythons() -> dict[tuple[int, int], Path]:
    """Return the Pythons from 3.8 on that this machine has, by minor version."""
    places = [*Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python3"), Path("/usr/bin/python3")]
    found: dict[tuple[int, int], Path] = {sys.version_info[:2]: Path(sys.executable)}
    for place in places:
        said = subprocess.run(
            [place, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=False
        ).stdout.split()
        if len(said) == 2 and (version := (int(said[0]), int(said[1]))) >= (3, 8):
            found.setdefault(version, place)
    return found


def tar_of(target: Path, python: Path | None) -> Path:
    """Write a tar file of a shell, some tools, and a Python without any packages, if one is given."""
    programs = [tool for name in TOOLS.split() if (tool := _tool(name))]
    with tarfile.open(target, "w") as tar:
        for name in ("usr/bin", "usr/lib", "usr/lib64", "etc", "tmp", "root", "proc", "sys", "dev", "run", "var"):
            _folder(tar, name, 0o1777 if name == "tmp" else 0o755)
        for name in ("bin", "lib", "lib64"):
            _link(tar, name, f"usr/{name}")
        for program in programs:
            tar.add(os.path.realpath(program), f"usr/bin/{os.path.basename(program)}")
        binaries = [os.path.realpath(program) for program in programs]
        if python is not None:
            said = subprocess.run([python, "-c", _PLACES], capture_output=True, text=True, check=True).stdout.split()
            program, standard = os.path.realpath(said[0]), Path(said[1])
            tar.add(program, program.lstrip("/"))
            tar.add(standard, str(standard).lstrip("/"), filter=_without_extras)
            _link(tar, "usr/bin/python3", program)
            binaries += [program, *map(str, (standard / "lib-dynload").glob("*.so"))]
        for library in sorted(_libraries(binaries)):
            tar.add(os.path.realpath(library), f"usr{library}" if library.startswith("/lib") else library.lstrip("/"))
        _file(tar, "etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
        _file(tar, "etc/group", "root:x:0:\n")
    return target
