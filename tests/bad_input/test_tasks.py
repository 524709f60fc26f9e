"""Tasks, names and arguments that cannot be used: refused by name, with a remedy, before anything happens."""

import threading
from pathlib import Path

import pytest

import runyard as run
from runyard import executors
from runyard.errors import ConfigError, RunyardError, SerializationError, StoreError, UnknownExperiment


def refused(kind: type[RunyardError], function, *needles: str) -> RunyardError:
    """Assert the exact class, what the message names, and that a remedy is given."""
    with pytest.raises(kind) as caught:
        function()
    error = caught.value
    assert type(error) is kind
    assert error.exit_code == 2
    assert error.hint, f"no remedy: {error}"
    for needle in needles:
        assert needle in str(error), f"{needle!r} is not in: {error}"
    return error


def echo(text: str = "hello") -> run.Script:
    return run.Script(inline=f"echo {text}")


def test_unknown_executor() -> None:
    refused(ConfigError, lambda: executors.executor_class("locl"), "'locl'", "did you mean 'local'?", "known:")
    refused(ConfigError, lambda: executors.from_dict({"kind": "mainframe"}), "'mainframe'", "known:")


def test_unknown_field_of_a_recorded_executor() -> None:
    refused(ConfigError, lambda: executors.from_dict({"kind": "local", "warp": 9}), "LocalExecutor", "warp", "upgrade")


def test_no_executor(experiment: run.Experiment) -> None:
    refused(ConfigError, lambda: experiment.add(echo(), "slurm"), "'slurm' is no executor", "LocalExecutor")  # type: ignore[arg-type]


def test_unknown_task_id(experiment: run.Experiment) -> None:
    experiment.add(echo(), name="train")
    experiment.run()
    for use in (experiment.logs, experiment.cancel):
        refused(ConfigError, lambda use=use: use("trian"), "'trian'", experiment.id, "did you mean 'train'?")


def test_unknown_dependency(experiment: run.Experiment, nothing_happens) -> None:
    experiment.add(echo(), name="prepare")
    experiment.add(echo(), name="train", dependencies=["prepair"])
    with nothing_happens():
        refused(ConfigError, experiment.run, "'train'", "'prepair'", "did you mean 'prepare'?")


def test_unknown_experiment() -> None:
    exp = run.Experiment("digits", clean_mode=True)
    exp.add(echo(), name="a")
    exp.run()
    refused(UnknownExperiment, lambda: run.Experiment.from_id("digit-s"), "'digit-s'", "did you mean 'digits'?")
    refused(UnknownExperiment, lambda: run.Experiment.from_title("letters"), "'letters'", "catalog()")


def test_duplicate_names(experiment: run.Experiment) -> None:
    experiment.add(echo(), name="train")
    refused(ConfigError, lambda: experiment.add(echo(), name="train"), "'train'", "name of its own")


@pytest.mark.parametrize("name", ["a/b", "../up", ".hidden", "two words", "x" * 200])
def test_a_name_that_cannot_be_a_folder(experiment: run.Experiment, name: str) -> None:
    refused(ConfigError, lambda: experiment.add(echo(), name=name), repr(name), "for example")


def test_cyclic_dependencies(experiment: run.Experiment, nothing_happens) -> None:
    for name, needs in (("a", "c"), ("b", "a"), ("c", "b"), ("apart", "a")):
        experiment.add(echo(), name=name, dependencies=[needs])
    with nothing_happens():
        error = refused(ConfigError, experiment.run, "cycle", "a -> c -> b -> a", "remove one")
    assert "apart" not in str(error)


def test_a_task_that_depends_on_itself(experiment: run.Experiment, nothing_happens) -> None:
    experiment.add(echo(), name="ouroboros", dependencies=["ouroboros"])
    with nothing_happens():
        refused(ConfigError, experiment.run, "ouroboros -> ouroboros")


def test_missing_script(experiment: run.Experiment, nothing_happens) -> None:
    experiment.add(run.Script("no-such.sh"), name="train")
    with nothing_happens():
        refused(
            ConfigError, experiment.run, "'train'", str(Path("no-such.sh").absolute()), "does not exist", "relative"
        )


def test_a_folder_for_a_script(experiment: run.Experiment, nothing_happens) -> None:
    Path("code").mkdir()
    experiment.add(run.Script("code"), name="train")
    with nothing_happens():
        refused(ConfigError, experiment.run, str(Path("code").absolute()), "is a folder")


def consume(*args: object, **kwargs: object) -> None:
    """A task that takes anything."""


def test_unserialisable_argument(experiment: run.Experiment, nothing_happens) -> None:
    with nothing_happens():

        def launch() -> None:
            experiment.add(run.Partial(consume, callbacks=["fine", {"lock": threading.Lock()}]), name="train")
            experiment.run()

        error = refused(SerializationError, launch, "callbacks[1]", "lock")
    assert isinstance(error, SerializationError)
    assert error.path.startswith("train.")


def test_a_nul_byte(experiment: run.Experiment, nothing_happens) -> None:
    experiment.add(run.Script(inline="cat", args=["a\0b"]), name="train")
    with nothing_happens():
        refused(ConfigError, experiment.run, "NUL byte")


def test_a_variable_no_shell_can_export(experiment: run.Experiment, nothing_happens) -> None:
    experiment.add(echo(), run.LocalExecutor(env_vars={"MY-VAR": "1"}), name="train")
    with nothing_happens():
        refused(ConfigError, experiment.run, "'MY-VAR'", "letters, digits and underscores")


def test_a_secret_that_is_not_set(experiment: run.Experiment, nothing_happens) -> None:
    experiment.add(echo(), run.LocalExecutor(env_vars={"HF_TOKEN": run.Secret("NOT_SET_ANYWHERE")}), name="train")
    with nothing_happens():
        refused(ConfigError, experiment.run, "NOT_SET_ANYWHERE", "export")


def test_a_secret_in_an_argument(experiment: run.Experiment, nothing_happens) -> None:
    executor = run.LocalExecutor(env_vars={"HF_TOKEN": "hf-abcdefgh"})
    experiment.add(run.Script(inline="login", args=["--token=hf-abcdefgh"]), executor, name="train")
    with nothing_happens():
        error = refused(ConfigError, experiment.run, "HF_TOKEN", "'train'", "environment")
    assert "hf-abcdefgh" not in str(error)


def test_an_unknown_launcher(experiment: run.Experiment, nothing_happens) -> None:
    experiment.add(echo(), run.LocalExecutor(launcher="torchrum"), name="train")
    with nothing_happens():
        refused(ConfigError, experiment.run, "'torchrum'", "did you mean 'torchrun'?")


@pytest.mark.parametrize(
    ("fields", "needle"),
    [
        ({"nodes": 2}, "nodes=2"),
        ({"ntasks_per_node": 0}, "ntasks_per_node=0"),
        ({"retries": -1}, "retries=-1"),
        ({"time": "soon"}, "'soon'"),
        ({"dependency_type": "afterwards"}, "'afterwards'"),
        ({"max_parallel": 0}, "max_parallel=0"),
    ],
)
def test_a_wrong_field(experiment: run.Experiment, nothing_happens, fields: dict[str, object], needle: str) -> None:
    experiment.add(echo(), run.LocalExecutor(**fields), name="train")  # type: ignore[arg-type]
    with nothing_happens():
        refused(ConfigError, experiment.run, needle)


def test_an_empty_experiment(experiment: run.Experiment, nothing_happens) -> None:
    with nothing_happens():
        refused(ConfigError, experiment.run, "'bad-input'", "exp.add")


def test_launching_twice(experiment: run.Experiment) -> None:
    experiment.add(echo(), name="train")
    experiment.run()
    refused(ConfigError, experiment.run, experiment.id, "reset()")
    refused(ConfigError, lambda: experiment.add(echo()), experiment.id, "reset()")
    again = run.Experiment.from_id(experiment.id)
    refused(ConfigError, again.run, experiment.id, "reset()")


def test_no_task(experiment: run.Experiment) -> None:
    refused(ConfigError, lambda: experiment.add("train.sh"), "'train.sh'", "run.Script")
    refused(ConfigError, lambda: experiment.add([]), "empty")
    refused(ConfigError, lambda: run.Script("a", inline="b"), "both path and inline")
    refused(ConfigError, lambda: run.Experiment("  "), "title")


def test_an_id_of_ones_own_must_be_free(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "own-id"))
    exp = run.Experiment("mine", id="mine-7")
    exp.add(run.Script(inline="true"), name="a")
    assert "mine-7" in exp.dryrun(log=False)
    exp.run()
    assert run.Experiment.catalog() == ["mine-7"]
    again = run.Experiment("mine", id="mine-7")
    again.add(run.Script(inline="true"))
    with pytest.raises(StoreError, match="mine-7 exists already") as caught:
        again.run()
    assert "from_id" in caught.value.hint
