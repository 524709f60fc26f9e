"""PatternPackager, HybridPackager, ConfigMapPackager and the record of a packager."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from runyard.errors import ConfigError, PackagingError
from runyard.packagers import (
    ConfigMapPackager,
    GitArchivePackager,
    HybridPackager,
    Packager,
    PatternPackager,
    ProjectPackager,
    make_packager,
)
from runyard.packagers.configmap import configmap_key

from .conftest import GitRepo, paths


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    for name in (
        "top.py", "src/a.py", "src/deep/b.py", "src/deep/b_test.py", "src/.hidden.py", "src/data.bin",
        "configs/model.yaml", "configs/data.yaml", "generated/artifacts/g.txt", "src/__pycache__/a.pyc",
        ".git/config", "my file.txt",
    ):  # fmt: skip
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    (top / "src/empty").mkdir()
    return top


def match(tree: Path, include: str | list[str], exclude: str | list[str] = "", **options: object) -> list[str]:
    packager = PatternPackager(include_pattern=include, exclude_pattern=exclude, **options)  # type: ignore[arg-type]
    return paths(packager.snapshot(tree))


def test_patterns(tree: Path) -> None:
    assert match(tree, "*.py") == ["top.py"]
    assert match(tree, "**/*.py") == ["src/.hidden.py", "src/a.py", "src/deep/b.py", "src/deep/b_test.py", "top.py"]
    everything = ["src/.hidden.py", "src/a.py", "src/data.bin", "src/deep/b.py", "src/deep/b_test.py", "src/empty"]
    assert match(tree, "src/**") == everything
    assert match(tree, "src") == everything
    assert match(tree, "./src/") == everything
    assert match(tree, "src/**/*.py configs/*.yaml", "**/*_test.py") == [
        "configs/data.yaml", "configs/model.yaml", "src/.hidden.py", "src/a.py", "src/deep/b.py",
    ]  # fmt: skip
    assert match(tree, ["my file.txt"]) == ["my file.txt"]
    assert match(tree, "'my file.txt'") == ["my file.txt"]
    assert match(tree, str(tree / "configs" / "*.yaml")) == ["configs/data.yaml", "configs/model.yaml"]
    assert match(tree, "configs/[!m]*.yaml") == ["configs/data.yaml"]
    assert match(tree, "src/?.py") == ["src/a.py"]


def test_exclusions(tree: Path) -> None:
    assert match(tree, "src/**", "*_test.py *.bin empty .hidden.py") == ["src/a.py", "src/deep/b.py"]
    assert match(tree, "**", ["src", "configs", "generated", "my file.txt"]) == ["top.py"]


def test_version_control_and_caches_ship_only_by_name(tree: Path) -> None:
    assert not any(".git" in p or "__pycache__" in p for p in match(tree, "**"))
    assert match(tree, "src/__pycache__/*.pyc") == ["src/__pycache__/a.pyc"]


def test_relative_path(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert match(tree, "*.yaml", relative_path="configs") == ["data.yaml", "model.yaml"]
    monkeypatch.chdir(tree / "src")
    assert paths(PatternPackager(include_pattern="*.py").snapshot()) == [".hidden.py", "a.py"]
    assert paths(PatternPackager(include_pattern="*.py", relative_path=os.getcwd()).snapshot("/")) == [
        ".hidden.py",
        "a.py",
    ]


def test_a_pattern_that_matches_nothing_is_named(tree: Path) -> None:
    with pytest.raises(PackagingError, match=r"pattern 'scr/\*\*' matches nothing in .*tree") as caught:
        match(tree, "*.py scr/**")
    assert "relative_path" in caught.value.hint


@pytest.mark.parametrize("pattern", ["../x/*.py", "/etc/*.conf", "src/../../y"])
def test_a_pattern_outside_the_folder(tree: Path, pattern: str) -> None:
    with pytest.raises(PackagingError, match=r"pattern .*(lies outside|leaves) .*tree") as caught:
        match(tree, pattern)
    assert "relative_path" in caught.value.hint


def test_no_pattern_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="PatternPackager has no include_pattern"):
        PatternPackager()
    with pytest.raises(PackagingError, match="gone: no such folder"):
        PatternPackager(include_pattern="*", relative_path=str(tmp_path / "gone")).snapshot()


def test_links_are_kept_and_not_followed(tree: Path) -> None:
    (tree / "src/link").symlink_to("deep")
    snapshot = PatternPackager(include_pattern="src/**").snapshot(tree)
    assert snapshot is not None
    assert {e.path: e.target for e in snapshot}["src/link"] == "deep"
    assert not any(p.startswith("src/link/") for p in paths(snapshot))


def test_a_socket_is_named_and_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("src/s")
        with pytest.raises(PackagingError, match=r"tree/src/s: a socket cannot ship"):
            match(tree, "src/**")
        assert "src/a.py" in match(tree, "src/**", "s")


def test_pattern_explain(tree: Path) -> None:
    packager = PatternPackager(include_pattern="src/**/*.py configs/*", exclude_pattern="*_test.py")
    assert packager.explain(tree / "src/a.py", tree).endswith("ships as src/a.py: matches 'src/**/*.py'")
    assert packager.explain(tree / "src/deep/b_test.py", tree).endswith("stays behind: excluded by '*_test.py'")
    assert packager.explain(tree / "top.py", tree).endswith("no pattern of include_pattern matches it")
    assert "ships nothing" in Packager().explain("x")


def test_hybrid_folders_and_keys_that_are_not_doubled(tree: Path) -> None:
    hybrid = HybridPackager(
        sub_packagers={
            "code": PatternPackager(include_pattern="**", relative_path="src/deep"),
            "configs": PatternPackager(include_pattern="configs/*.yaml"),
            "artifacts": PatternPackager(include_pattern="generated/**"),
            "none": Packager(),
        }
    )
    assert paths(hybrid.snapshot(tree)) == [
        "artifacts/generated/artifacts/g.txt", "code/b.py", "code/b_test.py", "configs/data.yaml", "configs/model.yaml",
    ]  # fmt: skip
    hybrid.extract_at_root = True
    assert "b.py" in paths(hybrid.snapshot(tree))
    assert "generated/artifacts/g.txt" in paths(hybrid.snapshot(tree))


def test_hybrid_root_key_and_git(repo: GitRepo) -> None:
    repo.write("out/gen.txt")
    hybrid = HybridPackager(
        sub_packagers={"": GitArchivePackager(subpath="src"), "gen": PatternPackager(include_pattern="out/**")}
    )
    snapshot = hybrid.snapshot(repo.path)
    assert paths(snapshot) == ["gen/out/gen.txt", "lib/a.py"]
    assert snapshot is not None
    assert snapshot.info.commit == repo.git("rev-parse", "HEAD")


def test_hybrid_conflicts_name_both(tree: Path) -> None:
    (tree / "src/model.yaml").write_text("other")
    subs = {
        "one": PatternPackager(include_pattern="*.yaml", relative_path="configs"),
        "two": PatternPackager(include_pattern="*.yaml", relative_path="src"),
    }
    with pytest.raises(
        PackagingError, match=r"'one' \(.*configs/model\.yaml\) and 'two' \(.*src/model\.yaml\)"
    ) as caught:
        HybridPackager(sub_packagers=subs, extract_at_root=True).snapshot(tree)
    assert 'on_conflict="overwrite"' in caught.value.hint
    snapshot = HybridPackager(sub_packagers=subs, extract_at_root=True, on_conflict="overwrite").snapshot(tree)
    assert snapshot is not None
    assert snapshot.read("model.yaml") == b"other"


def test_hybrid_file_and_folder_of_one_name(tree: Path) -> None:
    (tree / "other").mkdir()
    (tree / "other/src").write_text("a file")
    subs = {
        "a": PatternPackager(include_pattern="src/**"),
        "b": PatternPackager(include_pattern="*", relative_path="other"),
    }
    with pytest.raises(PackagingError, match="src: is a file in one place and a folder in another"):
        HybridPackager(sub_packagers=subs, extract_at_root=True).snapshot(tree)


def test_hybrid_from_a_profile(tree: Path) -> None:
    hybrid = make_packager(
        "hybrid", sub_packagers={"c": {"packager": "pattern", "include_pattern": "configs/*"}, "s": {"kind": "git"}}
    )
    assert isinstance(hybrid.sub_packagers["c"], PatternPackager)  # type: ignore[attr-defined]
    assert isinstance(hybrid.sub_packagers["s"], GitArchivePackager)  # type: ignore[attr-defined]


def test_hybrid_credentials(tree: Path) -> None:
    (tree / "configs/.env").write_text("T=1")
    subs = {"c": PatternPackager(include_pattern="configs/**"), "s": PatternPackager(include_pattern="src/**")}
    snapshot = HybridPackager(sub_packagers=subs).snapshot(tree)
    assert snapshot is not None
    assert [s.path for s in snapshot.skipped] == ["c/configs/.env"]
    allowed = PatternPackager(include_pattern="configs/**", include_credentials=".env")
    assert "c/configs/.env" in paths(HybridPackager(sub_packagers={"c": allowed}).snapshot(tree))
    assert "c/configs/.env" in paths(HybridPackager(sub_packagers=subs, include_credentials=True).snapshot(tree))


@pytest.mark.parametrize("key", ["/abs", "../up", "a/../b"])
def test_hybrid_keys_are_folders(key: str) -> None:
    with pytest.raises(ConfigError, match="is no folder of the tree"):
        HybridPackager(sub_packagers={key: Packager()})


def test_hybrid_refuses_what_is_no_packager() -> None:
    with pytest.raises(ConfigError, match="'x' is a str, no packager"):
        HybridPackager(sub_packagers={"x": "git"})
    with pytest.raises(ConfigError, match="sub_packagers is a set, no dict"):
        HybridPackager(sub_packagers={...})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="on_conflict='merge' is unknown"):
        HybridPackager(on_conflict="merge")
    with pytest.raises(ConfigError, match="symlink_from_remote_dir"):
        HybridPackager(sub_packagers={"x": Packager(symlink_from_remote_dir="/y")})


@pytest.mark.parametrize(
    "packager",
    [
        Packager(debug=True),
        Packager(symlink_from_remote_dir="/shared"),
        GitArchivePackager(subpath="src", ref="v1", include_pattern=["a", "b c"], max_size=None),
        PatternPackager(include_pattern="src/**", exclude_pattern=["x"], working_dir="/w", archive_name="n.tar.gz"),
        HybridPackager(sub_packagers={"a": GitArchivePackager(), "b": PatternPackager(include_pattern="x")}),
        ProjectPackager(package="my_lib", data_pattern="my_lib/**/*.jsonl"),
        ConfigMapPackager(namespace="ml", configmap_prefix="p"),
    ],
)
def test_record_round_trip(packager: Packager) -> None:
    data = json.loads(json.dumps(packager.to_dict()))
    again = Packager.from_dict(data)
    assert again == packager
    assert type(again) is type(packager)


def test_unknown_kinds_and_options() -> None:
    with pytest.raises(ConfigError, match="no packager is called 'zip'"):
        make_packager("zip")
    with pytest.raises(ConfigError, match="no packager is called '_globs'"):
        make_packager("_globs")
    with pytest.raises(ConfigError, match=r"has no option 'subpth' \(did you mean 'subpath'\?\)"):
        make_packager("git", subpth="src")
    with pytest.raises(ConfigError, match="has no kind"):
        Packager.from_dict({"subpath": "x"})
    assert type(make_packager("none")) is Packager


def test_path_objects_are_recorded_as_text(tmp_path: Path) -> None:
    packager = PatternPackager(include_pattern=["*.py"], relative_path=tmp_path)  # type: ignore[arg-type]
    assert json.loads(json.dumps(packager.to_dict()))["relative_path"] == str(tmp_path)


def test_configmap_plan(tree: Path) -> None:
    packager = ConfigMapPackager(include_pattern=["*.py", "configs/*"], namespace="ml")
    plan = packager.plan("Train/1", tree)
    assert (plan.name, plan.namespace) == ("runyard-train-1", "ml")
    assert [f.path for f in plan.files] == ["configs/data.yaml", "configs/model.yaml", "top.py"]
    assert all(
        len(f.key) <= 253 and set(f.key) <= set("-._" + "abcdefghijklmnopqrstuvwxyz0123456789") for f in plan.files
    )
    assert len(packager.configmap_name("x" * 200)) <= 63
    assert configmap_key("a-b") != configmap_key("a/b")


def test_configmap_limits(tree: Path) -> None:
    (tree / "big.py").write_bytes(b"0" * (1 << 20))
    with pytest.raises(PackagingError, match=r"tree: 1\.0 MB for a ConfigMap, which holds 1 MiB; largest:\n.*big\.py"):
        ConfigMapPackager().plan("job", tree)
    (tree / "big.py").unlink()
    (tree / "l.py").symlink_to("top.py")
    with pytest.raises(PackagingError, match=r"l\.py: a ConfigMap cannot hold symlinks"):
        ConfigMapPackager().plan("job", tree)


def test_debug_prints_what_ships(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    PatternPackager(include_pattern="*.py", debug=True).snapshot(tree)
    assert "top.py" in capsys.readouterr().err
