"""Entrypoints and factories: what is registered, and how it is found again."""

import pytest

import runyard as run
from runyard.cli.entrypoints import registry
from runyard.errors import ConfigError


class Model:
    def __init__(self, size: int = 1) -> None:
        self.size = size


class Big(Model):
    """A subclass."""


def train(model: Model, eval_model: Model | None = None, data: str = "x"):
    """Train it."""


def small() -> Model:
    return run.Config(Model, size=1)


def test_decorators_return_the_function_itself():
    assert run.cli.entrypoint(train) is train
    assert run.cli.entrypoint(name="other", help="h")(train) is train
    assert run.cli.factory(small) is small
    assert run.cli.factory(target=train, name="x")(small) is small
    assert run.cli.factory(small, Model, name="y") is small


def test_factories_by_type_subclass_config_and_partial():
    @run.cli.factory
    def big() -> Big: ...

    @run.cli.factory
    def config() -> run.Config[Model]: ...

    @run.cli.factory
    def recipe() -> run.Partial[train]: ...

    @run.cli.factory(target=train, name="bare")
    def other() -> run.Partial: ...

    @run.cli.factory
    def models() -> list[Model]: ...

    @run.cli.factory
    def text() -> "Model": ...

    assert run.cli.list_factories(Model) == [big, config, text]
    assert run.cli.list_factories(Big) == [big]
    assert run.cli.list_factories(train) == [recipe, other]
    assert run.cli.list_factories(list[Model]) == [models]
    assert len(run.cli.list_factories()) == 6
    assert run.cli.resolve_factory(Model, "big") is big
    assert run.cli.resolve_factory(train, "bare") is other


def test_a_factory_for_one_argument_serves_only_that():
    @run.cli.factory(target=train, target_arg="eval_model")
    def tiny() -> Model: ...

    assert registry.find("tiny", Model, train, "eval_model").fn is tiny
    assert registry.find("tiny", Model, train, "model") is None


def test_namespaces():
    @run.cli.factory(name="base", namespace="llm")
    def one() -> Model: ...

    @run.cli.factory(name="base", namespace="vlm")
    def two() -> Model: ...

    assert run.cli.resolve_factory(Model, "llm.base") is one
    assert run.cli.resolve_factory(Model, "base", namespace="vlm") is two
    assert run.cli.list_factories("vlm") == [two]
    with pytest.raises(ConfigError, match=r"several factories are called 'base': llm\.base"):
        run.cli.resolve_factory(Model, "base")
    assert run.cli.resolve_factory(Model, f"{__name__}.test_namespaces.<locals>.one") is one


def test_entrypoints_are_listed_by_namespace():
    run.cli.entrypoint(namespace="llm.tools")(small)
    run.cli.entrypoint(train)
    assert run.cli.list_entrypoints() == {"llm": {"tools": {"small": small}}, "train": train}
    assert run.cli.list_entrypoints("llm") == {"tools": {"small": small}}
    assert run.cli.list_entrypoints("nothing") == {}


def test_defining_it_anew_replaces_it():
    def make():
        @run.cli.entrypoint
        def again(): ...

        @run.cli.factory
        def model() -> Model: ...

        return again, model

    make()
    again, model = make()
    assert run.cli.list_entrypoints() == {"again": again}
    assert run.cli.list_factories() == [model]


def no_annotation():
    """Nothing says what it makes."""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: run.cli.factory(no_annotation), "nothing says what the factory 'no_annotation' makes"),
        (lambda: run.cli.factory(small, target_arg="x"), "factory(target_arg='x') lacks its target"),
        (lambda: run.cli.entrypoint(train, type="experimnt"), "did you mean 'experiment'? one of task, experiment"),
        (lambda: run.cli.entrypoint(3), "3 cannot be a command"),
        (lambda: [run.cli.factory(small), run.cli.resolve_factory(Model, "smal")], "did you mean 'small'? factories"),
        (
            lambda: run.cli.resolve_factory(Big, "small"),
            "no factory 'small' makes a Big\n  -> none is registered for",
        ),
        (lambda: [run.cli.entrypoint(train), run.cli.entrypoint(small, name="train")], "two entrypoints are called"),
        (
            lambda: [run.cli.factory(small, Model), run.cli.factory(no_annotation, Model, name="small")],
            "two factories are called 'small'",
        ),
    ],
)
def test_what_cannot_be_registered_or_found(call, message):
    with pytest.raises(ConfigError) as error:
        call()
    assert message in str(error.value)


def test_the_public_names_are_listed():
    assert {"entrypoint", "factory", "main", "RunContext"} <= set(dir(run.cli))
    assert not hasattr(run.cli, "nothing")
