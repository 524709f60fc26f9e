"""Coercion: each kind of type, what fits, and what is said about what does not."""

import math
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import pytest
import subjects
from hypothesis import given
from hypothesis import strategies as st
from subjects import Act, Big, Layer, Model, scale, train

from runyard.config.core import Config, Partial
from runyard.config.overrides import Place, Sources, files, parse_value
from runyard.config.overrides.coerce import coerce
from runyard.config.overrides.nodes import from_data
from runyard.config.overrides.types import MISSING, signature
from runyard.errors import ConfigError, OverrideError


def my_model(hidden: int = 512) -> Model:
    return Config(Model, hidden=hidden)


def wide() -> Model:
    raise ValueError("no memory")


class Zoo(Sources):
    """Two factories for models, and files that are given as a dict."""

    def __init__(self, **files):
        self.files = files

    def factory(self, name, annotation, place):
        fits = annotation in (Model, MISSING, typing.Any)
        return {"my_model": my_model, "wide": wide}.get(name) if fits else None

    def names(self, annotation, place):
        return ["my_model", "wide"] if annotation is Model else []

    def read(self, path, section):
        if path not in self.files:
            raise OverrideError(f"there is no file {path}")
        return self.files[path]


def value(text, annotation, name="x", **files):
    return coerce(parse_value(text), annotation, Place(name, f"{name}={text}", train, name), Zoo(**files))


def refused(text, annotation, **files):
    with pytest.raises(OverrideError) as error:
        value(text, annotation, **files)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("epochs", "20", 20),
        ("epochs", "1e6", 1_000_000),
        ("epochs", "1_000", 1000),
        ("lr", "1e-3", 0.001),
        ("lr", "3", 3.0),
        ("lr", "inf", math.inf),
        ("tag", "1e3", "1e3"),
        ("tag", "'quoted'", "quoted"),
        ("tag", "none", "none"),
        ("tag", "[a, b]", "[a, b]"),
        ("tag", "f(x=1)", "f(x=1)"),
        ("tag", " spaces ", " spaces "),
        ("tag", "", ""),
        ("note", "None", None),
        ("note", "'None'", "None"),
        ("note", "hi", "hi"),
        ("fast", "yes", True),
        ("fast", "False", False),
        ("out", "/a/b", Path("/a/b")),
        ("out", "3", Path("3")),
        ("mode", "b", "b"),
        ("mode", "3", 3),
        ("act", "GELU", Act.GELU),
        ("act", "gelu", Act.GELU),
        ("act", "Act.RELU", Act.RELU),
        ("betas", "[0.95, 1]", [0.95, 1.0]),
        ("betas", "0.95,0.999", [0.95, 0.999]),
        ("betas", "()", []),
        ("pair", "(2, y)", (2, "y")),
        ("tags", "{a, b}", {"a", "b"}),
        ("tags", "[a]", {"a"}),
        ("limits", "{cpu: 2}", {"cpu": 2}),
        ("env", "{A: 1, B: x}", {"A": 1, "B": "x"}),
        ("env", "null", None),
        ("fn", "math.sqrt", math.sqrt),
        ("fn", "math:sqrt", math.sqrt),
        ("fn", "scale", scale),
        ("kind", "Big", Big),
        ("size", "3", 3),
        ("size", "big", "big"),
        ("ratio", "0.25", 0.25),
        ("anything", "[1, x, none]", [1, "x", None]),
        ("unknown", "1.5", 1.5),
        ("untyped", "{a: 1}", {"a": 1}),
        ("model", "my_model", Config(Model, hidden=512)),
        ("model", "my_model(hidden=8)", Config(Model, hidden=8)),
        ("model", "my_model(8)", Config(Model, hidden=8)),
        ("model", "Model(hidden=1, layers=[{size: 3}])", Config(Model, hidden=1, layers=[Config(Layer, size=3)])),
        ("model", "Big", Config(Big)),
        ("model", "Big(experts=2)", Config(Big, experts=2)),
        ("model", "{hidden: 4, best: {size: 1, act: gelu}}", Config(Model, hidden=4, best=Config(Layer, 1, Act.GELU))),
        ("plain", "Plain(rate=1, model=my_model)", Config(subjects.Plain, rate=1.0, model=Config(Model, hidden=512))),
        ("plain", "none", None),
        ("untyped", "my_model", Config(Model, hidden=512)),
    ],
)
def test_it_fits(name, text, expected):
    found = value(text, signature(train).parameters[name].annotation, name)
    assert found == expected
    assert type(found) is type(expected)


def test_partials_and_configs_by_annotation():
    assert value("{x: 2}", Partial[scale]) == Partial(scale, x=2.0)
    assert value("scale(x=2)", Partial[scale]) == Partial(scale, x=2.0)
    assert value("math.sqrt", Partial) == Partial(math.sqrt)
    assert value("{hidden: 3}", Config[Model]) == Config(Model, hidden=3)


@pytest.mark.parametrize(
    ("text", "annotation", "message"),
    [
        ("ten", int, "x=ten: 'ten' is no int"),
        ("2.5", int, "x=2.5: '2.5' is no int"),
        ("True", int, "x=True: 'True' is no int"),
        ("maybe", bool, "x=maybe: 'maybe' is no bool"),
        ("ten", int | None, "x=ten: 'ten' is no int | None"),
        ("c", typing.Literal["a", "b"], "x=c: 'c' is none of 'a' | 'b'\n  -> one of: a, b"),
        ("rela", Act, "x=rela: 'rela' is no Act\n  -> one of: RELU, GELU"),
        ("RELV", Act, "x=RELV: 'RELV' is no Act\n  -> did you mean 'RELU'? one of: RELU, GELU"),
        ("3", list[int], "x=3: '3' is no list[int]\n  -> write a list: [3]"),
        ("[1, b]", list[int], "x=[1, b]: x[1]: 'b' is no int"),
        ("[1, b]", list[int] | None, "x=[1, b]: x[1]: 'b' is no int"),
        ("{a: b}", dict[str, int], "x={a: b}: x['a']: 'b' is no int"),
        ("a", dict[str, int], "x=a: 'a' is no dict[str, int]\n  -> write {key: value}"),
        ("(1, 2, 3)", tuple[int, int], "x=(1, 2, 3): '(1, 2, 3)' has 3 items, and tuple[int, int] has 2"),
        ("my_modl", Model, "x=my_modl: 'my_modl' is no Model\n  -> did you mean 'my_model'? factories: my_model, wide"),
        ("my_model(hiden=3)", Model, "did you mean 'hidden'? it takes: hidden"),
        ("my_model(hidden=3, hidden=4)", Model, "my_model gets 'hidden' twice"),
        ("my_model(1, 2)", Model, "my_model takes 1 arguments, not 2"),
        ("my_model(hidden=a)", Model, "x=my_model(hidden=a): x.hidden: 'a' is no int"),
        ("wide", Model, "x=wide: the factory wide failed: ValueError: no memory"),
        ("{hiden: 3}", Model, "x={hiden: 3}: Model takes no argument 'hiden'\n  -> did you mean 'hidden'?"),
        ("no.such.thing", Callable, "x=no.such.thing: unknown target 'no.such.thing': there is no module 'no'"),
        ("nothing", Callable, "x=nothing: 'nothing' is not defined in subjects\n  -> write package.module.name"),
        ("scael", Callable, "x=scael: 'scael' is not defined in subjects\n  -> did you mean 'scale'?"),
        ("Act", type[Model], "x=Act: 'Act' is no type[Model]"),
        ("[1,2", list[int], "'[1,2' is no list[int]\n  -> close its brackets and quotes"),
        ("{[1]}", typing.Any, "a set cannot hold it"),
        ("{[1]: 2}", typing.Any, "it cannot be a key"),
    ],
)
def test_it_does_not_fit(text, annotation, message):
    assert message in refused(text, annotation)


def test_a_validators_reason_is_told():
    ratio = signature(train).parameters["ratio"].annotation
    assert refused("2", ratio) == "x=2: '2' does not fit float: Input should be less than or equal to 1"
    assert refused("x", ratio).startswith("x=x: 'x' is no float: Input should be a valid number")


def test_files():
    data = {"hidden": 3, "name": "7", "layers": [{"size": 1, "act": "gelu"}]}
    made = Config(Model, hidden=3, name="7", layers=[Config(Layer, size=1, act=Act.GELU)])
    assert value("@f", Model, f=data) == made
    assert value("@f", Model, f="my_model") == Config(Model, hidden=512)
    assert value("@f", Model, f={"_target_": "subjects.Model", "hidden": 1}) == Config(Model, hidden=1)
    for wanted in (Model | None, Config[Model], object, typing.Any, typing.Callable):
        assert value("@f", wanted, f={"_target_": "subjects.Model", "hidden": 1}) == Config(Model, hidden=1)
    whole = {"_target_": "subjects.train", "_partial_": True, "model": {"_target_": "subjects.Model"}}
    for wanted in (Model, Model | None, list[Model]):
        assert "it holds a subjects.train, no " in refused("@f", wanted, f=whole)
    assert "it holds a subjects.Layer, no Model\n  -> name a section of it: @FILE:SECTION" in refused(
        "@f", Model, f={"_target_": "subjects.Layer", "size": 1}
    )
    assert refused("@me", str).endswith("as text it stands in quotes: \"'@me'\"")
    assert value("'@me'", str) == "@me"
    assert value("@f", str, f=5) == "5"
    assert value("@f", int | None, f=None) is None
    assert value("[@f, 2]", list[int], f=1) == [1, 2]
    assert refused("@f", str, f=None) == "x=@f: null is no str"
    assert refused("@f", int, f=True) == "x=@f: 'True' is no int"


def test_a_file_of_nobody_and_one_that_no_file_can_be():
    for name in ("~no-such-user/x.yaml", "a\0b.yaml"):
        with pytest.raises(OverrideError, match=r"there is no file|cannot be read"):
            files.read(name)


ANNOTATIONS = [p.annotation for p in signature(train).parameters.values()]


@given(st.text(), st.sampled_from([a for a in ANNOTATIONS if "Callable" not in str(a) and "type[" not in str(a)]))
def test_any_text_fits_or_is_refused(text, annotation):
    try:
        value(text, annotation)
    except ConfigError:
        pass


DANGEROUS = ("os.system", "subprocess.Popen", "os.posix_spawn", "os.remove", "socket.connect", "ctypes.dlopen")
PAYLOADS = [
    "__import__('os').system('true')",
    "os.system('true')",
    "(lambda: os.remove('x'))()",
    "[__import__('subprocess').run(['true'])]",
    "{x: __import__('os').system('true')}",
    'f\'{__import__("os").system("true")}\'',
    "Model(hidden=__import__('os').system('true'))",
    "!!python/object/apply:os.system ['true']",
    "$(true)",
    "`true`",
]
watched: list[str] = []
watching = False


def watch(event, args):
    if watching and event in DANGEROUS:
        watched.append(event)


sys.addaudithook(watch)


@given(st.sampled_from(PAYLOADS) | st.text(alphabet="()[]{},:='\"@.abf1 _"), st.sampled_from(ANNOTATIONS))
def test_no_code_is_run(text, annotation):
    global watching
    watching = True
    try:
        value(text, annotation)
    except ConfigError:
        pass
    finally:
        watching = False
    assert watched == []


@given(st.lists(st.integers()) | st.dictionaries(st.text(), st.floats(allow_nan=False)) | st.text() | st.none())
def test_data_comes_through_unchanged_where_nothing_is_known_of_the_type(data):
    assert coerce(from_data(data), MISSING, Place("x")) == data


def test_quoting_protects():
    assert value("'3'", int | str) == "3"
    assert value("'my_model'", str) == "my_model"
    assert value("'true'", typing.Any) == "true"


def test_a_list_is_a_list_where_text_would_do_too() -> None:
    assert value("[a, b]", str | list[str]) == ["a", "b"]
    assert value("a", str | list[str]) == "a"
    assert value("'[a, b]'", str | list[str]) == "[a, b]"
