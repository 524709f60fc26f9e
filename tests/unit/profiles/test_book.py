"""Profiles and their parents."""

import textwrap
from pathlib import Path

import pytest

from runyard.errors import ProfileError
from runyard.profiles.book import Book, File
from runyard.profiles.files import find, open_book, read


def book(**sections: dict[str, object]) -> Book:
    return Book((File("env.toml", sections),))


def test_tables_merge_and_lists_replace_over_several_parents() -> None:
    found = book(
        base={"executor": "slurm", "env_vars": {"A": "1", "B": "1"}, "mounts": ["/a"], "time": "1:00:00"},
        middle={"extends": "base", "env_vars": {"B": "2"}, "mounts": ["/b"]},
        top={"extends": "middle", "env_vars": {"C": "3"}, "time": "2:00:00"},
    ).profile("top")
    assert found.fields == {
        "executor": "slurm",
        "env_vars": {"A": "1", "B": "2", "C": "3"},
        "mounts": ["/b"],
        "time": "2:00:00",
    }
    assert found.chain == ("top", "middle", "base")
    assert found.where("executor") == "env.toml: profile 'top' (from 'base')"
    assert found.where("time") == "env.toml: profile 'top'"


def test_a_child_replaces_a_field_however_it_is_spelt() -> None:
    found = book(base={"container_image": "old"}, top={"extends": "base", "container": "new"}).profile("top")
    assert found.fields == {"container_image": "new"}


def test_the_options_of_a_packager_go_with_it() -> None:
    base = {"packager": "pattern", "packager_include_pattern": "*.py"}
    found = book(
        base=base, same={"extends": "base", "packager": "pattern"}, none={"extends": "base", "packager": "none"}
    )
    assert found.profile("same").fields == base
    assert found.profile("none").fields == {"packager": "none"}


def test_the_users_own_file_stands_beneath_the_projects() -> None:
    found = Book(
        (
            File("project", {"cluster": {"host": "login", "env_vars": {"A": "project"}}}),
            File("own", {"cluster": {"user": "me", "env_vars": {"A": "own", "B": "own"}}, "laptop": {}}),
        )
    )
    assert found.names() == ["cluster", "laptop"]
    assert found.profile("cluster").fields == {
        "host": "login",
        "user": "me",
        "env_vars": {"A": "project", "B": "own"},
    }
    assert found.profile("cluster").where("user") == "own: profile 'cluster'"


@pytest.mark.parametrize(
    ("sections", "name", "message", "hint"),
    [
        ({"cluster": {}}, "clutser", "there is no profile 'clutser'", "did you mean 'cluster'? env.toml has: cluster"),
        ({}, "x", "there is no profile 'x'", "env.toml has no profiles"),
        ({"wandb": {}}, "wandb", "'wandb' is a reserved section, no profile", "env.toml has no profiles"),
        (
            {"a": {"extends": "b"}, "b": {"extends": "a"}},
            "a",
            "env.toml: profile 'b': extends goes in a circle: a -> b -> a",
            "end it at one of them",
        ),
        ({"a": {"extends": "a"}}, "a", "env.toml: profile 'a': extends goes in a circle: a -> a", "end it"),
        (
            {"a": {"extends": "b"}, "b": {"extends": "bass"}, "base": {}},
            "a",
            "env.toml: profile 'b': it extends 'bass', which is no profile (a -> b -> bass)",
            "did you mean 'base'? env.toml has: base",
        ),
        ({"a": {"extends": "wandb"}, "wandb": {}}, "a", "it extends 'wandb', which is no profile", "there is no other"),
        ({"a": {"extends": ["b"]}}, "a", "extends = ['b'] is no name", 'write extends = "NAME"'),
    ],
)
def test_what_cannot_be_put_together_is_told(
    sections: dict[str, dict[str, object]], name: str, message: str, hint: str
) -> None:
    with pytest.raises(ProfileError) as told:
        book(**sections).profile(name)
    assert message in told.value.message
    assert hint in told.value.hint


def test_without_a_file_the_message_says_where_to_write_one() -> None:
    with pytest.raises(ProfileError, match=r"write one: a section \[NAME\] in env\.toml"):
        Book(()).profile("x")


# -- files --------------------------------------------------------------------------------------


def write(path: Path, text: str = "[p]\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


@pytest.mark.parametrize("mark", [".git", "pyproject.toml"])
def test_the_nearest_file_up_to_the_root_is_found(tmp_path: Path, mark: str) -> None:
    write(tmp_path / "env.toml")  # outside of the project
    (root := tmp_path / "project").mkdir()
    (root / mark).touch()
    (deep := root / "a" / "b").mkdir(parents=True)
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert find(deep, environ) == []
    top = write(root / "env.toml")
    assert find(deep, environ) == [top]
    near = write(root / "a" / "env.toml")
    own = write(tmp_path / "config" / "runyard" / "env.toml")
    assert find(deep, environ) == [near, own]
    assert find(deep, environ | {"RUNYARD_PROFILES": str(top)}) == [top, own]


def test_outside_of_a_project_only_the_folder_itself_counts(tmp_path: Path) -> None:
    here = write(tmp_path / "env.toml")
    (tmp_path / "a").mkdir()
    assert find(tmp_path, {"XDG_CONFIG_HOME": "/nowhere"}) == [here]
    assert find(tmp_path / "a", {"XDG_CONFIG_HOME": "/nowhere"}) == []


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="RUNYARD_PROFILES=/no/such: there is no such file"):
        find(tmp_path, {"RUNYARD_PROFILES": "/no/such"})


def test_times_need_no_quotes(tmp_path: Path) -> None:
    write(tmp_path / "env.toml", "[p]\ntime = 04:00:00\n")
    assert open_book(tmp_path, {"XDG_CONFIG_HOME": "/nowhere"}).profile("p").fields == {"time": "04:00:00"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[p\n", "is no TOML"),
        ("[p]\na = 1\na = 2\n", "is no TOML"),
        ('account = "x"\n[p]\n', "'account' stands outside of any profile"),
        ("[p]\na = " + "[" * 2000 + "\n", "is no TOML"),
    ],
)
def test_a_broken_file_is_told_with_its_path(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "env.toml", text)
    with pytest.raises(ProfileError) as told:
        read(path)
    assert told.value.message.startswith(f"{path}")
    assert message in told.value.message


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "env.toml").write_bytes(b"[p]\na = '\xff'\n")
    with pytest.raises(ProfileError, match="cannot be read"):
        read(tmp_path / "env.toml")
