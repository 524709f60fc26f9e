"""What an experiment's function is given, and how its launches follow the context."""

from dataclasses import dataclass

import pytest

import runyard as run
from runyard.errors import ConfigError, TaskFailed


@dataclass
class Model:
    size: int = 1


def here(retries: int = 1) -> run.Executor:
    return run.LocalExecutor(retries=retries)


def perform(fn, *words, kind="experiment", **options):
    return run.cli.RunContext(skip_confirmation=True, **options).cli_execute(fn, words, kind)


def test_configs_for_tasks_and_executors_to_be_used():
    run.cli.factory(run.autoconvert(here), name="here")

    def study(
        ctx: run.cli.RunContext,
        changed: Model = Model(),  # noqa: B008
        unchanged: Model = Model(2),  # noqa: B008
        models: list[Model] = [Model(3)],  # noqa: B006, B008
        task: run.Partial = run.Partial(print),  # noqa: B008
        where: run.Executor = run.LocalExecutor(),  # noqa: B008
        other: run.Executor | None = None,
        count: int = 1,
    ):
        return ctx, changed, unchanged, models, task, where, other, count

    ctx, changed, unchanged, models, task, where, other, count = perform(
        study, "changed.size=9", "models[0].size=4", "other=here(retries=2)", "ctx.name=n", "count=5"
    )
    assert (changed, unchanged) == (run.Config(Model, size=9), run.Config(Model, size=2))
    assert models == [run.Config(Model, size=4)]
    assert isinstance(task, run.Partial)
    assert (where, other) == (run.LocalExecutor(), run.LocalExecutor(retries=2))
    assert (ctx.name, count) == ("n", 5)
    assert study.__defaults__[0] == Model()


def test_a_task_with_a_context_gets_built_arguments():
    def launch(ctx: run.cli.RunContext, model: Model, where: run.Executor | None = None):
        return ctx.name, model, where

    assert perform(launch, "model.size=3", "where=local", kind="task", name="x") == (
        "x",
        Model(3),
        run.LocalExecutor(),
    )


def test_launches_follow_the_context(capsys):
    def study(ctx: run.cli.RunContext, code: int = 0):
        return ctx.run(run.Script(inline=f"echo ran; exit {code}"), name="one")

    assert perform(study).exit_code == 0
    with pytest.raises(TaskFailed):
        perform(study, "code=3")
    assert capsys.readouterr().out == "ran\nran\n"
    assert perform(study, dryrun=True) is None
    assert "nothing is submitted" in capsys.readouterr().out


def test_experiments_whose_tasks_are_named(capfd):
    def study(ctx: run.cli.RunContext, first: run.Partial = run.Partial(print, "first")):  # noqa: B008
        ctx.add(first, name="first")
        ctx.experiment.add([run.Script(inline="echo a"), run.Script(inline="echo b")], name="pair")

    results = perform(study, kind="sequential_experiment", name="s", tail_logs=True)
    assert [name for name, result in results.items() if result.ok] == ["first", "pair"]
    shown = capfd.readouterr().out
    assert shown.index("first") < shown.index("a\n")


def test_nothing_to_run_and_no_such_kind():
    with pytest.raises(ConfigError, match="study gave nothing to run"):
        perform(named_study, kind="parallel_experiment")
    with pytest.raises(ConfigError, match="--lazy is for commands that run in a job"):
        perform(named_study, lazy=True)


def named_study():
    """Nothing."""


named_study.__name__ = "study"
