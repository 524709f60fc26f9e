"""Whatever is encoded comes back the same: in the job's builder, and through decode."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import json
import math
import pathlib

import cfgsamples as s
import fiddle as fdl
from hypothesis import given, settings
from hypothesis import strategies as st

from runyard.config import Config, Partial
from runyard.config.calltree import decode, encode, summary
from runyard.runner import pytask

hostile = st.sampled_from(
    ["$call", "$ref", "$id", "$", "$dict", "_target_", "a'b\"c", "\n\r\0", "${x}", "`id`", "é\ud800"]
)
texts = st.text() | hostile
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary() | st.complex_numbers()
    | st.dates() | st.datetimes(timezones=st.none() | st.just(datetime.UTC)) | st.timedeltas() | st.times()
    | st.decimals(allow_nan=False) | st.uuids() | st.fractions()
    | st.sampled_from([*s.Color, *s.Level, s.Mode.R | s.Mode.W, s.Model, s.train, len, math, 2**1030, -(10**400)])
    | texts.filter(lambda t: "\0" not in t).map(pathlib.Path)
    | st.builds(range, st.integers(-5, 5), st.integers(-5, 5)) | st.builds(slice, st.none() | st.integers())
)  # fmt: skip
hashable = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | st.binary() | st.dates() | st.sampled_from([*s.Color]),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3) | st.builds(s.Frozen, inner),
    max_leaves=4,
)


def containers(inner):
    lists = st.lists(inner, max_size=4)
    return (
        lists | lists.map(tuple) | lists.map(collections.deque)
        | st.dictionaries(hashable, inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
        | st.dictionaries(hashable, inner, max_size=3).map(collections.OrderedDict)
        | st.sets(hashable, max_size=4) | st.binary().map(bytearray)
        | st.builds(s.Opt, inner, lists) | st.builds(s.Frozen, inner) | st.builds(s.Point, inner, inner)
        | st.builds(lambda v: Config(s.Frozen, v), inner)
        | st.builds(lambda v, w: Config(s.Opt, lr=v, steps=w), st.floats(), lists)
        | lists.flatmap(lambda v: st.just([v, v]))
    )  # fmt: skip


trees = st.recursive(scalars, containers, max_leaves=12)


def same(a, b) -> bool:
    """Equality that knows NaN, signed zeros, types and sharing in lists."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return repr(a) == repr(b)
    if isinstance(a, complex):
        return repr(a) == repr(b)
    if isinstance(a, fdl.Buildable):
        return a.__fn_or_cls__ is b.__fn_or_cls__ and same(dict(a.__arguments__), dict(b.__arguments__))
    if isinstance(a, (list, tuple, collections.deque)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    return a == b


def built(value):
    """What the job should see: Configs replaced by what they make, also inside dataclass instances."""
    if isinstance(value, fdl.Buildable):
        return value.__fn_or_cls__(**{key: built(item) for key, item in value.__arguments__.items()})
    if type(value) in (list, tuple, collections.deque):
        return type(value)(map(built, value))
    if isinstance(value, s.Point):
        return s.Point(*map(built, value))
    if isinstance(value, dict):
        return type(value)((key, built(item)) for key, item in value.items())
    if isinstance(value, (s.Opt, s.Frozen)):
        copy = object.__new__(type(value))
        for field in dataclasses.fields(value):
            object.__setattr__(copy, field.name, built(getattr(value, field.name)))
        return copy
    return value


@settings(max_examples=400, deadline=None)
@given(trees)
def test_the_job_sees_what_was_configured(value):
    call = json.loads(encode(Partial(s.collect, value, k=value)).files()["call.json"])
    args, kwargs = pytask.Builder(call["task"], None, None).arguments(call["task"], "task")
    assert same(args[0], built(value))
    if isinstance(value, (list, dict, fdl.Buildable)):
        assert args[0] is kwargs["k"]


@settings(max_examples=200, deadline=None)
@given(trees)
def test_decode_inverts_encode(value):
    document = encode(Partial(s.collect, value)).document
    back = decode(json.loads(json.dumps(document)))
    assert same(back[0], value)
    assert encode(back).document == document
    assert summary(document)
