"""What the seed documents say about packagers, where a block alone does not show it."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from dispositions import CODE, CONFIGS, SRC, TESTLESS, TRACKED, inside, whole

import runyard as run
import seed_files
from runyard.errors import ConfigError, PackagingError
from seed_blocks import Executed, git, preview, shipped, write

pytestmark = pytest.mark.seeds


def bash(text: str, folder: Path, code: int = 0) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def built(top: Path, drawing: str) -> None:
    """Make what is drawn, as a git repository; each folder with nothing in it gets a file ``x.py``."""
    names = seed_files.tree_of(drawing)
    (root,) = {name.split("/")[0] for name in names} if "─" in drawing else {""}
    names = {name.removeprefix(f"{root}/") if root else name for name in names} - {""}
    empty = [n for n in names if n.endswith("/") and not any(m != n and m.startswith(n) for m in names)]
    write(top, *(n for n in names if not n.endswith("/")), *(f"{n}x.py" for n in empty))
    git(top, "init", "-q")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "drawn")


def drawn_as(paths: frozenset[str] | None, drawing: str) -> tuple[set[str], set[str]]:
    """Return what ships as a drawing shows it, down to its depth, and what is drawn."""
    assert paths is not None
    expected = seed_files.tree_of(drawing)
    depth = max(name.rstrip("/").count("/") for name in expected)
    found = set()
    for path in paths:
        *folders, name = path.split("/")
        found |= {"/".join(folders[: i + 1]) + "/" for i in range(len(folders))} | ({path} if name != "x.py" else set())
    return {name for name in found if name.rstrip("/").count("/") <= depth}, expected


@pytest.mark.parametrize(
    ("document", "project", "code", "remote"),
    [
        ("000", 3, 4, 5),
        ("000", 3, 6, 7),
        ("000", 19, 20, 21),
    ],
)
def test_a_drawn_project_ships_as_it_is_drawn(
    document: str, project: int, code: int, remote: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "drawn"
    built(top, seed_files.block(document, project).text)
    monkeypatch.chdir(top)
    (packager,) = Executed(seed_files.block(document, code)).packagers()
    found, expected = drawn_as(shipped(packager), seed_files.block(document, remote).text)
    assert found == expected


def test_the_library_below_src_is_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two pages draw the same folders; one of them has lost its indentation."""
    for one, other in ((1, 1), (2, 2), (3, 3)):
        flat = [line.strip() for line in seed_files.block("003", one).text.splitlines()]
        assert flat == seed_files.block("002", other).text.splitlines()
    top = tmp_path / "drawn"
    built(top, seed_files.block("003", 1).text)
    monkeypatch.chdir(top)
    found, expected = drawn_as(shipped(run.GitArchivePackager(subpath="src")), seed_files.block("003", 2).text)
    assert found == expected


def test_a_pattern_takes_the_whole_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path / "drawn"
    built(top, seed_files.block("003", 3).text)
    monkeypatch.chdir(top)
    packager = run.PatternPackager(include_pattern="src/**", relative_path=str(top))
    assert shipped(packager) == {"src/your_library/x.py"}


def test_where_code_is_extracted_and_what_archives_are_called(project: Path, tmp_path: Path) -> None:
    there, branch = Executed(seed_files.block("000", 8)).packagers()
    assert there.snapshot().working_dir == "/workspace"
    assert branch.snapshot().working_dir == ""
    patterns, named = Executed(seed_files.block("000", 14)).packagers()
    assert patterns.snapshot().working_dir == "/workspace/code"
    assert named.snapshot().archive_name == "my_experiment_code.tar.gz"
    _, hybrid = Executed(seed_files.block("000", 22)).packagers()
    assert hybrid.snapshot().working_dir == "/workspace/experiment"


def test_commit_your_changes(project: Path) -> None:
    """Committing first is good practice. It is not needed: work that is not committed ships, unless a ref is given."""
    write(project, "src/models/late.py")
    late = inside("src") | {"models/late.py"}
    committed = run.GitArchivePackager(subpath="src", ref="HEAD")
    assert shipped(run.GitArchivePackager(subpath="src")) == late
    assert shipped(committed) == inside("src")
    bash(seed_files.block("000", 9).text, project)
    assert git(project, "status", "--porcelain") == ""
    assert shipped(committed) == late


def test_one_package_of_a_large_repository(project: Path) -> None:
    (packager,) = Executed(seed_files.block("000", 11)).packagers()
    assert shipped(packager) == {"net.py", "net_test.py"}


def test_pattern_examples(project: Path) -> None:
    """One of the examples packages a folder elsewhere, which must exist."""
    *here, elsewhere = Executed(seed_files.block("000", 13)).packagers()
    assert [shipped(p) for p in here] == [{"train.py"}, SRC, SRC | CONFIGS, TESTLESS]
    with pytest.raises(PackagingError, match="/path/to/project: no such folder"):
        elsewhere.snapshot()


def test_choosing_a_packager(project: Path) -> None:
    def chosen(in_git: bool, several: bool) -> run.Packager:
        block = seed_files.block("000", 26)
        return Executed(block, is_git_repo=lambda: in_git, has_multiple_sources=lambda: several).names["packager"]

    assert shipped(chosen(True, False)) == inside("src")
    assert shipped(chosen(False, False)) == SRC
    with pytest.raises(ConfigError, match="sub_packagers is a set, no dict"):  # the block leaves out what goes there
        chosen(True, True)


def test_outside_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "fresh", "train.py")
    monkeypatch.chdir(tmp_path / "fresh")
    with pytest.raises(PackagingError, match="not a git repository") as caught:
        run.GitArchivePackager().snapshot()
    assert "git init" in caught.value.hint
    bash(seed_files.block("000", 30).text, tmp_path / "fresh")
    assert shipped(run.GitArchivePackager(ref="HEAD")) == {"train.py"}


def test_looking_at_what_ships(project: Path) -> None:
    """Packaging is looked at before anything is launched: with a local executor, with find, and with our command."""
    packager = run.GitArchivePackager(subpath="src")
    (executor,) = Executed(seed_files.block("000", 33), packager=packager).executors()
    assert executor.packager is packager
    assert f"{len(inside('src'))} files" in preview(executor)
    bash(seed_files.block("000", 34).text, project)
    words = [sys.executable, "-m", "runyard", "code", "show", "--packager", "git"]
    told = subprocess.run(words, cwd=project, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "src/models/net.py" in told.stdout


def test_the_complete_example(project: Path) -> None:
    """Its patterns want every kind of file to be there: one that matches nothing is an error, not a silent gap."""
    done = Executed(seed_files.block("000", 36))
    everything = CODE | CONFIGS | {"experiments/sweep.yaml", "data/processed/part-0.bin"}
    # The pattern experiments/*.yaml stands in the folder of its key.
    everything = (everything - {"experiments/sweep.yaml"}) | {"configs/experiments/sweep.yaml"}
    everything |= {f"artifacts/{name}" for name in whole("generated")}
    (packager,), (executor,) = done.packagers(), done.executors()
    assert shipped(packager) == everything
    assert "#SBATCH --partition=gpu" in preview(executor)
    (project / ".git").rename(project / "not-git")
    packager = done.names["create_experiment_packager"]()
    assert shipped(packager) == TESTLESS | CONFIGS | {"data/processed/part-0.bin"}


def test_conflicts_are_resolved_by_the_user(project: Path) -> None:
    """Names that collide at the root would overwrite each other; which one is meant has to be said."""
    sub = {
        "a": run.PatternPackager(include_pattern="net.py", relative_path="src/models"),
        "b": run.PatternPackager(include_pattern="*.py", relative_path="copies"),
    }
    write(project, "copies/net.py")
    with pytest.raises(PackagingError, match=r"net\.py.*both ship this file"):
        run.HybridPackager(sub_packagers=sub, extract_at_root=True).snapshot()
    overwriting = run.HybridPackager(sub_packagers=sub, extract_at_root=True, on_conflict="overwrite")
    assert shipped(overwriting) == {"net.py"}


def test_the_commands_that_are_described(project: Path) -> None:
    """What the pages say is executed underneath, executed: it lists what our packagers list."""
    top = bash(next(c for c in seed_files.commands("000").values() if "rev-parse" in c), project / "src").strip()
    assert top == str(project)
    packed = subprocess.run(
        ["bash", "-c", "cd base_path && git archive --format=tar HEAD:src".replace("base_path", top)],
        capture_output=True,
        check=True,
    )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        names = {item.name for item in archive if item.isfile()}
    assert shipped(run.GitArchivePackager(subpath="src", ref="HEAD")) == names
    for document, number in (("002", 4), ("003", 4)):
        line = seed_files.block(document, number).text.splitlines()[1].partition("-type f")[0] + "-type f"
        line = line.replace("{relative_path}", top).replace("{relative_include_pattern}", "src/**")
        assert set(bash(line, project).split()) == shipped(run.PatternPackager(include_pattern="src/**"))


def test_the_config_map_packager_is_available() -> None:
    words = next(c for c in seed_files.commands("003").values() if c.startswith("python -c"))
    words = words.replace("python", sys.executable, 1)
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ConfigMapPackager available\n", "")


def test_staging_in_a_config_map(project: Path) -> None:
    done = Executed(seed_files.block("003", 16))
    basic, advanced, folder = done.packagers()
    assert shipped(basic) == {"train.py"}
    with pytest.raises(PackagingError, match=r"pattern '\*.yaml', '\*.json' matches nothing"):
        advanced.snapshot()  # a list of patterns of which some match nothing is a mistake, not half a workspace
    write(project, "run.yaml", "sizes.json")
    assert shipped(advanced) == {"train.py", "run.yaml", "sizes.json"} | CONFIGS
    assert shipped(folder) == SRC
    plan = basic.plan("job", project)
    assert (plan.name, plan.namespace) == ("nemo-workspace-job", "default")
    (project / "train.py").write_bytes(b"#" * (1 << 20))
    with pytest.raises(PackagingError, match="a ConfigMap, which holds 1 MiB"):
        basic.plan("job", project)
    assert shipped(basic) <= TRACKED
