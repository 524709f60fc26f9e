from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
import threading
from pathlib import Path

import cfgsamples as s
import fiddle as fdl
import pytest

from runyard.config import Config, Partial, calltree
from runyard.config.calltree import decode, encode, summary
from runyard.errors import ConfigError, SerializationError
from runyard.runner import pytask


def build(task):
    """Encode, pass through JSON, and run as the job would."""
    call = json.loads(encode(task).files()["call.json"])
    builder = pytask.Builder(call["task"], None, None)
    return builder.target(call["task"]["$call"], "task")(
        *builder.arguments(call["task"], "task")[0], **builder.arguments(call["task"], "task")[1]
    )


def failure(task) -> SerializationError:
    with pytest.raises(SerializationError) as info:
        encode(task)
    return info.value


def test_is_buildable_does_not_import_fiddle():
    code = (
        "import sys; from runyard.config.calltree import is_buildable, encode; import runyard.config;"
        "assert not is_buildable(3); encode(print); assert 'fiddle' not in sys.modules, 'fiddle was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": src()})


def src() -> str:
    return str(Path(calltree.__file__).parents[2])


def test_nested_configs_are_calls_and_partials_partials():
    task = Partial(s.train, Config(s.Model, 3, layers=[1]), trainer=Partial(s.Trainer, name="x"))
    assert encode(task).document == {
        "$call": "cfgsamples:train",
        "args": [],
        "kwargs": {
            "model": {"$call": "cfgsamples:Model", "args": [], "kwargs": {"dim": 3, "layers": [1]}},
            "trainer": {"$partial": "cfgsamples:Trainer", "args": [], "kwargs": {"name": "x"}},
        },
    }
    model, _, _, trainer = build(task)
    assert (model.dim, model.layers) == (3, [1])
    assert trainer(opt=None).name == "x"


def test_fiddles_own_types_and_plain_callables_are_tasks_too():
    assert build(fdl.Partial(s.collect, a=1)) == ((), {"a": 1})
    assert build(fdl.Config(s.collect, a=1)) == ((), {"a": 1})
    assert build(functools.partial(s.collect, 1, b=2)) == ((1,), {"b": 2})
    assert build(s.collect) == ((), {})
    assert encode(s.collect).name == "collect"
    assert encode(lambda: None).name == "lambda"
    with pytest.raises(ConfigError, match="int, which is no task"):
        encode(3)


def test_positional_arguments_keep_their_places():
    assert build(Partial(s.positional, 1)) == (1, 2, 3, (), 4, {})
    assert build(Partial(s.positional, 1, 5, 6, 7, 8, d=9, e=10)) == (1, 5, 6, (7, 8), 9, {"e": 10})
    task = Partial(s.positional, 1, 2, 3, 4)
    assert encode(task).document["args"] == [1, 2, 3, 4]


def test_shared_configs_and_containers_are_built_once():
    opt = Config(s.Opt, lr=0.5)
    shared = [1]
    a, b, c = (Config(s.Model, i, opt=opt, layers=shared) for i in range(3))
    (a, b, c), _ = build(Partial(s.collect, a, b, c))
    assert a.opt is b.opt is c.opt
    assert a.layers is b.layers


def test_unshared_equal_objects_stay_apart():
    (a, b), _ = build(Partial(s.collect, Config(s.Opt), Config(s.Opt)))
    assert a is not b


def test_deep_sharing_stays_small():
    node: tuple = ()
    for _ in range(60):
        node = (node, node)
    assert len(json.dumps(encode(Partial(s.collect, node)).document)) < 10_000


@pytest.mark.parametrize(
    "data",
    [
        {"$call": "os:system", "args": ["true"]},
        {"$ref": 0},
        {"a": {"$name": "x"}},
        {"": {"$": 1}},
        {1: 2, None: 3, (1, "x"): 4, 1.5: {True: 0}},
        "$call",
        {"$unknown": []},
        {"_target_": "os.system"},
    ],
)
def test_data_that_looks_like_directives_stays_data(data):
    assert build(Partial(s.collect, data)) == ((data,), {})


def test_dataclasses_travel_as_they_are():
    opt = s.Opt(1.0, [2])
    opt.lr = 5.0  # after __post_init__: doubled stays [1.0, 1.0]
    opt.extra = "more"
    frozen = s.Frozen(s.Frozen(opt))
    (made,), _ = build(Partial(s.collect, frozen))
    assert made == frozen
    assert made.value.value.doubled == [1.0, 1.0]
    assert made.value.value.extra == "more"


def test_methods_enums_classes_modules_and_dtypes_travel_by_name():
    assert encode(Partial(s.SubModel.make, 3)).document["$call"] == "cfgsamples:SubModel.make"
    assert type(build(Partial(s.SubModel.make, 3))) is s.SubModel
    values = [
        s.Color.RED,
        s.Level.LOW,
        s.Mode.R | s.Mode.W,
        s.Model,
        s.Model.helper,
        len,
        dict.fromkeys,
        json,
        s.float99,
        ...,
        NotImplemented,
        list[int],
        type(None),
        s.Point(1, 2),
        Path.cwd,
    ]
    (made), _ = build(Partial(s.collect, *values))
    assert list(made) == values
    assert made[8] is s.float99
    assert type(made[13]) is s.Point


def test_bound_method_of_a_dataclass():
    task = Partial(s.Opt(1.0).__repr__)
    assert "lr=1.0" in build(task)


def test_lambdas_and_nested_functions_travel_by_value():
    factor = 3

    def nested(x):
        return x * factor

    call = encode(Partial(s.collect, nested, lambda: 4, nested))
    assert call.document["args"] == [{"$value": 0}, {"$value": 1}, {"$value": 0}]
    assert "vendor/cloudpickle/__init__.py" in call.files()
    back = decode(call.document, pickled=call.pickled)
    assert back[0](2) == 6
    assert "call.pkl" not in encode(s.collect).files()


def test_objects_that_cannot_travel_name_their_path_type_and_remedy(tmp_path):
    class Callback: ...

    task = Partial(s.train, Config(s.Model, 1), trainer=Config(s.Trainer, opt=None, callbacks=[1, Callback()]))
    error = failure(task)
    assert error.path == "task.trainer.callbacks[1]"
    assert "Callback" in str(error)
    assert "run.Config(Callback, ...)" in str(error)
    with open(tmp_path / "f", "w") as file:
        assert failure(Partial(s.train, 1, opts={"a b": file})).path == "task.opts['a b']"
        assert "pass its path" in str(failure(Partial(s.train, file)))
    assert "inside the task" in str(failure(Partial(s.train, threading.Lock())))
    assert "pass a list" in str(failure(Partial(s.train, (x for x in "ab"))))
    assert "pass a list" in str(failure(Partial(s.train, iter([1]))))
    assert failure(Partial(s.collect, 1, (2, {3: Callback()}))).path == "task[1][1][3]"
    assert failure(Partial(s.train, s.Opt([Callback()]))).path == "task.model.lr[0]"
    assert failure(Partial(s.train, Config(s.Opt, Callback()))).path == "task.model.lr"
    lock = threading.Lock()
    error = failure(Partial(s.train, lr=1, model=lambda: lock))
    assert error.path == "task.model"
    assert "<lambda>" in str(error)


def test_cycles_are_errors():
    ring: list = [1]
    ring.append({"back": ring})
    error = failure(Partial(s.collect, ring))
    assert error.path == "task[0][1]['back']"
    assert "contains itself" in str(error)
    cfg = Config(s.Model, 1)
    cfg.opt = cfg
    assert failure(Partial(s.collect, cfg)).path == "task[0].opt"


def test_too_deep_nesting_is_an_error():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert "too deeply" in str(failure(Partial(s.collect, deep)))


def test_missing_arguments_are_found_before_the_job():
    error = failure(Partial(s.train, Config(s.Model)))
    assert error.path == "task.model.dim"
    assert failure(Partial(s.train)).path == "task.model"
    assert failure(s.train).path == "task.model"
    encode(Partial(s.collect, Partial(s.Model)))  # a nested Partial may be incomplete


def test_the_document_is_the_same_in_every_process():
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; from runyard.config import *; import cfgsamples as s;"
        "print(encode(Partial(s.collect, {'a', 'bb', 'ccc', 1, (2, 3)}, x=frozenset('hello'))).files())"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code, src(), str(Path(s.__file__).parent)],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in "123"
    }
    assert len(texts) == 1


def test_decode_is_the_inverse_of_encode():
    opt = Config(s.Opt, lr=0.5)
    task = Partial(s.positional, 1, Config(s.Model, 3, opt=opt), 3, opt, Partial(s.Model), d=[s.Frozen((1, {2}))])
    document = encode(task).document
    back = decode(document)
    assert isinstance(back, Partial)
    assert back == task
    assert encode(back).document == document
    assert back[1].opt is back[3]
    assert decode(json.loads(encode(task).files()["call.json"])) == task


def test_decode_says_what_is_missing():
    with pytest.raises(ConfigError, match="no_such_mod"):
        decode({"$call": "no_such_mod:f", "args": [], "kwargs": {}})
    with pytest.raises(ConfigError, match="'nope' is not defined"):
        decode({"$call": "cfgsamples:nope", "args": [], "kwargs": {}})
    with pytest.raises(ConfigError, match="no call tree"):
        decode({"a": 1})
    with pytest.raises(ConfigError, match=r"\$strange"):
        decode({"$call": "cfgsamples:collect", "args": [{"$strange": 1}], "kwargs": {}})


def test_summary_reads_well_without_importing_anything():
    opt = Config(s.Opt, lr=0.5)
    task = Partial(s.train, Config(s.Model, 3, opt=opt), opts=(1, {2}, Path("/x"), float("nan")), trainer=opt)
    text = summary(encode(task).document)
    assert text == (
        "cfgsamples.train(\n"
        "  model=cfgsamples.Model(dim=3, opt=#0=cfgsamples.Opt(lr=0.5)),\n"
        "  opts=(1, {2}, Path('/x'), nan),\n"
        "  trainer=<same as #0>,\n"
        ")"
    )
    assert summary({"$call": "nowhere:f", "args": [{"$bytes": "AAAA"}], "kwargs": {}}) == "nowhere.f(bytes(3))"


def test_runyard_objects_do_not_travel():
    from runyard.task import Script

    assert "environment" in str(failure(Partial(s.collect, Script("a.sh"))))


def test_dataclass_with_slots():
    @dataclasses.dataclass(slots=True)
    class Local:
        a: int = 1

    call = encode(Partial(s.collect, Local(4)))
    back = decode(call.document, pickled=call.pickled)
    assert (back[0].a, type(back[0]).__name__) == (4, "Local")
