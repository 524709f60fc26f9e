from __future__ import annotations

import cfgsamples as s
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runyard.config import Config, Partial, from_json, from_toml, from_yaml, to_json, to_toml, to_yaml
from runyard.errors import ConfigError, SerializationError

from .test_calltree_properties import same, trees

FORMATS = {"yaml": (to_yaml, from_yaml), "toml": (to_toml, from_toml), "json": (to_json, from_json)}
formats = pytest.mark.parametrize("name", FORMATS)


def sample():
    opt = Config(s.Opt, lr=1e-5)
    return Partial(s.train, Config(s.Model, 3, opt=opt, layers=[1, (2, None)]), trainer=opt, opts={"a b": s.Model})


def test_yaml_is_readable_and_shares_by_anchors():
    assert to_yaml(sample()) == (
        "_target_: cfgsamples.train\n"
        "_partial_: true\n"
        "model:\n"
        "  _target_: cfgsamples.Model\n"
        "  dim: 3\n"
        "  opt: &id001\n"
        "    _target_: cfgsamples.Opt\n"
        "    lr: 1.0e-05\n"
        "  layers:\n"
        "  - 1\n"
        "  - $tuple:\n"
        "    - 2\n"
        "    - null\n"
        "opts:\n"
        "  a b:\n"
        "    _target_: cfgsamples.Model\n"
        "    _call_: false\n"
        "trainer: *id001\n"
    )


def test_toml_has_tables():
    assert to_toml(Config(s.Model, 3, opt=Config(s.Opt, lr=0.5))) == (
        '_target_ = "cfgsamples.Model"\ndim = 3\n\n[opt]\n_target_ = "cfgsamples.Opt"\nlr = 0.5\n'
    )


@formats
def test_there_and_back(name):
    write, read = FORMATS[name]
    back = read(write(sample()))
    assert type(back) is Partial
    assert back == sample()
    assert back.model.opt is back.trainer
    cfg = Config(s.positional, 1, 2, 3, 4, e={"$call": 1, "_target_": "x", "n": None})
    assert read(write(cfg)) == cfg
    assert type(read(write(cfg))) is Config
    shared = [1]
    back = read(write(Partial(s.collect, shared, shared)))
    assert back[0] is back[1]


@formats
@settings(max_examples=150, deadline=None)
@given(value=trees)
def test_any_value_survives(name, value):
    write, read = FORMATS[name]
    cfg = Partial(s.collect, value, again=[value])
    try:
        text = write(cfg)
    except SerializationError:
        assert name != "json"
        return
    back = read(text)
    assert same(back[0], value)
    assert same(back.again, [value])


@settings(max_examples=300, deadline=None)
@given(st.text() | st.from_regex(r"[-+]?[0-9_.]*[eE:]?[-+]?[0-9_]*|yes|no|~|null|0x[0-9a-f]+|\d+-\d+-\d+"))
def test_texts_that_look_like_something_else(text):
    for name, (write, read) in FORMATS.items():
        try:
            written = write(Config(s.Frozen, {text: text}))
        except SerializationError:
            assert name == "toml"
            continue
        assert read(written).value == {text: text}


def test_a_person_may_write_it():
    cfg = from_yaml(
        "_target_: cfgsamples:train\n_partial_: true\nlr: 1e-5\n"
        "model: {_target_: cfgsamples.SubModel.make, _args_: [3]}\nopts: {when: 2024-01-02, 1: x, c: !!set {a, b}}\n"
    )
    assert (cfg.lr, cfg.opts["when"].year, cfg.opts[1], cfg.opts["c"]) == (1e-5, 2024, "x", {"a", "b"})
    assert cfg.model[0] == 3
    assert from_toml('_target_ = "cfgsamples.Opt"\nlr = inf\nsteps = [1, "a"]').lr == float("inf")


@formats
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no_such_module.f", "no_such_module"),
        ("cfgsamples.nope", "no 'nope'"),
        ("cfgsamples.Model.nope.x", "no 'Model.nope.x'"),
        ("__import__('os').system", "unknown target"),
        ("", "unknown target"),
        ("..x", "unknown target"),
    ],
)
def test_unknown_targets_are_named(name, target, words):
    read = FORMATS[name][1]
    text = {
        "yaml": f'_target_: "{target}"',
        "json": f'{{"_target_": "{target}"}}',
        "toml": f'_target_ = "{target}"',
    }
    with pytest.raises(ConfigError, match=words):
        read(text[name])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- 1",
        "a: 1",
        "{",
        "!!python/object/apply:os.system [true]",
        "_target_: 3",
        "&a {_target_: dict, x: *a}",
        "_target_: cfgsamples.Opt\nnope: 1",
        "_target_: cfgsamples.Opt\nlr: {$foo: 1}",
        "_target_: dict\nx: {$ref: 7}",
        "_target_: cfgsamples.Opt\nlr: {$call: 3}",
        "_target_: cfgsamples.Opt\nlr: {$dataclass: 'os:system', state: 4}",
    ],
)
def test_bad_yaml_is_a_config_error(text):
    with pytest.raises(ConfigError):
        from_yaml(text)


def test_what_has_no_name_is_refused():
    with pytest.raises(SerializationError, match="no importable name"):
        to_yaml(Config(s.collect, lambda: None))
    with pytest.raises(ConfigError, match="no Config"):
        to_json(3)
    to_yaml(Config(s.Model))  # incomplete is fine here
