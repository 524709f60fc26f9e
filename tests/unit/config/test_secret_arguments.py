"""Secrets among a function's arguments: out of the tree, out of what is shown, and back in their place."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import os
from typing import Any

import cfgsamples as s
import pytest

from runyard.config import Config, Partial, calltree, dryrun_fn, help, serialize, show
from runyard.config.calltree import decode, encode, recorded_secrets
from runyard.config.convert import to_config
from runyard.config.secret_values import masked, revealed
from runyard.errors import ConfigError, SerializationError
from runyard.runner import pytask
from runyard.secrets import ARGUMENT, Secret, Unrecorded, is_secret_argument

TYPED = "hunter2hunter2"


@dataclasses.dataclass(frozen=True)
class Login:
    user: str
    password: str


Pair = collections.namedtuple("Pair", ["name", "auth_token"])


def built(task: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the task as the job does, its secrets coming by the environment."""
    call = encode(task)
    for name, value in call.secrets.items():
        monkeypatch.setenv(ARGUMENT + name, value if isinstance(value, str) else value.resolve())
    tree = json.loads(call.files()["call.json"])["task"]
    builder = pytask.Builder(tree, None, None, pytask.take_secrets())
    assert not [name for name in os.environ if name.startswith(ARGUMENT)]
    args, kwargs = builder.arguments(tree, "task")
    return builder.target(tree["$call"], "task")(*args, **kwargs)


def test_the_runner_and_the_launch_agree_on_the_variables() -> None:
    assert pytask.ARGUMENT == ARGUMENT


@pytest.mark.parametrize(
    ("name", "text", "secret"),
    [
        ("api_key", "x", True),
        ("db_password", "postgres", True),
        ("client-secret", "correct horse", True),
        ("hf_token", "verysecret", True),
        ("openai_key", "sk-0123456789abcdef", True),
        ("api_key", "", False),
        ("api_key", "***", False),
        ("eos_token", "</s>", False),
        ("pad_token", "[PAD]", False),
        ("mask_token", "<|mask|>", False),
        ("token_type", "bearer", False),
        ("sort_key", "top1_accuracy", False),
        ("secret_name", "database", False),
        ("api_key_env", "OPENAI_API_KEY", False),
        ("max_tokens", "0123456789abcdef", False),
    ],
)
def test_a_text_is_a_secret_by_its_name_and_by_what_it_says(name: str, text: str, secret: bool) -> None:
    assert is_secret_argument(name, text) is secret


@pytest.mark.parametrize(
    ("task", "names"),
    [
        (Partial(s.collect, a={"api_key": TYPED, "b": [1]}), ["task_a_api_key"]),
        (Partial(s.collect, api_key=[TYPED, {"first": TYPED + "!"}]), ["task_api_key_0", "task_api_key_1_first"]),
        (Partial(s.collect, Config(Login, "me", TYPED)), ["task_0_password"]),
        (
            functools.partial(s.collect, Login("me", TYPED), Pair("n", "abcdef")),
            ["task_0_password", "task_1_auth_token"],
        ),
        (Partial(s.collect, {Login("me", TYPED)}), ["task_0_password"]),
        (Partial(s.collect, a_b=Config(Login, "x", "1"), a=Config(dict, b=Config(Login, "x", "2"))), None),
        (Partial(s.collect, x=Secret("HERE"), y=(Secret("HERE"), Secret("THERE"))), ["HERE", "THERE"]),
    ],
)
def test_values_are_out_of_the_tree_and_in_their_place_again(task, names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "from here é\n")
    monkeypatch.setenv("THERE", "from there")
    call = encode(task)
    values = [v if isinstance(v, str) else v.resolve() for v in call.secrets.values()]
    written = call.files()["call.json"].decode() + calltree.summary(call.document) + repr(call)
    assert not [v for v in values if json.dumps(v)[1:-1] in written and len(v) > 1]
    assert names is None or sorted(call.secrets) == names
    assert sorted(recorded_secrets(call.document)) == sorted(call.secrets)
    assert repr(built(task, monkeypatch)) == repr(built(revealed(task), monkeypatch))


def test_two_texts_never_share_a_name() -> None:
    task = Partial(s.collect, a_b=Config(Login, "x", "one"), a=Config(dict, b=Config(Login, "x", "two")))
    assert encode(task).secrets == {"task_a_b_password": "one", "task_a_b_password_": "two"}
    task = Partial(s.collect, password="one", b=Secret("task_password"))
    with pytest.raises(SerializationError, match=r"task\.b"):
        encode(task)
    with pytest.raises(SerializationError, match=r"task\.c: .*'no name'.* names no variable"):
        encode(Partial(s.collect, c=Secret("no name")))


def test_a_text_that_a_variable_holds_is_that_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdef")
    monkeypatch.setenv("DB_PASSWORD", "postgres")
    call = encode(Partial(s.collect, api_key=os.environ["OPENAI_API_KEY"], password="postgres"))
    assert call.secrets == {"OPENAI_API_KEY": Secret("OPENAI_API_KEY"), "task_password": "postgres"}


def test_a_record_says_where_a_rerun_takes_the_values_from(monkeypatch: pytest.MonkeyPatch) -> None:
    document = encode(Partial(s.collect, api_key=TYPED, b=Secret("HERE")), root="train").document
    again = decode(document)
    assert again.b == Secret("HERE")
    assert again.api_key == Unrecorded("train_api_key", "train.api_key")
    assert encode(again, root="other").document == document
    with pytest.raises(ConfigError, match=r"(?s)train\.api_key was not recorded.*RUNYARD_ARG_train_api_key="):
        again.api_key.resolve()
    monkeypatch.setenv("RUNYARD_ARG_train_api_key", "anew")
    assert again.api_key.resolve() == "anew"


@pytest.mark.parametrize("form", ["yaml", "toml", "json"])
def test_a_secret_is_exported_by_name_and_read_back(form: str) -> None:
    task = Partial(s.collect, a=Secret("HF_TOKEN"), b=[Config(dict, c=Unrecorded("t_c", "t.c"))])
    text = getattr(serialize, f"to_{form}")(task)
    assert "HF_TOKEN" in text
    assert getattr(serialize, f"from_{form}")(text) == task
    assert to_config(Login("me", Secret("HF_TOKEN"))).password == Secret("HF_TOKEN")  # type: ignore[arg-type]


def test_nothing_shows_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    task = Partial(s.collect, a=Config(Login, "me", TYPED), api_key=[TYPED], pad_token="<pad>")
    other = task.clone()
    other.a.password += "!"
    shown = repr(task) + show.html_tree(task)
    dryrun_fn(task, build=True)
    help(task)
    shown += other.diff(task) + capsys.readouterr().out
    assert TYPED not in shown
    assert "<pad>" in shown
    assert other.diff(task) == "- a.password = ***\n+ a.password = ***"
    assert task.a.password == TYPED


def test_masking_and_revealing_leave_the_rest_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", TYPED)
    shared, plain, cycle = [Secret("HERE")], object(), []
    cycle.append(cycle)
    task = Partial(s.collect, shared, plain, a=shared, b=(1, {"k": Secret("HERE")}), c=cycle)
    got = revealed(functools.partial(s.collect, plain, x=Secret("HERE")))
    assert (got.func, got.args, got.keywords) == (s.collect, (plain,), {"x": TYPED})
    new = revealed(task)
    assert new[0] == [TYPED]
    assert new[0] is new.a
    assert new[1] is plain
    assert new.b == (1, {"k": TYPED})
    assert new.c is cycle
    assert masked(task) is task
    assert shared == [Secret("HERE")]
    assert revealed(Login("me", Secret("HERE"))) == Login("me", TYPED)  # type: ignore[arg-type]


def test_a_value_that_did_not_come_is_told() -> None:
    tree = encode(Partial(s.collect, api_key=TYPED)).document
    with pytest.raises(pytask.CannotStart, match=r"task\.api_key .* RUNYARD_ARG_task_api_key"):
        pytask.Builder(tree, None, None).arguments(tree, "task")
