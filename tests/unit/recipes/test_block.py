"""What a script says about itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.errors import ConfigError
from runyard.recipes.block import Recipe, parse, read, script_block

PATH = Path("recipes/train.py")


def block(text: str) -> str:
    lines = "".join(f"# {line}\n" if line else "#\n" for line in text.splitlines())
    return f"# /// script\n{lines}# ///\nprint('hello')\n"


FULL = """
requires-python = ">=3.10"
dependencies = ["torch"]

[tool.other]
x = 1

[tool.runspec]
schema = "1"
docs = "https://example.org"
name = "nano3/pretrain"
image = "nvcr.io/nvidia/nemo:25.11"
setup = ["ulimit -n 65536"]
env = {OMP_NUM_THREADS = 4}

[tool.runspec.run]
launch = "torchrun"
cmd = "python {script} --config {config}"
workdir = "/workspace"

[tool.runspec.config]
dir = "./config"
default = "tiny"
format = "omegaconf"

[tool.runspec.resources]
nodes = 2
gpus_per_node = 8
"""


def test_everything_is_read() -> None:
    recipe = parse(block(FULL), PATH)
    assert recipe.block is not None
    assert recipe == Recipe(
        PATH,
        "nano3/pretrain",
        image="nvcr.io/nvidia/nemo:25.11",
        launcher="torchrun",
        cmd="python {script} --config {config}",
        config_dir="./config",
        config_default="tiny",
        nodes=2,
        gpus_per_node=8,
        setup=("ulimit -n 65536",),
        env={"OMP_NUM_THREADS": "4"},
        block=recipe.block,
        notes=(f"{PATH}: run.workdir is not used: the script runs in the folder of its code",),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (block("[tool.runspec.run]\nworkdir = '/w'"), "run.workdir is not used"),
        (block("[tool.runspec.config]\nformat = 'json'"), "config.format = 'json' is not used: the script gets YAML"),
        (block("[tool.runspec]\nname = 'x'").replace("# ///\n", ""), "its script block is not used: no line `# ///`"),
    ],
)
def test_what_is_written_and_not_used_is_told(text: str, said: str) -> None:
    (note,) = parse(text, PATH).notes
    assert note.startswith(f"{PATH}: {said}")
    assert parse(block("[tool.runspec.config]\nformat = 'yaml'"), PATH).notes == ()


@pytest.mark.parametrize("text", ["", "print(1)\n", block("dependencies = []"), block("[tool.black]\nx = 1")])
def test_a_plain_script_has_no_block(text: str) -> None:
    assert parse(text, PATH) == Recipe(PATH, "train")


def test_a_description_of_the_setup_is_not_run() -> None:
    recipe = parse(block('[tool.runspec]\nsetup = "All is in the image."'), PATH)
    assert (recipe.setup, recipe.about) == ((), "All is in the image.")


def test_windows_lines_and_a_mark_at_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_bytes(b"\xef\xbb\xbf" + block(FULL).replace("\n", "\r\n").encode())
    assert read(path).name == "nano3/pretrain"


def test_only_the_last_possible_line_ends_a_block() -> None:
    text = '# /// script\n# a = """\n# ///\n# b\n# """\n# ///\n#\nprint()\n'
    assert script_block(text, "x") == 'a = """\n///\nb\n"""\n'
    assert script_block("# /// script\n# a = 1\n", "x") is None
    assert script_block("# /// other\n# a = 1\n# ///\n", "x") is None
    assert script_block("#/// script\n# a = 1\n# ///\n", "x") is None
    assert script_block("# /// script\n#a = 1\n# ///\n", "x") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (block("a = 1") + "\n" + block("b = 1"), "2 script blocks"),
        (block("[tool.runspec"), "no TOML"),
        (block("a = " + "[" * 5000), "no TOML"),
        (block("[tool]\nrunspec = 3"), "tool.runspec is no table"),
        (block("[tool.runspec]\nnmae = 'x'"), "did you mean 'name'"),
        (block("[tool.runspec]\nresorces = {}"), "did you mean 'resources'"),
        (block("[tool.runspec.run]\nlaunhc = 'x'"), "'run.launhc'.*did you mean 'launch'"),
        (block("[tool.runspec]\nrun = 'x'"), "tool.runspec.run is no table"),
        (block("[tool.runspec]\nname = 3"), "name = 3"),
        (block("[tool.runspec.resources]\nnodes = true"), "nodes = True"),
        (block("[tool.runspec.resources]\nnodes = 0"), "give 1 or more"),
        (block("[tool.runspec.resources]\ngpus_per_node = -1"), "give 0 or more"),
        (block("[tool.runspec.run]\nlaunch = 'torchrn'"), "did you mean 'torchrun'"),
        (block("[tool.runspec.run]\nlaunch = 'ray'"), "starts no Ray clusters yet"),
        (block("[tool.runspec]\nsetup = [1]"), "setup is no list"),
        (block("[tool.runspec.env]\n1A = 'x'"), "1A"),
        (block("[tool.runspec.env]\nA = []"), "env.A"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){said}") as caught:
        parse(text, PATH)
    assert str(PATH) in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_bytes(b"# caf\xe9\nprint()\n")
    assert read(path).block is None
    path.write_bytes(block("[tool.runspec]\nname = 'X'").encode().replace(b"X", b"\xe9"))
    with pytest.raises(ConfigError, match="no UTF-8"):
        read(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path)


KINDS = ["# /// script", "# ///", "#", "# a = 1", "# [tool.runspec]", "x", "#y", "\r", "# '''"]
LINES = st.lists(st.sampled_from(KINDS))


@given(st.one_of(LINES.map("\n".join), st.text()))
def test_any_text_is_a_recipe_or_an_error(text: str) -> None:
    try:
        told = str(parse(text, PATH).path)
    except ConfigError as error:
        told = error.message
    assert str(PATH) in told
