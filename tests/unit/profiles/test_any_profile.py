"""Whatever a profile holds: it becomes an executor or a ProfileError, and nothing of it is run."""

import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runyard.config import toml
from runyard.errors import ConfigError, ProfileError
from runyard.executors import executor_class
from runyard.executors.base import Executor
from runyard.profiles.book import Book, File
from runyard.profiles.interpolate import Unfilled, fill
from runyard.profiles.load import parse_overrides, resolve

FIELDS = sorted(
    {*executor_class("slurm").__dataclass_fields__, "host", "extends", "mounts", "packager_subpath", "nprocs_per_node"}
)
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["slurm", "local", "ssh", "git", "hybrid", "none", "torchrun", "a", "b", "@/etc/passwd", "os.system('x')"]
    ),
    st.text("${}oc.env:,AB\\", max_size=30),
)
PLAIN = st.one_of(TEXTS, st.integers(), st.floats(), st.booleans())
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(TEXTS, st.sampled_from(["kind", "_target_", "sub_packagers"])), inner, max_size=3),
    ),
    max_leaves=6,
)
SECTIONS = st.dictionaries(st.one_of(st.sampled_from(FIELDS), TEXTS), VALUES, max_size=5)
STARTS = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen"}
"""Audit events of starting a program (https://docs.python.org/3/library/audit_events.html)."""
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True, scope="module")
def nothing_is_run() -> Iterator[None]:
    """Fail when a value makes something be imported by name or started."""
    import fiddle  # noqa: F401 - it is imported with the first value

    for name in ("slurm", "local"):
        text = {"executor": name, "packager": "git", "env_vars": {}, "launcher": "torchrun"}
        resolve("p", book=Book((File("env.toml", {"p": text}),)), environ={})
    before = set(sys.modules)
    started: list[str] = []
    watching = [True]
    # An audit hook stays for good, so it looks only while these tests run.
    sys.addaudithook(lambda event, args: started.append(f"{event} {args}") if watching and event in STARTS else None)
    yield
    watching.clear()
    assert not started
    assert not (set(sys.modules) - before) & {"antigravity", "this"}


@MANY
@given(SECTIONS, SECTIONS, st.sampled_from(["run", "batch"]))
def test_any_sections(a: dict[str, object], b: dict[str, object], mode: str) -> None:
    book = Book((File("env.toml", {"a": {"executor": "slurm", **a}, "b": b, "wandb": b}),))
    for name in "ab":
        try:
            assert isinstance(resolve(name, mode, book=book, environ={"A": "x", "HOME": "/nowhere"}).executor, Executor)
        except (ConfigError, ProfileError):
            continue


@MANY
@given(st.lists(st.builds("run.{}={}".format, st.one_of(st.sampled_from(FIELDS), TEXTS), TEXTS), max_size=3))
def test_any_overrides(texts: list[str]) -> None:
    book = Book((File("env.toml", {"p": {"executor": "slurm"}}),))
    try:
        resolve("p", overrides=parse_overrides(texts), book=book, environ={"HOME": "/nowhere"})
    except (ConfigError, ProfileError):
        return


@MANY
@given(st.text("${}oc.env:,AB\\ ", max_size=60))
def test_any_interpolation(text: str) -> None:
    try:
        assert isinstance(fill(text, {"A": "x"}), str)
    except Unfilled:
        return


@MANY
@given(st.text("abc{}$:;\n'\"", max_size=60))
def test_text_without_interpolation_stays(text: str) -> None:
    assert fill(text, {}) == text


@MANY
@given(st.dictionaries(st.sampled_from(["account", "qos"]), st.text(st.characters(codec="utf-8"), max_size=20)))
def test_what_is_shown_says_the_same(fields: dict[str, str]) -> None:
    import tomllib

    shown = tomllib.loads(toml.dumps({"p": fields}))
    assert shown == {"p": fields}
