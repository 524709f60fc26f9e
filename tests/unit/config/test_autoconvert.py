from __future__ import annotations

import functools

import cfgsamples as s
import fiddle as fdl
import pytest

from runyard.config import Config, LazyEntrypoint, Partial, autoconvert, encode, lazy_imports
from runyard.config import help as show_help
from runyard.config.show import dryrun_fn
from runyard.errors import ConfigError

BUILT: list[int] = []


class Layer:
    def __init__(self, width: int) -> None:
        BUILT.append(width)
        self.width = width


@autoconvert
def model(count: int = 2, wide: bool = False) -> s.Model:
    """Docs stay."""
    layers = [Layer(width=i) for i in range(count)]
    if wide:
        layers.append(Layer(width=100))
    return s.Model(dim=count * 2, layers=layers)


@autoconvert(partial=True)
def as_partial():
    return s.Model(dim=3)


@autoconvert
def annotated() -> run.Partial[s.Model]:  # noqa: F821
    return s.Model(dim=3)


@autoconvert
def made_by_hand(dim: int) -> Config[s.Model]:
    cfg = Config(s.Model, dim)
    cfg.opt = Config(s.Opt)
    cfg.opt.lr = 5
    return cfg


@autoconvert
def with_try():
    try:
        opt = s.Opt(lr=0.25)
    finally:
        pass
    with open("/dev/null"):
        return s.Trainer(opt=opt, callbacks=[opt])


@autoconvert
def with_arithmetic():
    return s.Trainer(opt=s.Opt(lr=s.Frozen(2).value * 3), callbacks=[])


@autoconvert
def nests():
    return s.Trainer(opt=s.Opt(), callbacks=[model(1), functools.partial(s.train, lr=1)])


def test_calls_become_configs_and_nothing_is_built():
    cfg = model(3, wide=True)
    assert type(cfg) is Config
    assert [type(layer) for layer in cfg.layers] == [Config] * 4
    assert cfg.dim == 6
    assert BUILT == []
    assert [layer.width for layer in fdl.build(cfg).layers] == [0, 1, 2, 100]
    assert (model.__name__, model.__doc__) == ("model", "Docs stay.")


def test_partials():
    for cfg in (as_partial(), annotated()):
        assert type(cfg) is Partial
        assert cfg.dim == 3


def test_configs_may_be_made_by_hand():
    cfg = made_by_hand(4)
    assert (type(cfg), cfg.dim, cfg.opt.lr) == (Config, 4, 5)


def test_objects_are_converted_where_the_source_cannot_be():
    cfg = with_try()
    assert type(cfg) is Config
    assert type(cfg.opt) is Config
    assert cfg.opt is cfg.callbacks[0]
    assert cfg.opt.lr == 0.25
    assert with_arithmetic().opt.lr == 6


def test_nested_autoconvert_and_partial():
    cfg = nests()
    assert type(cfg.callbacks[0]) is Config
    assert type(cfg.callbacks[1]) is Partial


def test_without_source():
    namespace: dict = {"s": s}
    exec("def f(a):\n    return s.Opt(lr=a)", namespace)
    assert autoconvert(namespace["f"])(3).lr == 3


def test_errors_are_the_functions_own():
    @autoconvert
    def broken():
        raise KeyError("mine")

    @autoconvert
    def number():
        return 3

    with pytest.raises(KeyError, match="mine"):
        broken()
    with pytest.raises(ConfigError, match="int, which cannot become a Config"):
        number()


def test_lazy_imports_only_touch_the_callers_file():
    with lazy_imports():
        import cfg_helper_that_is_missing
        import not_there.deep.module as lazy

        cfg = Config(lazy.Model, dim=3)
        import json.tool as also_lazy  # noqa: F401
    assert encode(Partial(cfg_helper_that_is_missing.train, x=cfg)).document == {
        "$call": "cfg_helper_that_is_missing:train",
        "args": [],
        "kwargs": {"x": {"$call": "not_there.deep.module:Model", "args": [], "kwargs": {"dim": 3}}},
    }
    import json

    assert json.dumps(1) == "1"
    with lazy_imports(fallback_to_lazy=True):
        import json as real
    assert real is json


def test_lazy_entrypoint_records_and_resolves():
    task = LazyEntrypoint("cfgsamples.train", lr=2)
    task.model = Config(s.Model, 1)
    task.model.dim = 9
    task.model.opt = Config(s.Opt)
    task.model.opt.lr = 4
    resolved = task.resolve()
    assert (resolved.lr, resolved.model.dim, resolved.model.opt.lr) == (2, 9, 4)
    assert encode(task).name == "train"
    with pytest.raises(ConfigError, match="nope"):
        LazyEntrypoint("cfgsamples.nope").resolve()
    with pytest.raises(ConfigError, match="did you mean 'lr'"):
        LazyEntrypoint(s.train, lrr=2).resolve()
    recipe = LazyEntrypoint(made_by_hand)
    with pytest.raises(TypeError):
        recipe.resolve()
    assert type(LazyEntrypoint(as_partial, dim=5).resolve()) is Partial


def test_dryrun_prints_the_call_and_calls_nothing(capsys):
    dryrun_fn(Partial(s.train, Config(s.Model, 3), lr=0.5), executor="local", build=True)
    out = capsys.readouterr().out
    assert "cfgsamples.train(model=cfgsamples.Model(dim=3), lr=0.5)" in out
    assert "Executor: 'local'" in out
    assert "Built: functools.partial(" in out
    with pytest.raises(ConfigError, match="needs this argument"):
        dryrun_fn(s.train)


def test_help_shows_docs_and_defaults(capsys):
    show_help(model)
    show_help(Config(s.Model, 3))
    show_help(s.Opt())
    out = capsys.readouterr().out
    assert "Docs stay." in out
    assert "count: 'int' = 2" in out or "count: int = 2" in out
    assert "dim = 3  (set)" in out
    assert "lr: float = 0.1" in out
