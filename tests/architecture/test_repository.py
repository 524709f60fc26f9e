"""What must hold for every file of the repository."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REGISTRIES = [
    ".".join(words) for words in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("deb", "debian", "org"))
]


def files() -> list[Path]:
    """Return the files that git has or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git working tree")
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_package_registry() -> None:
    """People install from the registry that their machine is set up for."""
    for path in files():
        text = path.read_bytes().decode(errors="replace")
        for host in REGISTRIES:
            assert host not in text, f"{path.relative_to(ROOT)} names {host}"


def test_constraints_are_exact_and_without_addresses() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), line


def test_links_between_pages_lead_somewhere() -> None:
    for page in files():
        if page.suffix != ".md":
            continue
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            made = {"docs/decisions/index.md", "benchmarks/results/startup_and_local.md"}
            goal = (page.parent / target).resolve()
            if "://" not in target and str(goal.relative_to(ROOT)) not in made:
                assert goal.exists(), f"{page.relative_to(ROOT)} links to {target}"
