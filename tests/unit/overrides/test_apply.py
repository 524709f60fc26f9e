"""Applying overrides: where a change lands, and what is left alone."""

import copy
from dataclasses import dataclass, field

import fiddle as fdl
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from subjects import Act, Layer, Model, train

from runyard.config.core import Config, Partial
from runyard.config.overrides import Sources, parse
from runyard.config.overrides.apply import apply, assign
from runyard.errors import ConfigError, OverrideError


def changed(root, *texts, sources=None):
    apply(root, [parse(text) for text in texts], sources)
    return root


def refused(root, *texts):
    with pytest.raises(OverrideError) as error:
        changed(root, *texts)
    return str(error.value)


@dataclass
class Box:
    """An ordinary object, like an executor."""

    nodes: int = 1
    env: dict[str, str] = field(default_factory=dict)
    layer: Layer | None = None
    names: list[str] = field(default_factory=list)


class Defaults(Sources):
    """A factory that is used when nothing is given."""

    def default(self, annotation, place):
        return (lambda: Config(Model, hidden=7)) if place.name == "model" else None


class Part(pydantic.BaseModel):
    size: int = 1


class Schema(pydantic.BaseModel):
    parts: list[Part] = [Part(size=2)]
    rate: float = pydantic.Field(0.1, alias="learning_rate")


def test_a_default_that_is_a_pydantic_model_becomes_a_config():
    def fit(schema: Schema = Schema(learning_rate=1.0), other: Part = Part()):  # noqa: B008
        pass

    task = changed(Partial(fit), "schema.parts=[{size: 3}]", "other.size=4")
    assert task.schema == Config(Schema, learning_rate=1.0, parts=[Config(Part, size=3)])
    assert task.other == Config(Part, size=4)
    assert fdl.build(task.schema).rate == 1.0


def test_a_number_is_text_where_keys_are():
    box = changed(Box(), "env[0]=a", "env.b=c")
    assert box.env == {"0": "a", "b": "c"}


def test_nested_places():
    task = changed(
        Partial(train, model=Config(Model)),
        "model.hidden=8",
        "model.hidden*=4",
        "model.layers[1].size+=3",
        "model.best.size=9",
        "model.best.act=gelu",
        "limits.cpu=3",
        "limits['a-b']=4",
        "betas[0]/=2",
        "lr-=0.05",
        "epochs//=3",
        "pair[1]=z",
    )
    assert task.model.hidden == 32
    assert [layer.size for layer in task.model.layers] == [1, 5]
    assert task.model.best == Config(Layer, size=9, act=Act.GELU)
    assert task.limits == {"cpu": 3, "a-b": 4}
    assert task.betas == (0.45, 0.999)
    assert (task.lr, task.epochs, task.pair) == (0.05, 3, (1, "z"))


def test_an_empty_place_is_filled_from_its_type_or_its_default_factory():
    assert changed(Partial(train), "model.hidden=3").model == Config(Model, hidden=3)
    assert changed(Partial(train), "model.name=x", sources=Defaults()).model == Config(Model, hidden=7, name="x")


def test_what_may_be_none_is_typed_inside_all_the_same():
    task = changed(Partial(train), "notes.a=1", "notes['b-c']=2", "env.A=x", "span=(1, a)", "span[1]=7")
    assert (task.notes, task.env, task.span) == ({"a": 1, "b-c": 2}, {"A": "x"}, (1, "7"))
    assert "notes.a=x: 'x' is no int" in refused(Partial(train), "notes.a=x")


def test_defaults_stay_as_they_are():
    before = copy.deepcopy(train.__defaults__)
    changed(Partial(train), "limits.cpu=3", "tags+=a", "betas+=[1]", "model.layers[0].size=99")
    assert train.__defaults__ == before
    assert Model().layers == [Layer(1), Layer(2)]


def test_containers_grow_and_shrink():
    task = changed(Partial(train), "tags|={a, b}", "tags-=a", "betas+=[1, 2]", "betas-=1", "limits|={x: 1}", "tag+=!")
    assert (task.tags, task.betas, task.limits, task.tag) == ({"b"}, (0.9, 0.999, 2.0), {"x": 1}, "t!")
    task = changed(
        Partial(train, model=Config(Model, layers=[])), "model.layers+=[{size: 1}]", "model.layers+={size: 2}"
    )
    assert task.model.layers == [Config(Layer, size=1), Config(Layer, size=2)]


def test_an_ordinary_object_gets_ordinary_values():
    box = changed(Box(), "nodes=4", "nodes*=2", "env.A_B=1", "layer={size: 3}", "layer.size+=1", "names+=[x, y]")
    assert box == Box(nodes=8, env={"A_B": "1"}, layer=Layer(4), names=["x", "y"])


def test_plain_data_is_assigned():
    task = Partial(train)
    assign(task, "model", {"hidden": 5})
    assign(task, "epochs", 3)
    assert task == Partial(train, model=Config(Model, hidden=5), epochs=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epocks=3", "epocks=3: train takes no argument 'epocks'\n  -> did you mean 'epochs'? it takes: model, plain,"),
        (
            "model.hiden=3",
            "model.hiden=3: Model takes no argument 'hiden'\n  -> did you mean 'hidden'? it",
        ),
        ("model.layers[5].size=3", "model.layers[5].size=3: there is no item 5: it has 2\n  -> NAME+=[VALUE] adds one"),
        ("model.layers.x=3", "model.layers.x=3: a list has no 'x'\n  -> write [0] to [1]"),
        ("model[0]=3", "model[0]=3: a Model has no items\n  -> write NAME.FIELD"),
        ("epochs.x=3", "epochs.x=3: int has no field 'x' to set\n  -> write NAME=VALUE"),
        ("fn.__name__=x", "fn.__name__=x: function has no field '__name__' to set"),
        ("kind.hidden=3", "kind.hidden=3: type has no field 'hidden' to set"),
        ("note.x=3", "note.x=3: note is None, so nothing in it can be set\n  -> set note first: a str | None"),
        ("model.best.size+=1", "model.best.size has no value yet, so += has nothing to work on\n  -> use = first"),
        ("epochs+=x", "epochs+=x: += does not work on int and str\n  -> write NAME=VALUE"),
        ("epochs/=4", "epochs/=4: '2.5' is no int"),
        ("epochs/=0", "epochs/=0: 10 /= 0: division by zero"),
        ("fast+=1", "fast+=1: += does not work on bool and int\n  -> write NAME=VALUE"),
        ("tag*=3", "tag*=3: *= does not work on str and str\n  -> write NAME=VALUE"),
        ("note+=x", "note+=x: += does not work on None and str\n  -> write NAME=VALUE"),
    ],
)
def test_what_cannot_be_applied(text, message):
    assert message in refused(Partial(train, model=Config(Model)), text)


def test_an_ordinary_object_names_its_fields():
    assert refused(Box(), "node=3") == (
        "node=3: Box has no field 'node'\n  -> did you mean 'nodes'? it has: nodes, env, layer, names"
    )


names = st.sampled_from(["model", "epochs", "betas", "limits", "tags", "pair", "anything", "plain", "hidden", "nope"])
paths = st.lists(names | st.sampled_from(["[0]", "['k']", "[-9]"]), min_size=1, max_size=4)
signs = st.sampled_from(["=", "+=", "-=", "*=", "/=", "//=", "%=", "|=", "&="])
values = st.text(max_size=12) | st.sampled_from(["3", "-1.5", "[1]", "{a: 1}", "{1}", "none", "Model(hidden=2)", "()"])


@given(st.lists(st.tuples(paths, signs, values), max_size=4))
def test_any_override_works_or_is_refused(changes):
    task = Partial(train, model=Config(Model))
    for path, sign, value in changes:
        head, *rest = path
        text = head + "".join(step if step.startswith("[") else f".{step}" for step in rest) + sign + value
        try:
            apply(task, [parse(text)])
        except ConfigError:
            pass
