"""Scripts with ``run.cli.main``, run as people run them: real processes, real local jobs."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

import processes
from runyard.store import records
from runyard.store.db import Database

TRAIN = '''
from dataclasses import dataclass
from typing import List
import runyard as run

@dataclass
class Model:
    hidden: int
    act: str = "relu"

@dataclass
class Optimizer:
    lr: float = 0.1
    betas: tuple = (0.9, 0.999)

@run.cli.factory
@run.autoconvert
def my_model(hidden: int = 256) -> Model:
    """A model.

    More on it."""
    return Model(hidden=hidden)

@run.cli.factory
@run.autoconvert
def loud() -> run.Executor:
    return run.LocalExecutor(env_vars={"GREETING": "hello"})

@run.cli.entrypoint
def train(model: Model = my_model(), optimizer: Optimizer = Optimizer(), epochs: int = 10, fail: int = 0):
    """Train a model.

    Args:
        epochs: How long.
    """
    import os, sys
    print(model, optimizer, epochs, os.environ.get("GREETING"), flush=True)
    sys.exit(fail)

@run.cli.factory(target=train)
def recipe(hidden: int = 3) -> run.Partial:
    return run.Partial(train, model=my_model(hidden), epochs=2)
'''
MAIN = '\nif __name__ == "__main__":\n    run.cli.main(train)\n'


def experiment(kind: str, parameters: str, body: str) -> str:
    """Return a script whose entrypoint is an experiment of some kind."""
    head = f'@run.cli.entrypoint(type="{kind}", skip_confirmation=True)\ndef study({parameters}):\n'
    return f"{TRAIN}\n{head}{body}\nrun.cli.main(study)\n"


class Scripts:
    """Writes scripts into a folder and runs them there, with records of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.env = processes.environment(self.home, COLUMNS="110")

    def write(self, text: str, name: str = "train.py") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def __call__(self, *args: str, code: int = 0, stdin: str = "", script: str = "train.py", **env: str):
        done = subprocess.run(
            [sys.executable, script, *args],
            cwd=self.folder,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=60,
            input=stdin,
            check=False,
        )
        assert done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def count(self) -> int:
        """Return how many experiments are recorded."""
        if not (self.home / "runyard.db").exists():
            return 0
        with Database(self.home) as db:
            return records.count(db)


@pytest.fixture
def scripts(tmp_path):
    return Scripts(tmp_path)


@pytest.fixture
def train(scripts):
    scripts.write(TRAIN + MAIN)
    return scripts


def test_a_task_runs_as_a_job_with_what_was_written(train):
    words = ["model=my_model(hidden=4)", "model.hidden*=2", "model.act='x y'", "optimizer.lr/=10", "executor=loud"]
    done = train(*words, "--yes", "epochs=3", "--name", "fit")
    assert done.stdout == "Model(hidden=8, act='x y') Optimizer(lr=0.01, betas=(0.9, 0.999)) 3 hello\n"
    assert "fit * succeeded" in done.stderr
    assert train.count() == 1


def test_the_exit_code_is_the_tasks_own(train):
    assert "task 'train' failed: exit code 3" in train("fail=3", "--yes", code=3).stderr
    assert train("fail=4", "--yes", "--direct", code=4).stdout.startswith("Model(hidden=256")


def test_a_factory_a_file_and_an_export_give_the_same(train):
    train("-f", "recipe(hidden=7)", "optimizer.betas=(0.1, 0.2)", "--to-yaml=c.yaml", "--to-toml=c.toml")
    exported = train("-f", "recipe(hidden=7)", "optimizer.betas=(0.1, 0.2)", "--to-json", "-").stdout
    (train.folder / "c.json").write_text(exported)
    assert train.count() == 0
    out = {
        train(*option, "--direct", "--yes").stdout
        for option in (["-y", "c.yaml"], ["-l", "c.toml"], ["--load", "c.json"], ["-f", "@c.yaml"])
    }
    assert out == {"Model(hidden=7, act='relu') Optimizer(lr=0.1, betas=(0.1, 0.2)) 2 None\n"}
    (train.folder / "args.yaml").write_text("model: {hidden: 5}\nepochs: 1e1\nrun: {direct: true}\n")
    assert train("-y", "args.yaml", "--yes").stdout.startswith("Model(hidden=5, act='relu')")
    assert train.count() == 0


def test_help_names_arguments_types_defaults_and_where_factories_are(train):
    shown = train("--help").stdout
    for line in (
        "Usage: train.py [OPTIONS] [ARGUMENT=VALUE]...",
        "Train a model.",
        "  model: Model              [default: Model]",
        "    model.hidden: int       [default: 256]",
        "    optimizer.lr: float     [default: 0.1]",
        "  epochs: int               How long.  [default: 10]",
        "  recipe  __main__.recipe, train.py:40",
        "Factories for model:",
        "  my_model  __main__.my_model, train.py:16  A model.",
        "-y, --yaml FILE ",
        "  --yes, --no-confirm ",
    ):
        assert line in shown, f"{line!r} is not in\n{shown}"
    assert re.search(r"^  loud +__main__\.loud, train\.py:24$", shown, re.M), shown  # as wide as the longest executor


def test_help_imports_neither_fiddle_nor_pydantic(scripts):
    text = "import atexit, sys\nimport runyard as run\ndef train(epochs: int = 1, note: str | None = None): ...\n"
    text += "atexit.register(lambda: print({'fiddle', 'pydantic', 'rich', 'yaml', 'omegaconf'} & set(sys.modules)))\n"
    scripts.write(text + "run.cli.main(train)\n")
    assert scripts("--help").stdout.endswith("set()\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["epocks=5"], "epocks=5: train takes no argument 'epocks'\n  -> did you mean 'epochs'? it takes: model"),
        (["epochs=ten"], "error: epochs=ten: 'ten' is no int\n"),
        (
            ["-f", "recip"],
            "--factory recip: train has no factory 'recip'\n  -> did you mean 'recipe'? it has: recipe",
        ),
        (["--epochs", "5"], "No such option: --epochs. Arguments have no dashes: epochs=VALUE\n  -> train.py --help"),
        (["-y"], "Option '-y' requires an argument. It is --yaml FILE; --yes launches without asking.\n"),
    ],
)
def test_what_is_refused_ends_with_2_and_no_traceback(train, args, message):
    done = train(*args, "--yes", code=2) if args != ["-y"] else train(*args, code=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert train.count() == 0


def test_without_a_terminal_it_says_what_to_do(train):
    said = train("epochs=3", code=2).stderr
    assert "epochs     3\n" in said
    assert "executor   local (default)\n" in said
    assert "train was not launched: there is no terminal" in said
    assert "add --yes to launch without asking, or --dryrun" in said
    assert train.count() == 0


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_the_question(train, answer, code):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "train.py", "--direct"],
        cwd=train.folder,
        env=train.env,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    out, said = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == code
    assert "Continue? [y/N]" in said
    assert out.startswith("Model(") == (answer == "y")


def test_a_shell_changes_the_task_before_it_is_launched(train):
    done = train("--repl", "--direct", "--yes", stdin="task.model.hidden = 77\ntask.epochs = 1\nexit()\n")
    assert "Model(hidden=77, act='relu') Optimizer(lr=0.1, betas=(0.9, 0.999)) 1 None\n" in done.stdout
    assert "leave a run.Partial in it" in train("--repl", "--yes", code=2, stdin="task = 3\n").stderr


def test_a_dry_run_shows_the_script_and_launches_nothing(train):
    done = train("--dryrun", "epochs=4")
    assert "call.json" in done.stdout
    assert "epochs     4" in done.stderr
    assert train.count() == 0


def test_it_runs_detached(train):
    done = train("--detach", "--yes", "--name=away")
    assert re.fullmatch(r"away_\d+\n", done.stdout)
    assert f"runyard experiment status {done.stdout}" in done.stderr
    processes.until(lambda: not processes.controllers(train.home), "the end of the controller")
    with Database(train.home) as db:
        (row,) = records.experiments(db)
        assert [str(job.status.state) for job in records.jobs(db, row.id)] == ["SUCCEEDED"]


def test_a_script_without_guard_in_a_python_without_runyard(scripts):
    scripts.write(TRAIN + "run.cli.main(train)\nprint('after the launch')\n")
    base = Path(sys.base_prefix, "bin", "python3")
    found = subprocess.run([base, "-c", "import runyard"], capture_output=True, check=False, cwd="/")
    if found.returncode == 0:
        pytest.skip("the base interpreter has runyard")
    done = scripts("epochs=1", f"executor.python={base}", "--yes")
    assert (
        done.stdout == "Model(hidden=256, act='relu') Optimizer(lr=0.1, betas=(0.9, 0.999)) 1 None\nafter the launch\n"
    )


def test_lazily_everything_is_resolved_in_the_job(scripts):
    (scripts.folder / "site").mkdir()
    (scripts.folder / "site" / "heavy.py").write_text("def size(): return 42\n")
    scripts.write("""
import runyard as run
with run.lazy_imports(fallback_to_lazy=True):
    import heavy

@run.cli.entrypoint
def train(size: int = 1, epochs: int = 2):
    print("size", size, "epochs", epochs, "heavy", heavy.size())

run.cli.main(train)
""")
    words = ["--lazy", "--yes", "size*=3", f"executor.env_vars.PYTHONPATH={scripts.folder / 'site'}"]
    assert scripts(*words).stdout == "size 3 epochs 2 heavy 42\n"
    assert "did you mean 'size'?" in scripts("--lazy", "--yes", "sise=3", code=2).stderr


def test_an_experiment_launches_what_it_adds(scripts):
    body = """
    with run.Experiment("study") as exp:
        for i, model in enumerate(models):
            exp.add(run.Partial(train, model=model, epochs=epochs), name=f"m{i}", executor=ctx.executor)
        ctx.launch(exp, sequential=sequential)
"""
    parameters = "ctx: run.cli.RunContext, models: List[Model] = [my_model(), my_model(2)], epochs: int = 1, "
    scripts.write(experiment(kind="experiment", parameters=parameters + "sequential: bool = False", body=body))
    words = ["models[0].hidden=9", "models+=[my_model(hidden=3)]", "epochs=5", "ctx.executor=loud", "sequential=true"]
    done = scripts(*words, "--tail-logs")
    for i, hidden in enumerate((9, 2, 3)):
        assert f"Model(hidden={hidden}, act='relu') Optimizer(lr=0.1, betas=(0.9, 0.999)) 5 hello" in done.stdout
        assert f"m{i}" in done.stderr
    assert scripts.count() == 1
    assert scripts("--dryrun").stdout.count("call.json") >= 2
    assert scripts.count() == 1


def test_a_dry_run_of_an_experiment_that_launches_by_itself_launches_nothing(scripts):
    body = """
    with run.Experiment("study") as exp:
        exp.add(run.Script(inline="echo launched"))
        exp.run()
    run.run(run.Script(inline="echo launched"))
"""
    scripts.write(experiment(kind="experiment", parameters="", body=body))
    assert scripts("--dryrun").stdout.count("nothing is submitted") == 2
    assert scripts.count() == 0


@pytest.mark.parametrize("kind", ["sequential_experiment", "parallel_experiment"])
@pytest.mark.parametrize(
    ("parameters", "body"),
    [
        ("first: run.Partial[train] = recipe(1), second: run.Partial[train] = recipe(2)", "    pass"),
        ("count: int = 2", "    return [recipe(i + 1) for i in range(count)]"),
        ("ctx: run.cli.RunContext", "    ctx.add(recipe(1), name='first')\n    ctx.add(recipe(2))"),
    ],
)
def test_tasks_that_are_named_are_launched(scripts, kind, parameters, body):
    scripts.write(experiment(kind=kind, parameters=parameters, body=body))
    shown = scripts("--dryrun").stdout
    assert shown.count("call.json") >= 2
    assert ("# after: " in shown) == (kind == "sequential_experiment"), shown


def test_an_experiment_that_names_nothing_says_so(scripts):
    scripts.write(experiment(kind="sequential_experiment", parameters="", body="    pass"))
    assert "study gave nothing to run\n  -> return a list of tasks" in scripts(code=2).stderr


def test_several_entrypoints_in_one_program(scripts):
    scripts.write(
        TRAIN + '\nrun.cli.entrypoint(lambda x=1: print(x), name="show", namespace="tools.x")\n'
        'run.cli.create_cli("mytool", help="All of it.")()\n'
    )
    assert "All of it." in scripts("--help").stdout
    assert scripts("train", "epochs=1", "--direct", "--yes").stdout.startswith("Model(")
    assert scripts("tools", "x", "show", "x=5", "--direct", "--yes").stdout == "5\n"
    assert "Did you mean 'train'?" in scripts("trian", code=2).stderr
    assert scripts("train", "--lazy", "epochs=9", "--yes").stdout.endswith(" 9 None\n")
    page = scripts("--help").stdout
    assert re.search(r"^  tools +x$", page, re.MULTILINE), page  # a namespace says what is in it
    assert re.search(r"^  experiment +Look at", page, re.MULTILINE), page
    assert [row["title"] for row in json.loads(scripts("experiment", "list", "--json").stdout)] == ["train"]


def test_entrypoints_of_an_installed_package_are_commands_of_runyard(scripts):
    site = scripts.folder / "site"
    info = site / "zoo-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[runyard.commands]\nfit = zoo:train\nzoo = zoo\n")
    (site / "zoo.py").write_text('"""All animals."""\n' + TRAIN)
    env = {"PYTHONPATH": str(site)}
    scripts.write("from runyard.__main__ import main\nmain()\n", "runyard_.py")
    assert "(from zoo)" in scripts("--help", script="runyard_.py", **env).stdout
    out = scripts("fit", "epochs=3", "--yes", script="runyard_.py", **env).stdout
    assert out.startswith("Model(hidden=256, act='relu')")
    assert "All animals." in scripts("zoo", "--help", script="runyard_.py", **env).stdout
    out = scripts("zoo", "train", "model=zoo.my_model(2)", "--direct", "--yes", script="runyard_.py", **env).stdout
    assert out.startswith("Model(hidden=2, act='relu')")
    assert "epocks=3: train takes no argument" in scripts("fit", "epocks=3", code=2, script="runyard_.py", **env).stderr


def test_verbose_and_coloured_tracebacks(train):
    assert "Traceback" in train("epochs=ten", "-v", code=2).stderr
    train.write(TRAIN.replace("sys.exit(fail)", "raise ValueError('boom')") + MAIN)
    plain = train("--direct", "--yes", code=1).stderr
    rich = train("--direct", "--yes", "--rich-exceptions", "--rich-theme", "monochrome", code=1).stderr
    assert "ValueError: boom" in plain
    assert "ValueError: boom" in rich
    assert "─" in rich
    assert "─" not in plain
