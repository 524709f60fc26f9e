"""Configs: found, put together, changed and filled in. Nothing in them is ever run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml as pyyaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runyard.errors import ConfigError, OverrideError, RunyardError
from runyard.recipes import configs, interpolate, overrides, records
from runyard.recipes.block import Recipe


@pytest.fixture
def write(tmp_path: Path):
    def write(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / "config" / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "config"

    return write


def loaded(write: Any, name: str = "a", **files: str) -> dict[str, Any]:
    return configs.load(write(**{f"{n}_dot_yaml": t for n, t in files.items()}) / f"{name}.yaml").data


def test_names_and_paths(write: Any, tmp_path: Path) -> None:
    folder = write(
        tiny_dot_yaml="a: 1", big_dot_toml="a = 1", j_dot_json='{"a": 1}', readme_dot_md="", sub__x_dot_yml=""
    )
    recipe = Recipe(tmp_path / "train.py", "train", config_dir="./config")
    assert configs.names(recipe) == ["big", "j", "tiny"]
    for name in ("tiny", "tiny.yaml", "config/tiny.yaml", str(folder / "tiny.yaml")):
        assert configs.find(recipe, name, tmp_path).samefile(folder / "tiny.yaml")
    assert configs.find(recipe, "sub/x", tmp_path).name == "x.yml"
    assert {configs.load(configs.find(recipe, n, tmp_path)).data["a"] for n in ("tiny", "big", "j")} == {1}
    with pytest.raises(ConfigError) as caught:
        configs.find(recipe, "tniy", tmp_path)
    assert str(caught.value) == "train has no config 'tniy'\n  -> did you mean 'tiny'? there are: big, j, tiny (config)"
    for odd in ("", "\0", "x" * 5000, "..", "/"):
        with pytest.raises(ConfigError):
            configs.find(recipe, odd, tmp_path)


@pytest.mark.parametrize("folder", ["config", "configs", "conf"])
def test_a_plain_script_has_configs_beside_it(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "x.yaml").write_text("a: 1")
    recipe = Recipe(tmp_path / "train.py", "train")
    assert configs.find(recipe, "x", tmp_path).parent.name == folder
    assert configs.default(recipe) == ""


def test_defaults_are_merged_in_turn_and_the_file_wins(write: Any) -> None:
    data = loaded(
        write,
        a="defaults: [b, sub/c]\nx: {own: 1, list: [1]}",
        b="x: {own: 0, b: 1, list: [1, 2, 3]}\nb: 1",
        sub__c="defaults: d\nb: 2",
        sub__d="d: 1",
    )
    assert data == {"x": {"own": 1, "b": 1, "list": [1]}, "b": 2, "d": 1}


def test_self_says_where_the_file_itself_comes(write: Any) -> None:
    assert loaded(write, a="defaults: [_self_, b]\nx: 1\ny: 1", b="x: 2") == {"x": 2, "y": 1}


def test_the_files_that_were_read_are_told(write: Any) -> None:
    folder = write(a_dot_yaml="defaults: b", b_dot_yaml="")
    assert [p.name for p in configs.load(folder / "a.yaml").files] == ["b.yaml", "a.yaml"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a": "defaults: b", "b": "defaults: [c]", "c": "defaults: b"}, "a.yaml -> b.yaml -> c.yaml -> b.yaml"),
        ({"a": "defaults: a"}, "a.yaml -> a.yaml"),
        ({"a": "defaults: bb", "b": ""}, "there is no 'bb'.*did you mean 'b'"),
        ({"a": "defaults: [{x: y}]"}, "is no name of a config"),
        ({"a": "- 1"}, "holds list, no keys"),
        ({"a": "a: [1"}, r"a.yaml: this is not YAML: expected ',' or '\]'.*\(line 1, column 6\)\n"),
        ({"a": "a: !!python/object/apply:os.system ['touch pwned']"}, "this is not YAML"),
        ({"a": "a: &x [*x]"}, "nested more than 100 deep"),
        ({"a": "? [1]\n: 2"}, "not YAML|cannot be a key"),
        ({"a": "a: !!set {x}"}, "is no text, number"),
        ({"a": "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 8))}, "more than 1000000 values"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(write: Any, files: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        loaded(write, **files)


def test_a_folder_of_configs_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no folder cfg\n  -> correct config.dir in x.py"):
        configs.find(Recipe(tmp_path / "x.py", "x", config_dir="./cfg"), "tiny", tmp_path)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("train.iters=5000", {"train": {"iters": 5000, "lr": 0.1}, "l": [1, 2]}),
        ("train.lr=1e-4", {"train": {"iters": 1, "lr": 0.0001}, "l": [1, 2]}),
        ("l[1]=x", {"train": {"iters": 1, "lr": 0.1}, "l": [1, "x"]}),
        ("l=[a, {b: 1}]", {"train": {"iters": 1, "lr": 0.1}, "l": ["a", {"b": 1}]}),
        ("train=null", {"train": None, "l": [1, 2]}),
        ("+new.key=true", {"train": {"iters": 1, "lr": 0.1}, "l": [1, 2], "new": {"key": True}}),
        ("~l[0]", {"train": {"iters": 1, "lr": 0.1}, "l": [2]}),
        ("~train.lr", {"train": {"iters": 1}, "l": [1, 2]}),
        ("train.lr='1'", {"train": {"iters": 1, "lr": "1"}, "l": [1, 2]}),
        ("train.lr=", {"train": {"iters": 1, "lr": ""}, "l": [1, 2]}),
        ("train.lr=a=b", {"train": {"iters": 1, "lr": "a=b"}, "l": [1, 2]}),
        ("l=@/etc/passwd", {"train": {"iters": 1, "lr": 0.1}, "l": "@/etc/passwd"}),
        ("l=os.system(x)", {"train": {"iters": 1, "lr": 0.1}, "l": "os.system(x)"}),
    ],
)
def test_an_override_sets_data(text: str, made: dict[str, Any]) -> None:
    given = {"train": {"iters": 1, "lr": 0.1}, "l": [1, 2]}
    assert overrides.apply(given, [text]) == made
    assert given == {"train": {"iters": 1, "lr": 0.1}, "l": [1, 2]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a*=2", "takes no"),
        ("~train.lrr", "did you mean 'lr'"),
        ("l[7]=1", "a list of 2"),
        ("train.lr.x=1", "train.lr is 0.1"),
        ("a==1", "compares"),
        ("defaults=base", "another config with -c"),
        ("run=8", "write run.FIELD=VALUE"),
        ("~", "no path"),
        ("train.lrr=1", r"has no train\.lrr(?s:.*)did you mean 'train\.lr'(?s:.*)\+train\.lrr=1"),
        ("trian.lr=1", r"has no trian(?s:.*)did you mean 'train\.lr'"),
    ],
)
def test_an_override_that_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(OverrideError, match=said):
        overrides.apply({"train": {"lr": 0.1}, "l": [1, 2], "a": 1}, [text])


def test_a_new_key_is_told_unless_it_is_said_to_be_new() -> None:
    notes: list[str] = []
    made = overrides.apply({"train": {"lr": 0.1}}, ["seed=1", "+train.lrr=2", "train.lr=3"], notes)
    assert made == {"train": {"lr": 3, "lrr": 2}, "seed": 1}
    assert notes == ["seed=1: the config had no seed before"]


def test_interpolation() -> None:
    data = {
        "a": {"b": "${.c}-${..d}", "c": 1, "same": "${a.c}"},
        "d": "${oc.env:HERE}/x",
        "whole": "${a}",
        "nested": "${k.${z}}", "z": "q", "k": {"q": [1]},
        "later": "${art:${z}}", "through": "${run.x}", "run": {"x": "${art:y}"},
        "kept": r"\${a}", "default": "${oc.env:NOT_HERE,7 s}", "none": "${oc.env:NOT_HERE,null}",
        "token": "${oc.env:HF_TOKEN}", "odd": "100 $ {x} ${",
    }  # fmt: skip
    made = interpolate.fill(data, {"HERE": "/h", "HF_TOKEN": "hunter22"}, "w")
    assert made["a"] == {"b": "1-/h/x", "c": 1, "same": 1} == made["whole"]
    assert (made["nested"], made["later"], made["through"]) == ([1], "${art:q}", "${art:y}")
    assert (made["kept"], made["default"], made["none"]) == (r"\${a}", "7 s", None)
    assert (made["token"], made["odd"]) == ("${oc.env:HF_TOKEN}", "100 $ {x} ${")
    assert interpolate.secrets(made) == {"HF_TOKEN": True}
    assert interpolate.masked(made)["token"] == "***"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"a": "${b}", "b": "${a}"}, "refers to itself"),
        ({"a": {"b": "${a}"}}, "refers to itself"),
        ({"alpha": 1, "b": "${alhpa}"}, "did you mean 'alpha'"),
        ({"a": "${oc.env:NOT_HERE}"}, "NOT_HERE is not set"),
        ({"a": [1], "b": "x${a}"}, "is no text"),
        ({"a0": [1] * 9, **{f"a{i}": [f"${{a{i - 1}}}"] * 9 for i in range(1, 9)}}, "grows to more than"),
    ],
)
def test_interpolation_that_leads_nowhere(data: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        interpolate.fill(data, {}, "w")


def test_the_value_of_a_variable_is_text_and_never_filled_in() -> None:
    made = interpolate.fill({"a": "${oc.env:X}", "b": "${a}!"}, {"X": "${b}"}, "w")
    assert made == {"a": "${b}", "b": "${b}!"}


@pytest.mark.parametrize(
    "data",
    [
        {"a": "hunter22"},
        {"a": ["x-hunter22-y"]},
        {"hub": {"api_key": "sk-0123456789abcdef"}},
        {"hf_token": "hf_AbCdEf0123456789"},
    ],
)
def test_a_secret_does_not_go_into_train_yaml(data: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="holds a secret"):
        records.train(data, "a.yaml", {"MY_TOKEN": "hunter22"})


def test_names_that_only_sound_secret_do() -> None:
    text = records.train({"pad_token": "<pad>", "primary_key": "id", "run": {"x": 1}}, "a.yaml", {"MY_TOKEN": "abc"})
    assert pyyaml.safe_load(text) == {"pad_token": "<pad>", "primary_key": "id"}


KEYS = st.text("abc_", min_size=1, max_size=3)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=15),
    st.sampled_from(["${a}", "${b.c}", "${.a}", "${oc.env:HOME}", "${art:x}", "os.system('x')", "${${a}}", "\\${a}"]),
)  # fmt: skip
DATA = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3))
    ),
    max_size=4,
)
ODD = st.text("[]{}(),:'\"@$ax1", max_size=8)
OVERRIDES = st.lists(
    st.one_of(
        st.builds("{}={}".format, KEYS, st.text(max_size=8)),
        st.builds("{}{}.{}={}".format, st.sampled_from(["", "+", "++"]), KEYS, KEYS, ODD),
        st.builds("~{}".format, KEYS),
        st.sampled_from(["a=__import__('os').system('x')", "a=@/etc/passwd", "a=!!python/name:os.system"]),
    ),
    max_size=4,
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DATA, OVERRIDES)
def test_any_config_with_any_overrides_is_data_or_an_error(data: dict[str, Any], texts: list[str]) -> None:
    refused = mock.Mock(side_effect=AssertionError("a value was run"))
    with mock.patch.object(os, "system", refused), mock.patch.object(subprocess, "Popen", refused):
        try:
            made = interpolate.fill(overrides.apply(data, texts), {"HOME": "/h"}, "w")
            text = records.train(made, "w", {})
        except RunyardError:
            return
    assert pyyaml.safe_load(text) == {k: v for k, v in made.items() if k != "run"}


@given(DATA)
def test_a_config_survives_its_file(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]) -> None:
    from runyard.store import yaml

    path = tmp_path_factory.mktemp("config") / "a.yaml"
    path.write_text(yaml.dump(data))
    assert configs.load(path).data == data
