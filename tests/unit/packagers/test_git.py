"""GitArchivePackager: what ships from a repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from runyard.errors import ConfigError, PackagingError
from runyard.packagers.git import GitArchivePackager
from runyard.snapshots.snapshot import Snapshot, launch_line

from .conftest import GitRepo, paths


def take(repo: GitRepo, **options: object) -> Snapshot:
    snapshot = GitArchivePackager(**options).snapshot(repo.path)  # type: ignore[arg-type]
    assert snapshot is not None
    return snapshot


def test_uncommitted_and_untracked_files_ship_and_ignored_ones_do_not(repo: GitRepo) -> None:
    repo.write("train.py", "print(3)\n")
    repo.write("new.py")
    repo.write("debug.log")
    repo.write("out/big.bin")
    snapshot = take(repo)
    assert paths(snapshot) == [".gitignore", "new.py", "run.sh", "src/lib/a.py", "train.py"]
    assert snapshot.read("train.py") == b"print(3)\n"
    assert snapshot.info.commit == repo.git("rev-parse", "HEAD")
    assert (snapshot.info.branch, snapshot.info.modified, snapshot.info.untracked) == ("main", 1, 1)
    assert "+print(3)" in snapshot.info.diff
    line = launch_line(snapshot, send_files=2, send_bytes=30)
    assert line == (
        f"code: commit {snapshot.info.commit[:8]} + 1 modified, 1 untracked; 5 files, {snapshot.total_size} B; "
        "to send: 2 files, 30 B"
    )
    assert "\n" not in line


def test_a_deleted_file_does_not_ship_and_counts_as_modified(repo: GitRepo) -> None:
    (repo.path / "run.sh").unlink()
    snapshot = take(repo)
    assert "run.sh" not in paths(snapshot)
    assert snapshot.info.modified == 1


@pytest.mark.parametrize("options", [{"include_uncommitted": False}, {"ref": "HEAD"}, {"ref": "main"}])
def test_commits_only(repo: GitRepo, options: dict[str, object]) -> None:
    repo.write("train.py", "print(3)\n")
    repo.write("new.py")
    snapshot = take(repo, **options)
    assert "new.py" not in paths(snapshot)
    assert snapshot.read("train.py") == b"print(2)\n"
    assert {e.path: e.tag for e in snapshot}["run.sh"] == "x"
    assert "only" in launch_line(snapshot)


def test_an_older_ref_ships_as_it_was(repo: GitRepo) -> None:
    assert take(repo, ref="v1").read("train.py") == b"print(1)\n"
    assert take(repo, ref=repo.git("rev-parse", "v1")).info.commit == repo.git("rev-parse", "v1")


def test_a_clean_tree_and_its_commit_are_the_same_snapshot(repo: GitRepo) -> None:
    assert take(repo).hash == take(repo, ref="HEAD").hash


def test_subpath_becomes_the_root(repo: GitRepo) -> None:
    assert paths(take(repo, subpath="src")) == ["lib/a.py"]
    assert paths(take(repo, subpath="src/", ref="HEAD")) == ["lib/a.py"]


def test_basepath_and_a_folder_inside_the_repository_ship_the_whole_repository(repo: GitRepo) -> None:
    inside = GitArchivePackager(basepath=str(repo.path / "src" / "lib")).snapshot()
    assert inside is not None
    assert inside.hash == take(repo).hash


def test_include_pattern_adds_ignored_files(repo: GitRepo) -> None:
    repo.write("out/model.json", "{}")
    snapshot = take(repo, include_pattern="out/*.json")
    assert "out/model.json" in paths(snapshot)
    placed = take(repo, include_pattern="*.json", include_pattern_relative_path="out")
    assert "model.json" in paths(placed)
    absolute = take(repo, include_pattern=[str(repo.path / "out" / "*.json")], include_pattern_relative_path=["out"])
    assert placed.hash == absolute.hash


def test_include_pattern_conflict_names_both_files(repo: GitRepo) -> None:
    repo.write("out/train.py", "other")
    with pytest.raises(PackagingError, match=r"train\.py: both .*repo/train\.py and .*repo/out/train\.py") as caught:
        take(repo, include_pattern="train.py", include_pattern_relative_path="out")
    assert "include_pattern_relative_path" in caught.value.hint


def test_include_pattern_that_matches_nothing(repo: GitRepo) -> None:
    with pytest.raises(PackagingError, match=r"pattern 'data/\*\.bin' matches nothing in .*repo"):
        take(repo, include_pattern="data/*.bin")


def test_submodules_nested_ones_too_keep_their_folders(repo: GitRepo, tmp_path: Path) -> None:
    inner = GitRepo(tmp_path / "inner")
    inner.write("deep.py")
    inner.commit()
    middle = GitRepo(tmp_path / "middle")
    middle.write("mid.py")
    middle.git("submodule", "--quiet", "add", str(inner.path), "third/inner")
    middle.commit()
    repo.git("submodule", "--quiet", "add", str(middle.path), "third/middle")
    repo.git("submodule", "--quiet", "update", "--init", "--recursive")
    repo.commit("with submodules")
    wanted = {"third/middle/mid.py", "third/middle/third/inner/deep.py", ".gitmodules"}
    assert wanted < set(paths(take(repo)))
    assert take(repo).hash == take(repo, ref="HEAD").hash
    assert not any(p.startswith("third/") for p in paths(take(repo, include_submodules=False)))
    # Uncommitted work in a submodule ships like any other.
    (repo.path / "third/middle/mid.py").write_text("changed\n")
    (repo.path / "third/middle/extra.py").write_text("new\n")
    snapshot = take(repo)
    assert snapshot.read("third/middle/mid.py") == b"changed\n"
    assert (snapshot.info.modified, snapshot.info.untracked) == (1, 1)
    assert "# submodule third/middle/" in snapshot.info.diff
    assert paths(take(repo, subpath="third/middle/third/inner")) == ["deep.py"]


def test_a_submodule_that_is_not_initialised(repo: GitRepo, tmp_path: Path) -> None:
    inner = GitRepo(tmp_path / "inner")
    inner.write("deep.py")
    inner.commit()
    repo.git("submodule", "--quiet", "add", str(inner.path), "third")
    repo.commit()
    repo.git("submodule", "--quiet", "deinit", "-f", "third")
    for options in ({}, {"ref": "HEAD"}):
        with pytest.raises(PackagingError, match=r"third: this submodule of .*repo is not initialised") as caught:
            take(repo, **options)
        assert "git submodule update --init --recursive" in caught.value.hint
    assert "train.py" in paths(take(repo, include_submodules=False))


def test_a_submodule_without_the_commit_that_is_named(repo: GitRepo, tmp_path: Path) -> None:
    inner = GitRepo(tmp_path / "inner")
    inner.write("deep.py")
    inner.commit()
    repo.git("submodule", "--quiet", "add", str(inner.path), "third")
    repo.commit()
    gone = "1234567890" * 4
    repo.git("update-index", "--cacheinfo", f"160000,{gone},third")
    repo.git("commit", "-q", "-m", "broken")
    with pytest.raises(PackagingError, match="third: this submodule lacks commit 123456789012") as caught:
        take(repo, ref="HEAD")
    assert "git submodule update" in caught.value.hint


def test_checks(repo: GitRepo) -> None:
    strict = {"check_uncommitted_changes": True, "check_untracked_files": True}
    take(repo, **strict)
    repo.write("new.py")
    with pytest.raises(PackagingError, match=r"Your repo has untracked files\. .*repo: new\.py"):
        take(repo, **strict)
    repo.write("train.py", "other\n")
    with pytest.raises(PackagingError, match=r"Your repo has uncommitted changes\. .*repo: train\.py") as caught:
        take(repo, **strict)
    assert "commit or stash" in caught.value.hint
    with pytest.raises(PackagingError, match=r"Your repo has uncommitted changes\."):
        take(repo, check_uncommitted_changes=True, ref="HEAD")


def test_not_a_repository(tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match=f"{tmp_path}: not a git repository") as caught:
        GitArchivePackager().snapshot(tmp_path)
    assert "git init" in caught.value.hint
    assert "PatternPackager" in caught.value.hint


def test_a_bare_repository(tmp_path: Path) -> None:
    bare = GitRepo(tmp_path / "bare.git", "--bare")
    with pytest.raises(PackagingError, match=r"bare\.git: a bare git repository has no files"):
        take(bare)


def test_unborn_head(tmp_path: Path) -> None:
    fresh = GitRepo(tmp_path / "fresh")
    fresh.write("a.py")
    snapshot = take(fresh)
    assert paths(snapshot) == ["a.py"]
    assert (snapshot.info.commit, snapshot.info.untracked) == ("", 1)
    assert "no commit" in launch_line(snapshot)
    for options in ({"ref": "HEAD"}, {"include_uncommitted": False}):
        with pytest.raises(PackagingError, match="fresh: this repository has no commit yet") as caught:
            take(fresh, **options)
        assert "commit first" in caught.value.hint


def test_a_missing_ref_and_an_option_in_its_place(repo: GitRepo) -> None:
    for ref in ("no-such-branch", "--output=/tmp/x"):
        with pytest.raises(PackagingError, match=f"repo: git knows no commit '{ref}'") as caught:
            take(repo, ref=ref)
        assert "git branch -a" in caught.value.hint


def test_a_detached_worktree(repo: GitRepo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"), "v1")
    (tmp_path / "tree" / "extra.py").write_text("e\n")
    snapshot = GitArchivePackager().snapshot(tmp_path / "tree")
    assert snapshot is not None
    assert snapshot.read("train.py") == b"print(1)\n"
    assert snapshot.info.commit == repo.git("rev-parse", "v1")
    assert (snapshot.info.branch, snapshot.info.untracked) == ("", 1)


def test_a_shallow_clone(repo: GitRepo, tmp_path: Path) -> None:
    subprocess.run(
        ["git", "clone", "-q", "--depth", "1", f"file://{repo.path}", str(tmp_path / "shallow")],
        check=True,
        cwd=tmp_path,
    )
    shallow = GitArchivePackager(ref="HEAD").snapshot(tmp_path / "shallow")
    assert shallow is not None
    assert shallow.hash == take(repo).hash
    old = repo.git("rev-parse", "v1")
    with pytest.raises(PackagingError, match=f"shallow: git knows no commit '{old}'") as caught:
        GitArchivePackager(ref=old).snapshot(tmp_path / "shallow")
    assert "git fetch --unshallow" in caught.value.hint


def test_sparse_checkout_ships_what_is_on_disk(repo: GitRepo) -> None:
    repo.git("sparse-checkout", "set", "src")
    snapshot = take(repo)
    assert "src/lib/a.py" in paths(snapshot)
    assert snapshot.info.modified == 0
    repo.git("sparse-checkout", "set", "--no-cone", "/src/")
    snapshot = take(repo)
    assert paths(snapshot) == ["src/lib/a.py"]
    assert any("sparse checkout: 3 tracked files are not on disk" in w for w in snapshot.warnings)


def test_lfs_pointers_are_warned_about(repo: GitRepo) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 5\n"
    repo.write(".gitattributes", "*.bin filter=lfs\n")
    repo.write("w.bin", pointer)
    repo.write("real.bin", "not a pointer")
    repo.git("config", "filter.lfs.required", "false")
    repo.commit()
    (warning,) = take(repo).warnings
    assert "w.bin: 1 Git LFS pointer ship" in warning
    assert "git lfs pull" in warning


def test_export_ignore_is_honoured_for_files_and_folders(repo: GitRepo) -> None:
    repo.write(".gitattributes", "docs/ export-ignore\n*.draft export-ignore\n")
    repo.write("docs/guide/index.md")
    repo.write("a.draft")
    repo.write("src/b.draft")
    repo.commit()
    (repo.path / "c.draft").write_text("untracked")
    for options in ({}, {"ref": "HEAD"}):
        assert not [p for p in paths(take(repo, **options)) if "docs" in p or "draft" in p]
    assert take(repo).hash == take(repo, ref="HEAD").hash
    archived = subprocess.run(["git", "archive", "HEAD"], cwd=repo.path, capture_output=True, check=True).stdout
    listed = subprocess.run(["tar", "-t"], input=archived, capture_output=True, check=True).stdout.decode().split()
    assert [p for p in listed if not p.endswith("/")] == paths(take(repo))
    assert "export-ignore" in GitArchivePackager().explain(repo.path / "docs/guide/index.md", repo.path)


def test_empty_folders_links_modes_and_hostile_names_survive(repo: GitRepo, tmp_path: Path) -> None:
    names = ["a b.py", "new\nline.py", "quo'te\".py", "-rf", "semi;$(x).py", "tab\t.py"]
    for name in names:
        repo.write(name, name)
    raw = os.fsencode(repo.path) + b"/caf\xe9.py"
    with open(raw, "wb") as file:
        file.write(b"latin")
    (repo.path / "link").symlink_to("train.py")
    (repo.path / "dangling").symlink_to("nowhere")
    (repo.path / "checkpoints/empty").mkdir(parents=True)
    (repo.path / "src/void").mkdir()
    (repo.path / "out/ignored").mkdir(parents=True)
    snapshot = take(repo)
    kinds = {e.path: e.tag for e in snapshot}
    assert set(names) < set(kinds)
    assert kinds["caf\udce9.py"] == "f"
    assert (kinds["link"], kinds["dangling"], kinds["run.sh"]) == ("l", "l", "x")
    assert (kinds["checkpoints/empty"], kinds["src/void"]) == ("d", "d")
    assert not any(p.startswith("out") for p in kinds)
    out = snapshot.extract(tmp_path / "out")
    assert (out / "new\nline.py").read_text() == "new\nline.py"
    assert os.path.exists(os.fsencode(out) + b"/caf\xe9.py")
    assert os.readlink(out / "link") == "train.py"
    assert os.access(out / "run.sh", os.X_OK)
    assert (out / "checkpoints/empty").is_dir()
    repo.commit("hostile names")
    for entry in take(repo, ref="HEAD"):
        assert kinds[entry.path] == entry.tag


def test_links_out_of_the_tree_are_kept_and_warned_about(repo: GitRepo) -> None:
    (repo.path / "data").symlink_to("/datasets/imagenet")
    (repo.path / "src/up").symlink_to("../../elsewhere")
    (repo.path / "src/in").symlink_to("../train.py")
    snapshot = take(repo)
    assert {e.path: e.target for e in snapshot if e.tag == "l"}["data"] == "/datasets/imagenet"
    (warning,) = snapshot.warnings
    assert "data, src/up: links to outside the code" in warning


def test_a_fifo_or_socket_is_named_and_refused(repo: GitRepo) -> None:
    # git does not list FIFOs; a tracked file that became one is listed.
    (repo.path / "train.py").unlink()
    os.mkfifo(repo.path / "train.py")
    with pytest.raises(PackagingError, match=r"repo/train\.py: a FIFO cannot ship") as caught:
        take(repo)
    assert "exclude" in caught.value.hint


def test_credentials_stay_behind_visibly_and_out_of_the_diff(repo: GitRepo) -> None:
    repo.write(".env", "TOKEN=first-secret\n")
    repo.commit()
    repo.write(".env", "TOKEN=second-secret\n")
    repo.write("keys/id_rsa", "x")
    repo.write("keys/server.pem", "-----BEGIN PRIVATE KEY-----\n")
    repo.write("keys/ca.pem", "-----BEGIN CERTIFICATE-----\n")
    repo.write(".env.example", "TOKEN=\n")
    repo.write("env.toml", "")
    snapshot = take(repo)
    assert {s.path for s in snapshot.skipped} == {".env", "env.toml", "keys/id_rsa", "keys/server.pem"}
    assert {".env.example", "keys/ca.pem"} < set(paths(snapshot))
    assert "secret" not in snapshot.info.diff
    assert "left behind as credentials: .env, env.toml, keys/id_rsa and 1 more" in launch_line(snapshot)
    assert ".env" in paths(take(repo, include_credentials=".env"))
    assert "keys/id_rsa" in paths(take(repo, include_credentials=True))
    assert ".env" not in paths(take(repo, ref="HEAD"))
    assert "include_credentials" in GitArchivePackager().explain(repo.path / ".env", repo.path)


def test_records_that_lie_in_the_project_never_ship(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNYARD_HOME", str(repo.path / "runs"))
    before = take(repo)
    assert (repo.path / "runs").is_dir()  # the capture itself has written into it
    record = repo.write("runs/experiments/a/a_1/task/log")
    after = take(repo)
    assert after.hash == before.hash
    assert not [p for p in paths(after) if p.startswith("runs")]
    assert "Runyard's own records" in GitArchivePackager().explain(record, repo.path)


def test_code_that_is_kept_among_the_records_ships(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNYARD_HOME", str(repo.path.parent))
    assert "train.py" in paths(take(repo))


def test_the_size_guard_names_the_largest_files(repo: GitRepo) -> None:
    repo.write("big.ckpt", b"0" * 5000)
    with pytest.raises(
        PackagingError, match=r"would ship, more than max_size=2\.0 kB; largest:\n.*5\.0 kB  big\.ckpt"
    ) as err:
        take(repo, max_size="2kB")
    assert ".gitignore" in err.value.hint
    assert "max_size" in err.value.hint
    (warning,) = take(repo, warn_size=1000).warnings
    assert "big.ckpt" in warning
    take(repo, max_size=None)
    with pytest.raises(ConfigError, match="max_size: 'huge' is no size"):
        take(repo, max_size="huge")


def test_nothing_is_written_into_the_repository(repo: GitRepo) -> None:
    repo.write("train.py", "print(9)\n")
    os.utime(repo.path / "run.sh", (1, 1))  # git would like to refresh its index now

    def state() -> dict[str, tuple[int, int]]:
        found = {}
        for folder, _, files in os.walk(repo.path):
            for name in files:
                st = os.lstat(f"{folder}/{name}")
                found[f"{folder}/{name}"] = (st.st_mtime_ns, st.st_size)
        return found

    before = state()
    take(repo, check_uncommitted_changes=False)
    take(repo, ref="HEAD")
    GitArchivePackager().explain(repo.path / "train.py", repo.path)
    assert state() == before


def test_a_missing_subpath(repo: GitRepo) -> None:
    with pytest.raises(PackagingError, match="repo: subpath 'scr' holds nothing that git lists") as caught:
        take(repo, subpath="scr")
    assert "spelling" in caught.value.hint


def test_a_nested_repository_ships_with_a_warning(repo: GitRepo) -> None:
    nested = GitRepo(repo.path / "vendor/tool")
    nested.write("tool.py")
    nested.commit()
    snapshot = take(repo)
    assert "vendor/tool/tool.py" in paths(snapshot)
    assert not any(".git/" in p for p in paths(snapshot))
    assert any("vendor/tool" in w for w in snapshot.warnings)


def test_a_merge_conflict_ships_once(repo: GitRepo) -> None:
    repo.git("checkout", "-q", "-b", "side", "v1")
    repo.write("train.py", "print('side')\n")
    repo.commit()
    subprocess.run(["git", "merge", "main"], cwd=repo.path, capture_output=True, check=False)
    snapshot = take(repo)
    assert paths(snapshot).count("train.py") == 1
    assert b"<<<<<<<" in snapshot.read("train.py")


def test_explain(repo: GitRepo) -> None:
    repo.write("train.py", "new\n")
    repo.write("notes.py")
    repo.write("debug.log")
    packager = GitArchivePackager()

    def explain(name: str) -> str:
        return packager.explain(repo.path / name, repo.path).removeprefix(f"{repo.path}/")

    assert explain("train.py") == "train.py: ships as train.py: tracked, modified"
    assert explain("run.sh") == "run.sh: ships as run.sh: tracked"
    assert explain("notes.py") == "notes.py: ships as notes.py: untracked, not ignored"
    assert explain("debug.log") == "debug.log: stays behind: ignored by .gitignore:1: *.log"
    assert explain("missing.py") == "missing.py: no such file"
    outside = GitArchivePackager(subpath="src").explain(repo.path / "run.sh", repo.path)
    assert "lies outside" in outside


def test_ref_and_include_uncommitted_contradict() -> None:
    with pytest.raises(ConfigError, match="ref='main' ships a commit"):
        GitArchivePackager(ref="main", include_uncommitted=True)


def test_symlink_from_remote_dir_captures_nothing(repo: GitRepo) -> None:
    assert GitArchivePackager(symlink_from_remote_dir="/shared/code").snapshot(repo.path) is None


def test_without_git(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PackagingError, match="git is not installed"):
        take(repo)


def test_a_repository_of_another_user(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(PackagingError, match="dubious ownership") as caught:
        take(repo)
    assert "safe.directory" in caught.value.hint
