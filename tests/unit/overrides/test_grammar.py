"""The grammar: what a value is made of, before anything is known of its type."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.config.overrides import nodes, parse, parse_path, parse_value, path_text
from runyard.config.overrides.plain import guess
from runyard.errors import OverrideError


@pytest.mark.parametrize(
    ("text", "path", "operator", "value"),
    [
        ("a=1", ("a",), "=", 1),
        ("a.b[0].c+=x", ("a", "b", 0, "c"), "+=", "x"),
        ("a[-1]//=2", ("a", -1), "//=", 2),
        ("a['x-y'].z|={k: 1}", ("a", "x-y", "z"), "|=", {"k": 1}),
        ("a[key]=", ("a", "key"), "=", ""),
        ("a = 5", ("a",), "=", 5),
        ("url=http://host:80/?q=1&r=2", ("url",), "=", "http://host:80/?q=1&r=2"),
    ],
)
def test_an_override(text, path, operator, value):
    found = parse(text)
    assert (found.path, found.operator, guess(found.value), found.text) == (path, operator, value, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1_000", 1000),
        ("-1e-3", -0.001),
        (".5", 0.5),
        ("007", 7),
        ("1.2.3", "1.2.3"),
        ("True", True),
        ("null", None),
        ("nan", "nan"),
        ("'1'", "1"),
        ('"a\\n"', "a\n"),
        ("'it''s'", "'it''s'"),
        ("[a, 'b, c', [1, 2], (3,)]", ["a", "b, c", [1, 2], (3,)]),
        ("{1, 2}", {1, 2}),
        ("{}", {}),
        ("[]", []),
        ("()", ()),
        ("{a: 1, 'b c': [x]}", {"a": 1, "b c": ["x"]}),
        ("(draft)", "(draft)"),
        ("[1,", "[1,"),
        ("echo (hi", "echo (hi"),
        ("__import__('os').system('x')", "__import__('os').system('x')"),
        ("a if b else c", "a if b else c"),
        ("[" * 200 + "]" * 200, "[" * 200 + "]" * 200),
    ],
)
def test_a_value(text, value):
    found = guess(parse_value(text))
    assert found == value
    assert type(found) is type(value)


def test_calls_and_files():
    call = parse_value("zoo.model(3, size=[1, 2], when=02:00:00, cfg=@m.yaml:a.b, inner=f(x=1))")
    assert isinstance(call, nodes.Call)
    assert call.name == "zoo.model"
    assert [guess(value) for value in call.args] == [3]
    kwargs = dict(call.kwargs)
    assert guess(kwargs["size"]) == [1, 2]
    assert kwargs["when"].raw == "02:00:00"
    assert kwargs["cfg"] == nodes.File("@m.yaml:a.b", "m.yaml", "a.b")
    assert isinstance(kwargs["inner"], nodes.Call)
    assert parse_value("@dir with space/x.toml") == nodes.File("@dir with space/x.toml", "dir with space/x.toml", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs", "'epochs' is no override\n  -> write epochs=VALUE"),
        ("=3", "'=3' is no override\n  -> write NAME=VALUE"),
        ("a b=3", "'a b=3' is no override\n  -> write NAME=VALUE"),
        ("a==3", "'a==3' compares, and changes nothing\n  -> write a=3"),
        ("3a=3", "'3a=3' is no override\n  -> write NAME=VALUE"),
    ],
)
def test_what_is_no_override(text, message):
    with pytest.raises(OverrideError) as error:
        parse(text)
    assert str(error.value) == message


@given(st.text())
def test_any_text_is_a_value_or_an_error_of_ours(text):
    assert isinstance(parse_value(text), nodes.Node)
    for whole in (text, "a=" + text):
        try:
            parse(whole)
        except OverrideError:
            pass


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(plain)
def test_python_literals_come_back(value):
    assert guess(parse_value(repr(value))) == value


keys = (
    st.integers(-99, 99) | st.from_regex(r"[A-Za-z_]\w{0,8}", fullmatch=True) | st.text("ab -", min_size=1, max_size=9)
)


names = st.from_regex(r"[a-z]\w{0,8}", fullmatch=True).filter(str.isidentifier)


@given(names, st.lists(keys, max_size=5))
def test_paths_come_back(head, rest):
    path = (head, *rest)
    assert parse_path(path_text(path)) == path
