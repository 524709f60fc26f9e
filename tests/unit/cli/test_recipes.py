"""``runyard run train.py``, and programs made with ``run.cli.App``: real processes in a real project."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

BLOCK = """\
# /// script
# [tool.runspec]
# name = "nano3/pretrain"
# image = "nvcr.io/nvidia/nemo:25.11"
#
# [tool.runspec.run]
# launch = "{launch}"
#
# [tool.runspec.config]
# dir = "./config"
# default = "default"
#
# [tool.runspec.resources]
# nodes = 2
# gpus_per_node = 4
# ///
"""
TRAIN = '''"""Pretrain it.

At length.
"""
import os, pathlib, sys, time
config = pathlib.Path(sys.argv[sys.argv.index("--config") + 1])
print(config.name, sys.argv[3:], flush=True)
print(config.read_text(), flush=True)
print("both", sorted(p.name for p in config.parent.glob("*.yaml")), "token", bool(os.environ.get("MY_TOKEN")))
time.sleep(float(os.environ.get("PAUSE", 0)))
sys.exit(int(os.environ.get("CODE", 0)))
'''
PROFILES = """
[laptop]
executor = "local"

[YOUR-CLUSTER]
executor = "slurm"
account = "YOUR-ACCOUNT"
partition = "batch"
run_partition = "interactive"
batch_partition = "backfill"
nodes = 2
ntasks_per_node = 8
gpus_per_node = 8
mounts = ["/lustre:/lustre"]
tunnel = "ssh"
host = "nowhere.invalid"
user = "username"
remote_job_dir = "/lustre/runs"
"""
TOOL = """
import runyard as run

app = run.cli.App("nemotron", help="Recipes.")
nano3 = app.group("nano3", help="The small one.")
nano3.recipe("recipes/pretrain.py")
nano3.recipe("recipes/torch.py", name="sft", help="Tune it.")
nano3.recipe("recipes/rl.py")
nano3.group("data", help="Data.").group("prep").recipe("recipes/pretrain.py")
nano3.recipe("recipes/gone.py")
app.group("empty")


@app.command
@run.cli.entrypoint
def hello(n: int = 1):
    print("hello", n)


if __name__ == "__main__":
    app()
"""


@pytest.fixture
def project(cli: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git project with recipes, configs, profiles and a tool."""
    folder: Path = cli.cwd
    files = {
        "recipes/pretrain.py": BLOCK.format(launch="direct") + TRAIN,
        "recipes/torch.py": BLOCK.format(launch="torchrun") + TRAIN,
        "recipes/rl.py": BLOCK.format(launch="ray") + TRAIN,
        "recipes/slip.py": "# /// script\n# [tool.runspec]\n# run.cmd = 'python {script} {confg}'\n# ///\n",
        "recipes/config/default.yaml": "train: {train_iters: 10, lr: 1e-4}\nname: a-${train.train_iters}\n",
        "recipes/config/tiny.yaml": "defaults: default\ntrain: {train_iters: 2}\nrun: {mounts: ['/c:/c']}\n",
        "plain.py": "import sys; print(sys.argv[1:])",
        "env.toml": PROFILES,
        "tool.py": TOOL,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    cli.env |= {"XDG_CONFIG_HOME": str(folder / "none"), "HF_HOME": str(folder / "none")}
    for name in ("HF_TOKEN", "WANDB_API_KEY", "MY_TOKEN", "NO_COLOR"):
        cli.env.pop(name, None)
    me = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*me, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=folder, check=True, timeout=60)
    return folder


def tool(cli: Any, *args: str, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "tool.py", *args], cwd=cli.cwd, env=cli.env | env,
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def listing(*folders: Path) -> dict[str, tuple[int, int]]:
    return {
        str(p): (p.stat().st_mtime_ns if p.is_file() else 0, p.stat().st_size if p.is_file() else 0)
        for folder in folders
        for p in folder.rglob("*")
    }


def parts(text: str) -> dict[str, str]:
    """Return the files that a dry-run shows."""
    found = {}
    for part in text.split("\n# file: ")[1:]:
        path, _, rest = part.partition("\n")
        found[path.rpartition("/")[2]] = rest
    return found


def task_folder(cli: Any) -> Path:
    (found,) = cli.home.glob("experiments/*/*/*/task.yaml")
    return found.parent


def test_a_recipe_runs_here_with_its_config_and_ends_with_its_code(cli: Any, project: Path) -> None:
    done = cli(
        "run",
        "train.train_iters=7",
        "recipes/pretrain.py",
        "-q",
        "-c",
        "tiny",
        "new=[a,1]",
        "--",
        "--x",
        code=3,
        CODE="3",
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "train.yaml ['--x']"
    assert lines[-1] == "both ['executor.yaml', 'job.yaml', 'task.yaml', 'train.yaml'] token False"
    train = yaml.safe_load("\n".join(lines[1:-1]))
    assert train == {"train": {"train_iters": 7, "lr": 0.0001}, "name": "a-7", "new": ["a", 1]}
    assert "asks for the image nvcr.io/nvidia/nemo:25.11; LocalExecutor runs it without" in done.stderr
    assert "asks for 2 nodes" in done.stderr
    assert "has no run.mounts" in done.stderr
    job = yaml.safe_load((task_folder(cli) / "job.yaml").read_text())
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True, check=True).stdout
    assert (job["code"]["commit"], job["code"]["dirty"]) == (head.strip(), False)
    assert job["recipe"]["block"]["resources"] == {"nodes": 2, "gpus_per_node": 4}
    assert [Path(p).name for p in job["config"]["files"]] == ["default.yaml", "tiny.yaml"]
    assert job["config"]["overrides"] == ["train.train_iters=7", "new=[a,1]"]
    assert job["config"]["resolved"]["run"] == {"mounts": ["/c:/c"]}
    assert job["command"][:3] == ["runyard", "run", "train.train_iters=7"]
    assert job["title"] == "nano3/pretrain"
    assert str(job["id"]).startswith("nano3-pretrain_")


def test_a_rerun_has_the_same_config(cli: Any, project: Path) -> None:
    cli("run", "-q", "recipes/pretrain.py", "-c", "tiny")
    (project / "recipes/config/default.yaml").write_text("changed: true\n")
    done = cli("experiment", "rerun", "nano3/pretrain")
    assert "train_iters: 2" in done.stdout
    assert "changed" not in done.stdout


def test_options_stand_anywhere_and_what_follows_the_dashes_is_the_scripts(cli: Any, project: Path) -> None:
    done = cli("run", "-q", "plain.py", "--env", "A=1", "a.b=c", "--name", "x", "--", "-q", "run.nodes=3", "d=e")
    assert done.stdout == "['a.b=c', '-q', 'run.nodes=3', 'd=e']\n"
    assert cli("run", "-q", "--", "python", "plain.py", "-c", "tiny").stdout == "['-c', 'tiny']\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recipes/pretrian.py"], "did you mean recipes/pretrain.py"),
        (["recipes.py"], "the script recipes.py does not exist"),
        (["recipes/pretrain.py", "-c", "tiyn"], "did you mean 'tiny'? there are: default, tiny"),
        (["recipes/pretrain.py", "--lr", "1"], "after --"),
        (["recipes/pretrain.py", "--dry-rnu"], "--dry-run"),
        (["recipes/pretrain.py", "data"], "a config is -c NAME"),
        (["recipes/pretrain.py", "-c"], "-> runyard run --help"),
        (["recipes/pretrain.py", "-c", ""], "'-c': it names nothing. Is a variable not set?"),
        (["recipes/pretrain.py", "--run", ""], "'--run': it names nothing"),
        (["recipes/pretrain.py", "~train.lrr"], "did you mean 'lr'"),
        (["recipes/pretrain.py", "--run", "a", "--batch", "b"], "contradict"),
        (["recipes/pretrain.py", "--run", "YOUR-CLUSTR"], "did you mean 'YOUR-CLUSTER'"),
        (["recipes/pretrain.py", "--run", "YOUR-CLUSTER", "run.ndoes=1"], "did you mean 'nodes'"),
        (["recipes/pretrain.py", "--run", "laptop", "--executor", "local"], "--executor"),
        (["recipes/pretrain.py", "run.nodes=8"], "this machine is one node"),
        (["recipes/pretrain.py", "hub.api_key=sk-0123456789abcdef"], "holds a secret"),
        (["recipes/pretrain.py", "x=${oc.env:NOT_TOKEN}"], "NOT_TOKEN is not set"),
        (["recipes/rl.py"], "starts no Ray clusters yet"),
        (
            ["recipes/slip.py"],
            "slip.py: cmd: {confg} stands for nothing\n  -> {script} and {config} do; for the text {confg} itself",
        ),
        (["-c", "tiny", "--", "true"], "-c names the config of a script"),
    ],
)
def test_mistakes_are_told_and_nothing_is_recorded(cli: Any, project: Path, words: list[str], said: str) -> None:
    done = cli("run", *words, code=2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(cli.home.glob("experiments/*/*"))


def test_a_dry_run_contacts_nothing_writes_nothing_and_shows_everything(cli: Any, project: Path) -> None:
    before = listing(project, cli.home)
    words = [
        "recipes/pretrain.py",
        "--dry-run",
        "-c",
        "tiny",
        "--run",
        "YOUR-CLUSTER",
        "train.train_iters=5000",
        "+run.nodes=8",
        "--retries=2",
    ]
    done = cli("run", *words)
    assert listing(project, cli.home) == before
    found = parts(done.stdout)
    assert yaml.safe_load(found["train.yaml"])["train"]["train_iters"] == 5000
    job = yaml.safe_load(found["job.yaml"])
    assert job["profile"] == {"name": "YOUR-CLUSTER", "mode": "run", "chain": ["YOUR-CLUSTER"]}
    assert job["executor"]["nodes"] == 8
    assert (job["origins"]["nodes"], job["origins"]["time"]) == ("run.nodes", "default of recipes")
    assert job["origins"]["retries"] == "--retries"
    assert "# ---- pretrain (slurm on username@nowhere.invalid)\n" in done.stdout
    assert job["origins"]["container_image"].endswith("pretrain.py")
    assert job["code"]["snapshot"]
    for line in (
        "#SBATCH --nodes=8", "#SBATCH --ntasks-per-node=1", "#SBATCH --time=04:00:00",
        "#SBATCH --partition=interactive", "#SBATCH --account=YOUR-ACCOUNT",
    ):  # fmt: skip
        assert line in found["job.sbatch"]
    assert "--container-image=nvcr.io/nvidia/nemo:25.11" in found["job.sbatch"]
    assert "/c:/c" in found["job.sbatch"]
    assert "/lustre:/lustre" in found["job.sbatch"]
    assert 'recipes/pretrain.py --config "$RUNYARD_JOB_DIR"/train.yaml' in done.stdout
    assert "#SBATCH --partition=backfill" in cli("run", *[w.replace("--run", "--batch") for w in words]).stdout


def test_torchrun_starts_a_process_for_each_gpu(cli: Any, project: Path) -> None:
    shown = cli("run", "recipes/torch.py", "--run", "YOUR-CLUSTER", "--dry-run").stdout
    assert "-m torch.distributed.run" in shown
    assert "--nnodes=2" in shown
    assert "--nproc-per-node=8" in shown
    assert "recipes/torch.py --config" in shown
    shown = cli("run", "recipes/torch.py", "run.ntasks_per_node=2", "--dry-run").stdout
    assert "--nproc-per-node=2" in shown
    assert "--nproc-per-node=4" in cli("run", "recipes/torch.py", "--run", "laptop", "--dry-run").stdout


def test_what_a_dry_run_shows_is_what_is_launched(cli: Any, project: Path) -> None:
    shown = parts(cli("run", "recipes/pretrain.py", "--dry-run", "--packager", "git").stdout)
    cli("run", "recipes/pretrain.py", "--packager", "git")
    folder = task_folder(cli)
    id = folder.parent.name
    dry = yaml.safe_load(shown["job.yaml"])["id"]
    for name in ("job.yaml", "train.yaml", "job.sh"):
        real = (folder / name).read_text()
        known = yaml.safe_load(real)["launched"] if name == "job.yaml" else ""
        then = yaml.safe_load(shown[name])["launched"] if name == "job.yaml" else ""
        assert shown[name].replace(dry, id).replace(then or "\0", known).rstrip() == real.rstrip(), name


def test_a_secret_is_forwarded_and_stands_nowhere(cli: Any, project: Path) -> None:
    (project / "recipes/config/default.yaml").write_text(
        "hub: {token: '${oc.env:MY_TOKEN}', opt: '${oc.env:NO_TOKEN,x}'}\n"
    )
    secret = "tok-123456789"
    words = ["recipes/pretrain.py", "-e", f"OTHER_KEY={secret}-other", "--", "--key", secret]
    shown = cli("run", "--dry-run", *words[:-2], MY_TOKEN=secret).stdout
    assert secret not in shown
    assert "${oc.env:MY_TOKEN}" in parts(shown)["train.yaml"]
    assert yaml.safe_load(parts(shown)["job.yaml"])["config"]["resolved"]["hub"]["token"] == "***"
    assert "stands in an argument" in cli("run", *words, code=2, MY_TOKEN=secret).stderr
    assert "token True" in cli("run", "-q", *words[:-2], MY_TOKEN=secret).stdout
    texts = {p: p.read_bytes() for p in cli.home.rglob("*") if p.is_file()}
    assert len(texts) > 5
    assert [p for p, text in texts.items() if secret.encode() in text] == []


def test_a_secret_for_the_executor_alone_is_not_asked_of_the_script(cli: Any, project: Path) -> None:
    (project / "recipes/config/default.yaml").write_text("a: 1\nrun: {env: {MY_TOKEN: '${oc.env:OTHER_TOKEN}'}}\n")
    words = ["recipes/pretrain.py", "-e", "A_KEY=abc", "run.env.B_KEY=abd", "--dry-run"]
    shown = cli("run", *words, OTHER_TOKEN="tok-123456789").stdout
    assert yaml.safe_load(parts(shown)["job.yaml"])["command"][3:] == ["-e", "A_KEY=***", "run.env.B_KEY=***"]
    assert "# secrets: A_KEY=***, B_KEY=***, MY_TOKEN=***\n" in shown
    assert "tok-123456789" not in shown


def test_batch_prints_the_id_and_how_to_follow(cli: Any, project: Path) -> None:
    done = cli("run", "recipes/pretrain.py", "--batch", "laptop", CODE="4")
    id = done.stdout.strip()
    assert id.startswith("nano3-pretrain_")
    assert f"runyard experiment logs {id}" in done.stderr
    cli("experiment", "wait", id, code=None)
    assert cli.states(id) == {"pretrain": "FAILED"}
    assert "train_iters: 10" in cli("experiment", "logs", id).stdout


def test_configs_are_completed(cli: Any, project: Path) -> None:
    typed = {"COMP_WORDS": "runyard run recipes/pretrain.py -c t", "COMP_CWORD": "4"}
    assert cli(_RUNYARD_COMPLETE="bash_complete", **typed).stdout == "plain,tiny\n"


def test_ctrl_c_cancels(cli: Any, project: Path) -> None:
    cli.env["PAUSE"] = "60"
    process = cli.start("run", "recipes/pretrain.py", "--run", "laptop")
    assert process.stdout.readline() == "train.yaml []\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert cli.states("nano3/pretrain") == {"pretrain": "CANCELLED"}


# -- programs of one's own ------------------------------------------------------------------------


def test_the_commands_of_the_seed(cli: Any, project: Path) -> None:
    """The commands of Nemotron's page on execution, with its own profile."""
    before = listing(project, cli.home)
    for words in (
        "nano3 pretrain -c tiny --run YOUR-CLUSTER --dry-run",
        "nano3 pretrain -c tiny --batch YOUR-CLUSTER --dry-run",
        "nano3 pretrain --run YOUR-CLUSTER train.train_iters=5000 --dry-run",
        "nano3 pretrain --run YOUR-CLUSTER run.nodes=8 --dry-run",
        "nano3 data prep pretrain --run YOUR-CLUSTER --dry-run",
        "--dry-run",
    ):
        if words != "--dry-run":
            assert "#SBATCH --account=YOUR-ACCOUNT" in tool(cli, *words.split()).stdout
    assert listing(project, cli.home) == before
    assert "starts no Ray clusters yet" in tool(cli, "nano3", "rl", "-c", "tiny", code=2).stderr


def test_a_recipe_of_a_tool_runs_from_any_folder(cli: Any, project: Path) -> None:
    cli.cwd = project / "recipes"
    done = subprocess.run(
        [sys.executable, "../tool.py", "nano3", "pretrain", "-q", "-c", "tiny", "--", "x"],
        cwd=cli.cwd, env=cli.env | {"CODE": "5"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert done.stdout.startswith("train.yaml ['x']\n")
    assert "train_iters: 2" in done.stdout


def test_help_of_groups_and_recipes(cli: Any, project: Path) -> None:
    shown = tool(cli, "nano3", "--help").stdout
    assert "pretrain  Pretrain it." in shown
    assert "sft       Tune it." in shown
    assert "(there is no" in shown
    shown = tool(cli, "nano3", "pretrain", "-h").stdout
    for line in (
        "Usage: tool.py nano3 pretrain [OPTIONS] [KEY=VALUE]... [-- ARG...]",
        "recipes/pretrain.py, on 2 nodes with 4 GPUs each, in",
        "default  recipes/config/default.yaml  [the default]",
        "YOUR-CLUSTER  slurm",
        "train.train_iters",
        "tool.py nano3 pretrain -c tiny --batch YOUR-CLUSTER run.nodes=2",
    ):
        assert line in shown
    own = cli("run", "recipes/pretrain.py", "-h").stdout
    assert own.startswith("Usage: runyard run recipes/pretrain.py [OPTIONS] [KEY=VALUE]... [-- ARG...]\n\nPretrain it.")
    assert "  runyard run recipes/pretrain.py -c tiny --batch YOUR-CLUSTER run.nodes=2\n" in own
    assert cli("run", "recipes/missing.py", "-h").stdout.startswith("Usage: runyard run [OPTIONS]")
    assert "\033" not in shown
    assert max(map(len, tool(cli, "nano3", "pretrain", "-h", COLUMNS="60").stdout.splitlines())) <= 75


def test_help_survives_what_is_broken(cli: Any, project: Path) -> None:
    (project / "env.toml").write_text("[x")
    (project / "recipes/config/default.yaml").write_text("a: [")
    shown = tool(cli, "nano3", "pretrain", "-h").stdout
    assert "cannot be read" in shown
    assert "starts no Ray clusters yet" in tool(cli, "nano3", "rl", "-h").stdout


def test_mistakes_in_a_tool(cli: Any, project: Path) -> None:
    assert "Did you mean 'pretrain'?" in tool(cli, "nano3", "pretrian", code=2).stderr
    assert "Did you mean --dry-run?" in tool(cli, "nano3", "pretrain", "-d", code=2).stderr
    assert "does not exist" in tool(cli, "nano3", "gone", code=2).stderr
    assert "tool.py nano3 pretrain --help" in tool(cli, "nano3", "pretrain", "--lr", "1", code=2).stderr
    assert tool(cli, "hello", "n=3", "--yes").stdout.endswith("hello 3\n")
    assert "Commands:" not in tool(cli, "empty", code=2).stderr


def test_nothing_of_a_recipe_is_read_before_it_is_used(cli: Any, project: Path) -> None:
    code = "import sys, tool; print(*sys.modules); sys.argv = ['tool', '-h']; tool.app()"
    for path in (project / "recipes").glob("*.py"):
        path.write_text("raise SystemExit('imported')\n")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, env=cli.env, capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stdout.splitlines()[0].split())
    assert not {m for m in loaded if m.split(".")[0] in ("yaml", "pydantic", "fiddle", "omegaconf", "rich")}
    assert not {m for m in loaded if m.startswith("runyard.recipes")}
    assert "The small one." in done.stdout


def test_the_help_of_a_recipe_needs_no_heavy_library(cli: Any, project: Path) -> None:
    code = """
import sys, tool
try:
    tool.app(["nano3", "pretrain", "-h"])
finally:
    print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, env=cli.env, capture_output=True, text=True, timeout=60, check=True
    )
    assert "Examples:" in done.stdout
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert not loaded & {"fiddle", "pydantic", "omegaconf", "rich", "docker"}


def test_a_tool_used_below_its_project_ships_the_project(cli: Any, project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "../tool.py", "nano3", "pretrain", "--run", "YOUR-CLUSTER", "--dry-run"],
        cwd=project / "recipes",
        env=cli.env | {"RUNYARD_PROFILES": str(project / "env.toml")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'recipes/pretrain.py --config "$RUNYARD_JOB_DIR"/train.yaml' in done.stdout
    assert str(project) not in parts(done.stdout)["job.sbatch"]


def test_a_tool_is_a_plug_in_of_runyard(cli: Any, project: Path) -> None:
    site = project / "site"
    (site / "nemotron-1.dist-info").mkdir(parents=True)
    (site / "nemotron-1.dist-info/entry_points.txt").write_text("[runyard.commands]\nnemotron = tool:app\n")
    (site / "nemotron-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: nemotron\nVersion: 1\n")
    path = os.pathsep.join([str(site), str(project)])
    shown = cli("nemotron", "nano3", "pretrain", "--run", "YOUR-CLUSTER", "--dry-run", PYTHONPATH=path).stdout
    assert "#SBATCH --nodes=2" in shown
    assert (
        "runyard nemotron nano3 pretrain [OPTIONS]"
        in cli("nemotron", "nano3", "pretrain", "-h", PYTHONPATH=path).stdout
    )
