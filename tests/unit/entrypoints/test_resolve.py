"""From words to a task and a context, in this process."""

from __future__ import annotations

import datetime
import json
import sys
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

import runyard as run
from runyard.cli.entrypoints import helppage
from runyard.cli.entrypoints.program import entry_of
from runyard.cli.entrypoints.resolve import missing, resolve
from runyard.cli.entrypoints.show import arguments_table, complete, executor_text
from runyard.config import serialize
from runyard.errors import ConfigError


@dataclass
class Model:
    size: int = 1
    act: str = "relu"


@dataclass
class Data:
    path: str
    weights: list[float] = field(default_factory=lambda: [1.0])


@dataclass
class Note(run.Plugin):
    text: str = "none"

    def setup(self, task: Any, executor: run.Executor) -> None:
        executor.env_vars["NOTE"] = self.text


def my_model(size: int = 8) -> Model:
    return Model(size=size)


def my_data(path: str = "/d") -> Data:
    return Data(path)


def both(text: str = "a") -> list[run.Plugin]:
    return [Note(text=text), Note(text=text * 2)]


def cluster(nodes: int = 1) -> run.Executor:
    return run.LocalExecutor(ntasks_per_node=nodes)


def train(model: Model, data: Data = run.Config(Data, path="/x"), epochs: int = 10, lr: float = 0.1):  # noqa: B008
    return model, data, epochs, lr


def recipe(epochs: int = 7) -> run.Partial[train]:
    return run.Partial(train, model=run.Config(Model, size=2), epochs=epochs)


@pytest.fixture(autouse=True)
def _factories():
    run.cli.factory(my_model)
    run.cli.factory(my_data, name="mine", is_target_default=True)
    run.cli.factory(recipe)
    run.cli.factory(Note, Note, name="note")
    run.cli.factory(both)
    run.cli.factory(cluster)


def done(*words, fn=train, **options):
    ctx = run.cli.RunContext(**options)
    return resolve(entry_of(fn), ctx, words), ctx


def called(*words, fn=train, **options):
    return run.cli.RunContext(direct=True, skip_confirmation=True, **options).cli_execute(fn, words)


def test_the_function_gets_what_was_written():
    assert called("model.size=3", "epochs*=2") == (Model(3), Data("/x"), 20, 0.1)
    assert called("model=my_model(size=4)", "model.act=gelu", "data={path: /y, weights: [1, 2]}") == (
        Model(4, "gelu"),
        Data("/y", [1.0, 2.0]),
        10,
        0.1,
    )


def test_a_default_that_is_a_config_is_built_and_stays_as_it_was():
    assert called("model=my_model", "data.path=/z")[1] == Data("/z")
    assert called("model=my_model")[1] == Data("/x")


def test_a_default_factory_fills_what_is_required():
    def fit(data: Data):
        return data

    assert called(fn=fit) == Data("/d")
    assert called("data.path=/e", fn=fit) == Data("/e")


def test_factories_and_files_give_the_base(tmp_path):
    task, _ = done(factory="recipe(epochs=3)")
    assert (task.epochs, task.model.size) == (3, 2)
    file = tmp_path / "task.yaml"
    file.write_text(serialize.to_yaml(run.Partial(train, model=run.Config(Model, size=5), lr=0.5)))
    for options in ({"yaml": str(file)}, {"load": str(file)}, {"load": str(tmp_path)}, {"factory": f"@{file}"}):
        task, _ = done("lr*=2", **options)
        assert (task.lr, task.model.size) == (1.0, 5)


def test_arguments_in_a_file(tmp_path):
    file = tmp_path / "args.json"
    file.write_text(json.dumps({"model": "my_model", "epochs": 3, "run": {"name": "x"}, "executor": "cluster"}))
    task, ctx = done("epochs=4", yaml=str(file))
    assert (task.model.size, task.epochs, ctx.name) == (8, 4, "x")
    assert isinstance(ctx.executor, run.LocalExecutor)
    task, _ = done(yaml=str(file), factory="recipe")
    assert (task.epochs, task.model.size) == (3, 8)


def test_the_context():
    _, ctx = done("model=my_model", "executor=cluster(nodes=2)", "executor.retries=1", "run.detach=true", "run.name=n")
    assert ctx.executor == run.LocalExecutor(ntasks_per_node=2, retries=1)
    assert (ctx.detach, ctx.name) == (True, "n")
    for word in ("executor=local", "run.executor=local", "executor=LocalExecutor()", "executor=run.LocalExecutor()"):
        assert done("model=my_model", word)[1].executor == run.LocalExecutor()
    _, ctx = done(
        "model=my_model",
        "executor.env_vars={A: 1e3, B: x}",
        "executor.env_vars.C=1",
        'executor.env_vars.D={"a": [1]}',
        "executor.packager=git(subpath=src)",
        "executor.launcher=torchrun",
        "executor.time=02:00:00",
    )
    assert ctx.executor.env_vars == {"A": "1e3", "B": "x", "C": "1", "D": '{"a": [1]}'}
    told = executor_text(ctx)
    assert told.startswith("local (packager=git(subpath='src'), launcher='torchrun', env_vars={")
    assert type(ctx.executor.packager).__name__ == "GitArchivePackager"
    assert ctx.executor.time_limit() == 7200
    assert done("model=my_model", "executor=none")[1].executor is None


def test_executors_of_the_users_file(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    home.joinpath("executors.py").write_text(
        "import runyard as run\ndef gpu(n=1):\n    return run.LocalExecutor(gpus_per_task=n)\n"
    )
    assert done("model=my_model", "executor=gpu(n=2)")[1].executor == run.LocalExecutor(gpus_per_task=2)


def test_plugins():
    assert done("model=my_model", "plugins=note")[1].plugins == [Note()]
    assert done("model=my_model", "plugins=note(text=a)", "plugins.text=b")[1].plugins == [Note(text="b")]
    _, ctx = done("model=my_model", "plugins=both(text=x)", "plugins[1].text=z")
    assert [plugin.text for plugin in ctx.plugins] == ["x", "z"]
    assert [p.text for p in done("model=my_model", "plugins=[note, Note(text=q)]")[1].plugins] == ["none", "q"]
    assert len(done("model=my_model", "plugins=note", "plugins+=note")[1].plugins) == 2


def test_own_arguments_win_over_the_context():
    def fit(executor: str, run: str = "r"):
        return executor, run

    assert called("executor=local", "run=x", fn=fit) == ("local", "x")


def test_defaults_of_the_entrypoint():
    @run.cli.entrypoint(default_factory="fitted", default_executor=cluster, default_plugins=run.Config(Note, text="d"))
    def fit(model: Model, epochs: int = 10):
        """Train it."""

    @run.cli.factory(target=fit)
    def fitted() -> run.Partial:
        return run.Partial(fit, model=run.Config(Model), epochs=7)

    task, ctx = done(fn=fit)
    assert task.epochs == 7
    assert (ctx.executor, ctx.plugins) == (run.LocalExecutor(), [Note(text="d")])
    other, _ = done(fn=fit)
    other.model.size = 99
    assert done(fn=fit)[0].model == run.Config(Model)


def test_a_context_of_ones_own():
    @dataclass
    class Mine(run.cli.RunContext):
        team: str = "a"

    def fit(ctx: Mine, x: int = 1):
        return ctx.team, x

    fit.__annotations__["ctx"] = Mine
    assert Mine(skip_confirmation=True).cli_execute(fit, ["run.team=b", "ctx.name=n", "x=2"]) == ("b", 2)


def test_without_executor_a_function_is_simply_called():
    double = run.cli.entrypoint(enable_executor=False, name="double")(lambda x=1: 2 * x)
    assert run.cli.RunContext().cli_execute(double, ["x=4"]) == 8


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ([], {}, "train lacks model (Model)\n  -> write model=my_model (factories: my_model)"),
        (["model=Model()", "data=Data()"], {}, "train lacks data.path (str)\n  -> write data.path=VALUE"),
        (["modl=my_model"], {}, "modl=my_model: train takes no argument 'modl'\n  -> did you mean 'model'?"),
        (["my_model"], {}, "'my_model' is no override\n  -> did you mean 'model'? write NAME=VALUE with one of: model"),
        (["executor=clustr"], {}, "executor=clustr: 'clustr' is no Executor\n  -> did you mean 'cluster'?"),
        (["executor.retrys=1"], {}, "LocalExecutor has no field 'retrys'\n  -> did you mean 'retries'? it has:"),
        (
            ["executor=cluster(nods=1)"],
            {},
            "cluster takes no argument 'nods'\n  -> did you mean 'nodes'? it takes: nodes",
        ),
        (["run.dtach=true"], {}, "RunContext has no field 'dtach'\n  -> did you mean 'detach'? it has: name"),
        (["plugins=nte"], {}, "plugins=nte: 'nte' is no Plugin\n  -> did you mean 'note'? factories: note, both"),
        (["plugins.text=x"], {}, "plugins.text=x: there are 0 plugins\n  -> plugins[0].FIELD=VALUE"),
        (["plugins=note(txt=a)"], {}, "takes no argument 'txt'\n  -> did you mean 'text'? it takes: text"),
        (
            [],
            {"factory": "recip"},
            "--factory recip: train has no factory 'recip'\n  -> did you mean 'recipe'? it has: recipe",
        ),
        ([], {"factory": "recipe", "load": "x"}, "--factory and --load both give the task"),
        ([], {"load": "nowhere.yaml"}, "there is no file nowhere.yaml"),
        ([], {"load": "."}, "has not one configuration but args.toml, other.yaml\n  -> name the file"),
        ([], {"load": "args.toml"}, "args.toml holds no whole task: it has no _target_"),
        ([], {"load": "other.yaml"}, "--load other.yaml configures builtins.complex, not"),
        ([], {"yaml": "args.toml"}, "args.toml: epochs: 'many' is no int"),
        (["model=@args.tml"], {}, "model=@args.tml: args.tml is no configuration by its name"),
        (["model=@arg.toml"], {}, "model=@arg.toml: there is no file arg.toml\n  -> did you mean args.toml?"),
        (["model=@args.toml:modle"], {}, "args.toml has no section 'modle'\n  -> did you mean 'model'? it has: epochs"),
    ],
)
def test_what_is_refused(tmp_path, words, options, message):
    tmp_path.joinpath("args.toml").write_text('epochs = "many"\n[model]\nsize = 3\n')
    tmp_path.joinpath("other.yaml").write_text("_target_: builtins.complex\nreal: 1\n")
    with pytest.raises(ConfigError) as error:
        done(*words, **options)
    assert message in str(error.value)


def test_what_is_lacking_is_told_how_it_is_given():
    class Net:
        def __init__(self, width: int):
            """Nothing."""

    def fit(net: Net, size: int):
        """Nothing."""

    fit.__annotations__["net"] = Net
    with pytest.raises(ConfigError) as error:
        done(fn=fit)
    assert str(error.value) == ("fit lacks net (Net), size (int)\n  -> write net.width=VALUE, or net=Net(width=VALUE)")


def test_text_with_dots_imports_nothing(tmp_path, monkeypatch):
    tmp_path.joinpath("zoo_").mkdir()
    tmp_path.joinpath("zoo_", "__init__.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)

    def fit(tag: str = "", note: str | Model = "", key=None, size: int | str = 1, more: dict[str, Any] = {}):  # noqa: B006
        return tag, note, key, size, more

    text = "zoo_.deep.name"
    found = called(f"tag={text}", f"note={text}", f"key={text}", f"size={text}", f"more.a={text}", fn=fit)
    assert found == (text, text, text, text, {"a": text})


def test_a_factory_of_a_module_that_is_not_imported_yet(tmp_path, monkeypatch):
    tmp_path.joinpath("zoo2_.py").write_text(
        "import runyard as run\nfrom test_resolve import Model\n"
        "@run.cli.factory\ndef lion() -> Model:\n    return Model(size=5)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "test_resolve", sys.modules[__name__])
    assert done("model=zoo2_.lion")[0].model.size == 5


def test_without_executor_there_is_nothing_to_launch():
    double = run.cli.entrypoint(enable_executor=False, name="double")(lambda x=1: 2 * x)
    with pytest.raises(ConfigError, match="executor=local: double runs in this process"):
        done("executor=local", fn=double)


def test_the_table_hides_secrets():
    def fit(hf_token: str, model: Model, tokens: str = "t"):
        """Nothing."""

    task, ctx = done("hf_token=verysecret", "model.size=3", "executor.env_vars.HF_TOKEN=alsosecret", fn=fit)
    shown = arguments_table(entry_of(fit), ctx, task)
    assert "secret" not in shown.replace("secret'}", "")
    assert ".size   3" in shown
    assert "'relu'" in shown


def test_lacking_arguments_are_found_wherever_they_are():
    task = run.Partial(train, model=run.Config(Data), data=[run.Config(Model), {"a": run.Config(Data)}])
    assert [path for path, *_ in missing(task)] == ["model.path", "data[1]['a'].path"]


sizes = st.integers(-(2**70), 2**70)
texts = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)
floats = st.floats(allow_nan=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=sizes, act=texts, path=texts, weights=st.lists(floats, max_size=4), lr=floats)
@pytest.mark.parametrize("form", ["yaml", "toml", "json"])
def test_what_is_exported_comes_back(form, size, act, path, weights, lr):
    act, path = f"a{act}", f"p{path}"
    words = [f"model.size={size}", f"model.act={act}", f"data.path={path}", f"data.weights={weights}", f"lr={lr!r}"]
    task, _ = done(*words)
    assert (task.model.size, task.model.act, task.data.path) == (size, act, path)
    whole = complete(entry_of(train), task)
    write, read = getattr(serialize, f"to_{form}"), getattr(serialize, f"from_{form}")
    again = read(write(whole))
    assert again == whole
    assert write(again) == write(whole)


def test_dates_and_numbers_are_shown_and_exported_as_they_are_typed():
    def fit(day: datetime.date = datetime.date(2024, 1, 2), share: Decimal = Decimal("1.50"), **more: float):
        """Nothing."""

    task, ctx = done("rate=2", fn=fit)
    assert task.rate == 2.0
    shown = arguments_table(entry_of(fit), ctx, task)
    assert [line.split() for line in shown.splitlines()[1:3]] == [["day", "2024-01-02"], ["share", "1.50"]]
    whole = complete(entry_of(fit), task)
    assert (whole.day, whole.share) == (datetime.date(2024, 1, 2), Decimal("1.50"))
    formatter = click.HelpFormatter(width=80)
    helppage.write(entry_of(fit), formatter)
    assert "  day: date       [default: 2024-01-02]\n" in formatter.getvalue()
    assert "  NAME: float     Any other argument.\n" in formatter.getvalue()


def test_a_model_of_pydantics_names_its_own_fields():
    class Sizes(BaseModel):
        width: int = 1

    def fit(sizes: Sizes = Sizes()):  # noqa: B008
        """Nothing."""

    fit.__annotations__["sizes"] = Sizes
    assert done("sizes.width=3", fn=fit)[0].sizes.width == 3
    with pytest.raises(ConfigError) as error:
        done("sizes.widht=3", fn=fit)
    assert str(error.value).endswith("did you mean 'width'? it takes: width")
