from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import cfgsamples as s
import fiddle as fdl
import pytest

import runyard.config
from runyard.config import Config, ConfigurableMixin, Partial
from runyard.errors import ConfigError


def test_they_are_fiddles_types():
    cfg = Config(s.Model, 3)
    assert isinstance(cfg, fdl.Config)
    assert isinstance(Partial(s.Model), fdl.Partial)
    assert isinstance(cfg, fdl.Buildable)
    assert fdl.build(cfg).dim == 3
    assert fdl.build(Partial(s.Model))(dim=4).dim == 4


def test_cast_between_all_of_them_without_warning(caplog):
    cfg = Config(s.Model, 3)
    for kind in (Partial, fdl.Config, fdl.Partial):
        assert type(fdl.cast(kind, cfg)) is kind
        assert type(fdl.cast(Config, fdl.cast(kind, cfg))) is Config
    assert not caplog.records


def test_unknown_arguments_name_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'layers'"):
        Config(s.Model, 3, layrs=1)
    cfg = Config(s.Model, 3)
    with pytest.raises(ConfigError, match="did you mean 'layers'"):
        cfg.layrs = 1
    with pytest.raises(AttributeError, match="did you mean 'layers'"):  # for code that probes
        cfg.layrs = 1
    with pytest.raises(AttributeError, match="Did you mean 'layers'"):
        _ = cfg.layrs
    assert not hasattr(cfg, "something")
    with pytest.raises(ConfigError, match="it takes: dim, opt, layers"):
        Config(s.Model, zzz=1)
    with pytest.raises(ConfigError, match="too many positional"):
        Config(s.Model, 1, 2, 3)


def test_bind_args_false_refuses_only_when_it_is_built():
    cfg = Config(s.Model, 3, bind_args=False, unknown=1)
    with pytest.raises(TypeError, match="unknown"):
        fdl.build(cfg)


def test_what_cannot_be_configured():
    with pytest.raises(ConfigError, match="function or a class"):
        Config(3)
    with pytest.raises(ConfigError, match="clone"):
        Config(Config(s.Model))


def test_clone_pickle_and_deepcopy_preserve_sharing():
    opt = Config(s.Opt, lr=1)
    cfg = Partial(s.collect, opt, x=[opt])
    for copied in (cfg.clone(), copy.deepcopy(cfg), pickle.loads(pickle.dumps(cfg))):
        assert type(copied) is Partial
        assert copied == cfg
        assert copied[0] is copied.x[0]
        copied[0].lr = 2
    assert opt.lr == 1
    assert type(copy.copy(cfg)) is Partial


def tree():
    shared = Config(s.Opt, lr=1.0)
    return Partial(s.train, Config(s.Model, 1, opt=shared), lr=2.0, opts={"a": [Config(s.Opt)], "b": shared})


def test_walk_gives_the_config_and_sets_what_comes_back():
    cfg = tree()
    assert cfg.walk(lr=lambda node: node.lr * 10) is cfg
    assert (cfg.lr, cfg.model.opt.lr, cfg.opts["a"][0].lr) == (20.0, 10.0, 1.0)  # shared once; default too
    cfg.walk(dim=5, steps=lambda node: [])  # a plain value; a default_factory field that is unset is left
    assert cfg.model.dim == 5
    assert "steps" not in cfg.model.opt.__arguments__


def test_broadcast_sets_everything_that_takes_it():
    cfg = tree()
    cfg.broadcast(lr=7.0, opt=None, nobody=1)
    assert (cfg.lr, cfg.opts["a"][0].lr, cfg.opts["b"].lr, cfg.model.opt) == (7.0, 7.0, 7.0, None)


def test_diff_names_places_and_both_values():
    old, new = tree(), tree()
    assert new.diff(old) == ""
    new.lr = 3.0
    new.model.opt = Config(s.Opt, lr=9.0)
    new.opts["c d"] = s.Model
    assert new.diff(old).splitlines() == [
        "- model.opt.lr = 1.0",
        "+ model.opt.lr = 9.0",
        "- lr = 2.0",
        "+ lr = 3.0",
        "- opts['b'] = <same as model.opt>",
        "+ opts['b'] = Config[cfgsamples.Opt]",
        "+ opts['b'].lr = 1.0",
        "+ opts['c d'] = cfgsamples.Model",
    ]


def test_notebook_views(monkeypatch):
    cfg = tree()
    cfg.opts["<script>"] = "<b>&"
    monkeypatch.setenv("PATH", "")  # no dot
    assert cfg._repr_svg_() is None
    html = cfg._repr_html_()
    assert "<script>" not in html
    assert "&lt;b&gt;&amp;" in html
    assert "Partial[cfgsamples.train]" in html


def test_importing_the_package_does_not_import_fiddle():
    code = "import runyard.config, sys; dir(runyard.config); assert 'fiddle' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_fiddle_imports_without_warnings():
    code = "import runyard.config as c; [getattr(c, n) for n in c.__all__]"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_configurable_mixin():
    import dataclasses

    @dataclasses.dataclass
    class Inner(ConfigurableMixin):
        a: int = 1
        b: list = dataclasses.field(default_factory=list)

    @dataclasses.dataclass
    class Outer(ConfigurableMixin):
        inner: Inner
        both: Inner

    inner = Inner(a=2)
    cfg = Outer(inner, inner).to_config()
    assert isinstance(cfg, Config)
    assert cfg.inner is cfg.both
    assert dict(cfg.inner.__arguments__) == {"a": 2}
    assert fdl.build(cfg) == Outer(inner, inner)
    assert Outer(inner, Inner()).diff(Outer(Inner(), inner)) == "- both.a = 2\n+ inner.a = 2"


def test_every_public_name_is_there_and_no_submodule_hides_one():
    import types

    for name in runyard.config.__all__:
        assert not isinstance(getattr(runyard.config, name), types.ModuleType)
        assert name in dir(runyard.config)
    with pytest.raises(AttributeError, match="nope"):
        _ = runyard.config.nope
