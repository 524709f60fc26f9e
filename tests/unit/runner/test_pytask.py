from __future__ import annotations

import ast
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runyard.runner import pytask, redact

from .conftest import PLAIN, SRC

LAUNCH = "if __name__ == '__main__':\n    from shipping import ship\n    import runyard.config as run\n"


@pytest.mark.parametrize("module", [pytask, redact])
def test_the_travelling_files_are_old_enough_python_and_need_only_the_standard_library(module):
    tree = ast.parse(Path(module.__file__).read_text(), feature_version=(3, 8))
    imported = {
        name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    imported |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= sys.stdlib_module_names


def test_a_task_from_a_module_runs_on_every_python(project, python):
    project.write(
        mods="import dataclasses, pathlib\n"
        "@dataclasses.dataclass\n"
        "class Opt:\n    lr: float\n    out: pathlib.Path\n"
        "def train(a, b, *, same):\n    print(a.lr, a.out.name, b, same is a)\n    return 17\n",
        launch="import mods, pathlib\n" + LAUNCH + "    a = run.Config(mods.Opt, 0.5, pathlib.Path('/x/y'))\n"
        "    ship(run.Partial(mods.train, a, b={'$k': (1, {2})}, same=a))\n",
    )
    project.launch()
    done = project.run(python)
    assert (done.stdout, done.stderr, done.returncode) == ("0.5 y {'$k': (1, {2})} True\n", "", 0)


def test_functions_and_classes_of_the_launching_script_run_by_name(project, python):
    project.write(
        launch="from __future__ import annotations\nimport dataclasses, enum, pickle\n"
        "class Kind(enum.Enum):\n    A = 1\n"
        "@dataclasses.dataclass\nclass Opt:\n    kind: Kind\n"
        "def train(opt):\n"
        "    import sys\n"
        "    assert pickle.loads(pickle.dumps(opt)) == opt\n"
        "    print(opt.kind is Kind.A, isinstance(opt, Opt), __name__, sys.argv[0][-9:], sys.path[0][-4:])\n"
        + LAUNCH
        + "    ship(run.Partial(train, Opt(Kind.A)))\n"
    )
    project.launch()
    done = project.run(python)
    assert (done.stdout, done.stderr) == (
        "True True __runyard_main__ launch.py code\n",
        "",
    )


def test_a_package_run_with_m_keeps_its_relative_imports(project):
    package = project.code / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "other.py").write_text("WORD = 'relative'\n")
    (package / "__main__.py").write_text(
        "from .other import WORD\ndef train():\n    print(WORD)\n" + LAUNCH + "    ship(run.Partial(train))\n"
    )
    project.launch("-m pkg", main="pkg/__main__.py")
    assert project.run().stdout == "relative\n"


def test_functions_by_value_from_stdin_and_nested(project):
    project.launch(
        stdin="from shipping import ship\nimport math\nk = 3\ndef f(x):\n    print(math.floor(x * k))\n"
        "def outer():\n    return lambda: f(1.5)\nship(outer())\n"
    )
    assert (project.job / "call.pkl").exists()
    assert project.run().stdout == "4\n"


def test_another_minor_version_cannot_run_functions_by_value(project):
    others = other_pythons()
    if not others:
        pytest.skip("no Python of another minor version here")
    project.launch(stdin="from shipping import ship\nship(lambda: print(1))\n")
    done = project.run(others[0])
    assert done.returncode == 2
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"pickled by Python {here}, and the job runs Python 3." in done.stderr
    assert "Traceback" not in done.stderr


def other_pythons() -> list[str]:
    return [
        str(p)
        for p in Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python3")
        if "3.11" not in str(p) and not any(old in str(p) for old in ("3.6", "3.7"))
    ]


def test_a_script_that_launches_unguarded_runs_its_function_once(project, python):
    project.write(
        launch="import runyard as run, sys\n"
        "def train():\n    print('trained')\n"
        "if 'shipping' in sys.modules or __name__ == '__main__':\n"
        "    from shipping import ship\n    from runyard.config import Partial\n    ship(Partial(train))\n"
        "else:\n    run.run(run.Partial(train), executor=run.LocalExecutor())\n"
        "raise SystemError('never reached in the job')\n"
    )
    with pytest.raises(subprocess.CalledProcessError):  # the script's own SystemError, after shipping
        project.launch()
    assert project.run(python).stdout == "trained\n"


@pytest.mark.parametrize(
    "launch",
    [
        "run.run(train)",
        "run.cli.main(train)",
        "with run.Experiment('x') as exp:\n    exp.add(train, executor=run.LocalExecutor())\n    exp.run()",
    ],
)
def test_every_way_to_launch_is_refused_by_the_inert_runyard(project, launch):
    project.write(script=f"import runyard as run\ndef train():\n    print('ran')\n{launch}\n")
    write_call(project, {"$call": "__main__:train"}, main="script.py")
    assert project.run().stdout == "ran\n"


def write_call(project, task, main=None, **more):
    task = {"args": [], "kwargs": {}, **task}
    call = {"version": 1, "python": "3.11", "main": main, "path": [], "task": task, **more}
    (project.job / "call.json").write_text(json.dumps(call))


def test_a_name_that_the_loaded_script_lacks_is_explained(project):
    project.write(script="import runyard as run\nrun.run(1)\ndef train():\n    pass\n")
    write_call(project, {"$call": "__main__:train"}, main="script.py")
    done = project.run()
    assert done.returncode == 2
    assert "'train' is not defined in" in done.stderr
    assert "above the launch" in done.stderr


def test_a_script_that_exits_when_loaded_is_explained(project):
    project.write(
        script="import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', required=True)\n"
        "p.parse_args()\ndef train():\n    pass\n"
    )
    write_call(project, {"$call": "__main__:train"}, main="script.py")
    done = project.run()
    assert done.returncode == 2
    assert "ended the process (exit 2)" in done.stderr


INERT = """
from __future__ import annotations
import dataclasses
from typing import Optional
import runyard as run
import runyard.config
from runyard.executors import SlurmExecutor
from runyard import Config

@run.autoconvert
def model() -> run.Config[int]:
    return 3

@run.autoconvert(partial=True)
def other(x):
    return x

@run.cli.entrypoint(namespace="x", skip_confirmation=True)
def train(lr: float = 0.1, cfg: Optional[run.Partial] = None, e: run.Executor | None = None):
    with run.lazy_imports():
        import json
    assert model() == 3 and other(4) == 4 and json.dumps(1) == "1"
    try:
        raise ValueError("x")
    except run.RunyardError:
        raise SystemExit(9)
    except ValueError:
        print("inert", lr)

@dataclasses.dataclass
class Mine(run.Plugin):
    rank: int = 0
    def setup(self, task, executor):
        executor.env_vars["x"] = 1

class Exec(SlurmExecutor, run.ConfigurableMixin):
    pass

plugin = Mine(rank=3)
plugin.setup(None, Exec(1, b=2))
assert plugin.rank == 3 and isinstance(plugin, run.Plugin) and isinstance(plugin, Mine)
executor = run.LocalExecutor(ntasks_per_node=2)
executor.packager = run.GitArchivePackager(subpath="x")
executor.launcher.something = 3
for item in executor.clone().things():
    pass
task = run.Partial(train, lr=0.2)
task.trainer.lr = 4
"""


def test_the_inert_runyard_lets_modules_load(project, python):
    project.write(mods=INERT)
    write_call(project, {"$call": "mods:train", "kwargs": {"lr": 0.5}})
    done = project.run(python)
    assert (done.stdout, done.stderr) == ("inert 0.5\n", "")


def test_launching_from_the_function_itself_fails_clearly(project):
    project.write(mods="import runyard as run\ndef train():\n    run.run(train)\n")
    write_call(project, {"$call": "mods:train"})
    done = project.run()
    assert done.returncode == 1
    assert "launching is refused" in done.stderr


def test_tracebacks_show_only_the_users_frames(project, python):
    project.write(mods="def train():\n    inner()\ndef inner():\n    raise ValueError('boom')\n")
    write_call(project, {"$call": "mods:train"})
    done = project.run(python)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n  File")
    assert "pytask.py" not in done.stderr
    assert done.stderr.endswith("ValueError: boom\n")


def test_an_error_while_building_says_where(project):
    project.write(mods="class Opt:\n    def __init__(self, lr):\n        1 / lr\ndef train(a):\n    pass\n")
    bad = {"$call": "mods:Opt", "args": [], "kwargs": {"lr": 0}}
    write_call(project, {"$call": "mods:train", "kwargs": {"a": {"deep": [bad]}}})
    done = project.run()
    assert "ZeroDivisionError" in done.stderr
    assert "while building task.a['deep'][0]" in done.stderr


@pytest.mark.parametrize(("code", "expected"), [("0", 0), ("7", 7), ("None", 0), ("'words'", 1)])
def test_system_exit_is_honoured(project, code, expected):
    project.write(mods=f"def train():\n    raise SystemExit({code})\n")
    write_call(project, {"$call": "mods:train"})
    done = project.run()
    assert done.returncode == expected
    assert ("words" in done.stderr) == (expected == 1)


def test_a_missing_module_is_a_traceback_and_a_hint(project):
    write_call(project, {"$call": "no_such_module:train"})
    done = project.run()
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'no_such_module'" in done.stderr
    assert "sys.path: [" in done.stderr
    assert "packager" in done.stderr


def test_a_damaged_call_is_explained(project):
    for text in ("", "[]", "{}", '{"version": 99}'):
        (project.job / "call.json").write_text(text)
        done = project.run()
        assert done.returncode == 2
        assert done.stderr.startswith("runyard: ")


def test_exit_handlers_and_threads_behave_like_a_script(project):
    project.write(
        mods="import atexit, threading, time\n"
        "said = threading.Event()\n"
        "def late():\n    said.wait()\n    time.sleep(0.3)\n    print('thread')\n"
        "def train():\n    atexit.register(print, 'atexit')\n    threading.Thread(target=late).start()\n"
        "    print('main')\n    said.set()\n"
    )
    write_call(project, {"$call": "mods:train"})
    assert project.run().stdout == "main\nthread\natexit\n"


def test_signals_end_the_process_as_usual(project):
    project.write(mods="import time\ndef train():\n    print('up')\n    time.sleep(60)\n")
    write_call(project, {"$call": "mods:train"})
    for number in (signal.SIGTERM, signal.SIGINT):
        command = [PLAIN, "-u", pytask.__file__, str(project.job / "call.json")]
        child = subprocess.Popen(command, cwd=project.code, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        child.send_signal(number)
        child.communicate(timeout=60)
        assert child.returncode == -number


def test_output_comes_at_once_even_without_u(project):
    project.write(mods="import time\ndef train():\n    print('now')\n    time.sleep(60)\n")
    write_call(project, {"$call": "mods:train"})
    command = [PLAIN, pytask.__file__, str(project.job / "call.json")]
    with subprocess.Popen(command, cwd=project.code, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "now\n"
        child.kill()


SPAWN = """
import multiprocessing, os
from dataclasses import dataclass

@dataclass
class Item:
    n: int

def square(item):
    assert os.environ.get("RUNYARD_LOADING") is None
    return Item(item.n ** 2)

def grandchild(n):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(square, [Item(n)])[0].n

def train(method):
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        print([item.n for item in pool.map(square, [Item(i) for i in range(4)])])
    process = context.Process(target=hello, args=(Item(5),))
    process.start()
    process.join()
    if method == "spawn":
        print(grandchild(3))

def hello(item):
    print("hello", item.n, multiprocessing.current_process().name != "MainProcess")
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing_with_workers_of_the_launching_script(project, python, method):
    project.write(launch=SPAWN + LAUNCH + f"    ship(run.Partial(train, {method!r}))\n")
    project.launch()
    done = project.run(python)
    assert done.stdout.splitlines()[:2] == ["[0, 1, 4, 9]", "hello 5 True"], done.stderr
    assert done.stdout.splitlines()[2:] == (["9"] if method == "spawn" else [])


def test_spawned_workers_of_an_unguarded_script(project):
    unguarded = "import runyard as run\n" + SPAWN + "run.run(run.Partial(train))\n"
    project.write(script=unguarded)
    write_call(project, {"$call": "__main__:train", "args": ["spawn"]}, main="script.py")
    done = project.run()
    assert done.stdout.splitlines() == ["[0, 1, 4, 9]", "hello 5 True", "9"], done.stderr


def test_nothing_is_written_next_to_the_call_and_ranks_can_share_it(project):
    project.write(mods="import os\ndef train():\n    print(os.environ['RANK'])\n")
    write_call(project, {"$call": "mods:train"})
    before = sorted(project.job.rglob("*"))
    assert [project.run(RANK=str(rank)).stdout for rank in range(2)] == ["0\n", "1\n"]
    assert sorted(project.job.rglob("*")) == before


def test_search_path_order(project):
    sub = project.code / "scripts"
    sub.mkdir()
    (project.code / "extra").mkdir()
    (sub / "s.py").write_text("import sys, os\ndef train():\n    print([os.path.basename(p) for p in sys.path[:3]])\n")
    write_call(project, {"$call": "__main__:train"}, main="scripts/s.py", path=["extra"])
    assert project.run().stdout == "['scripts', 'code', 'extra']\n"


def test_other_cloudpickles_take_the_script_by_value(project):
    """ray's and joblib's workers elsewhere cannot import the launching script."""
    package = project.code / "ray_like" / "cloudpickle"
    package.mkdir(parents=True)
    (project.code / "ray_like" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("from ray_like.cloudpickle.cloudpickle import *\n")
    import cloudpickle.cloudpickle as real

    (package / "cloudpickle.py").write_text(Path(real.__file__).read_text())
    project.write(
        script="def f():\n    return 3\ndef train():\n    from ray_like.cloudpickle import dumps\n"
        "    print(b'__runyard_main__' in dumps(f), len(dumps(f)) > 200)\n"
    )
    write_call(project, {"$call": "__main__:train"}, main="script.py")
    done = project.run()
    assert done.stdout.endswith("True\n"), done.stderr


def test_autoconvert_builds_in_the_job_even_with_runyard_installed(project):
    project.write(
        mods="import runyard.config as run\n@run.autoconvert\ndef num() -> int:\n    return complex(1, 2)\n"
        "def train(x):\n    print(x, run.__file__.endswith('.py'))\n"
    )
    write_call(project, {"$call": "mods:train", "args": [{"$call": "mods:num"}]})
    assert project.run(sys.executable, PYTHONPATH=SRC).stdout == "(1+2j) True\n"


def test_an_unguarded_script_runs_once_with_the_real_runyard_too(project):
    project.write(script="import runyard as run\ndef train():\n    print('ran')\nrun.run(run.Partial(train))\n")
    write_call(project, {"$call": "__main__:train"}, main="script.py")
    done = project.run(sys.executable, PYTHONPATH=SRC)
    assert (done.stdout, done.stderr) == ("ran\n", "")
