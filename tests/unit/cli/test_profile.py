"""``runyard profile``, and ``runyard run`` with a profile: real processes, on this machine or as dry runs."""

import json
import subprocess
from pathlib import Path

import pytest

ENV = """
[wandb]
project = "demo"

[here]
executor = "local"
ntasks_per_node = 4
env_vars = {SEED = 1, MY_TOKEN = "written_secret"}

[base]
executor = "slurm"
account = "${oc.env:TEAM,research}"
partition = "all"
run_partition = "interactive"
packager = "none"

[cluster]
extends = "base"
nodes = 2
ntasks_per_node = 8
cpus_per_task = 4
tunnel = "ssh"
host = "cluster.example.invalid"
env_vars = ["HF_TOKEN"]

[wrong]
executor = "slrum"
"""


@pytest.fixture
def env_toml(cli, tmp_path: Path) -> Path:
    path = cli.cwd / "env.toml"
    path.write_text(ENV)
    cli.env = {k: v for k, v in cli.env.items() if "TOKEN" not in k and k not in ("WANDB_API_KEY", "TEAM")}
    cli.env |= {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    return path


def test_list(cli, env_toml: Path) -> None:
    rows = cli.json("profile", "list")
    assert [(r["name"], r["executor"], r["extends"]) for r in rows] == [
        ("here", "local", None),
        ("base", "slurm", None),
        ("cluster", "slurm", "base"),
        ("wrong", "slrum", None),
    ]
    assert cli("profile", "list").stdout.splitlines()[3].split() == ["cluster", "slurm", "base", str(env_toml)]
    env_toml.write_text('[odd]\nextends = ["base"]\n')
    assert cli("profile", "list").stdout.splitlines()[1].split()[:3] == ["odd", "?", "['base']"]
    own = env_toml.parent.parent / "config" / "runyard" / "env.toml"
    own.parent.mkdir(parents=True)
    env_toml.rename(own)
    assert cli.json("profile", "list")[0]["files"] == [str(own)]
    own.unlink()
    assert cli("profile", "list").stderr == "no profiles: there is no env.toml here or above\n"
    assert (
        "RUNYARD_PROFILES=/no: there is no such file" in cli("profile", "list", code=2, RUNYARD_PROFILES="/no").stderr
    )


def test_show(cli, env_toml: Path) -> None:
    assert cli("profile", "show", "base").stdout == (
        f'# {env_toml}\n[base]\nexecutor = "slurm"\naccount = "${{oc.env:TEAM,research}}"\npartition = "all"\n'
        'run_partition = "interactive"\npackager = "none"\n'
    )
    shown = cli("profile", "show", "cluster", "--resolved", TEAM="ours").stdout
    assert shown.startswith(f"# {env_toml}\n# cluster -> base\n[cluster]\n")
    assert 'account = "ours"\n' in shown
    found = cli.json("profile", "show", "cluster", "--resolved")
    assert found["chain"] == ["cluster", "base"]
    assert found["fields"]["account"] == "research"
    assert found["origins"]["account"] == {"file": str(env_toml), "section": "base"}
    assert "did you mean 'cluster'?" in cli("profile", "show", "clutser", code=2).stderr


def test_secret_values_are_never_shown(cli, env_toml: Path) -> None:
    env_toml.write_text(
        '[p]\nsetup_lines = "login environment_secret"\n[p.env_vars]\nA_KEY = "written_secret"\n'
        'B = "${oc.env:HF_TOKEN}"\nC_TOKEN = "x-${oc.env:HF_TOKEN}"\n'
        '[q]\nenv_vars = ["A_KEY=written_secret", "B=shown"]\n'
    )
    for profile in "pq":
        for options in ([], ["--resolved"], ["--json"], ["--resolved", "--json"]):
            done = cli("profile", "show", profile, *options, HF_TOKEN="environment_secret")
            assert "written_secret" not in done.stdout
            assert "environment_secret" not in done.stdout
    assert '"B=shown"' in cli("profile", "show", "q").stdout


def test_run_is_attached_and_ends_with_the_commands_exit_code(cli, env_toml: Path) -> None:
    done = cli(
        *("run", "--run", "here", "run.env.SEED=7", "--name", "x", "run.retries=0", "--"),
        *("bash", "-c", 'echo "$SEED $WANDB_PROJECT $MY_TOKEN $0"; exit 4', "run.nodes=9"),
        code=4,
    )
    assert done.stdout == "7 demo *** run.nodes=9\n"
    assert "warning: there is no WANDB_API_KEY" in done.stderr
    assert cli("run", "--run", "here", "echo", "run.nodes=9").stdout == "run.nodes=9\n"


def test_stored_tokens_reach_the_job(cli, env_toml: Path, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password wandb_secret\n")
    (tmp_path / "token").write_text("hf_secret\n")
    done = cli(
        *("run", "--run", "here", "--", "bash", "-c", "echo ${#WANDB_API_KEY} ${#HF_TOKEN} $HF_TOKEN"),
        HF_TOKEN_PATH=str(tmp_path / "token"),
    )
    assert done.stdout == "12 9 ***\n"
    assert "warning" not in done.stderr


def test_batch_returns_at_once_with_the_id(cli, env_toml: Path) -> None:
    done = cli("run", "--batch", "here", "--", "bash", "-c", "exit 3")
    id = done.stdout.strip()
    assert f"runyard experiment logs -f {id}" in done.stderr
    cli("experiment", "wait", id, code=None)
    assert cli.states(id) == {"bash": "FAILED"}
    env_toml.write_text("[later]\ndetach = true\n[never]\ndry_run = true\n")
    assert cli("run", "--run", "later", "--", "true").stdout.startswith("true_")
    assert "nothing is submitted" in cli("run", "--run", "never", "--", "true").stdout


def test_a_dry_run_contacts_nothing_and_writes_nothing(cli, env_toml: Path) -> None:
    done = cli("run", "--run", "cluster", "--dry-run", "run.nodes=16", "--", "hostname", HF_TOKEN="hf_secret")
    for line in (
        "--account=research",
        "--partition=interactive",
        "--nodes=16",
        "--ntasks-per-node=1",
        "--cpus-per-task=32",
    ):
        assert f"#SBATCH {line}\n" in done.stdout
    assert "the command runs once per node; run.ntasks_per_node=8 runs it as often as the profile says" in done.stderr
    assert "hf_secret" not in done.stdout + done.stderr
    assert not cli.home.exists()
    assert sorted(p.name for p in cli.cwd.iterdir()) == ["env.toml"]
    done = cli(
        "run", "--batch", "cluster", "run.ntasks_per_node=4", "--dry-run", "--", "hostname", HF_TOKEN="hf_secret"
    )
    for line in ("--partition=all", "--nodes=2", "--ntasks-per-node=4", "--cpus-per-task=4"):
        assert f"#SBATCH {line}\n" in done.stdout
    done = cli("run", "--run", "cluster", "run.launcher=torchrun", "--dry-run", "--", "python", "x.py", HF_TOKEN="s")
    assert "--nproc-per-node=8" in done.stdout
    assert "once per node" not in done.stderr


def test_a_dry_run_with_code_leaves_nothing_behind(cli, env_toml: Path) -> None:
    subprocess.run(["git", "init", "-q", cli.cwd], check=True)
    (cli.cwd / "train.py").write_text("print('hello')\n")
    done = cli("run", "--run", "base", "run.packager=git", "--dry-run", "--", "hostname")
    assert "# code: " in done.stdout
    assert not cli.home.exists()
    assert sorted(p.name for p in cli.cwd.iterdir()) == [".git", "env.toml", "train.py"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--run", "here", "--batch", "here", "true"), "--run and --batch contradict each other"),
        (("run.nodes=8", "--", "true"), "run.nodes=8 changes a profile, and none is given: --run PROFILE."),
        (("--run", "heer", "true"), "there is no profile 'heer'\n  -> did you mean 'here'?"),
        (("--run", "here", "--executor", "slurm", "true"), "the profile 'here' names the executor"),
        (
            ("--run", "wrong", "true"),
            "executor = \"slrum\": this Runyard has no such executor\n  -> did you mean 'slurm'?",
        ),
        (("--run", "cluster", "run.nodez=8", "--", "true"), "run.nodez: SlurmExecutor has no field 'nodez'\n  -> did"),
        (("--run", "here", "run.env.SEED=1"), "There is no command to run."),
        (("--run", "wandb", "true"), "'wandb' is a reserved section, no profile"),
    ],
)
def test_mistakes_end_with_2(cli, env_toml: Path, args: tuple[str, ...], message: str) -> None:
    assert message in cli("run", *args, code=2).stderr
    assert not cli.home.exists()


def test_mounts_at_other_places_need_a_container(cli, env_toml: Path) -> None:
    env_toml.write_text('[c]\nexecutor = "slurm"\npackager = "none"\nmounts = ["/lustre:/lustre", "/a:/b"]\n')
    said = "warning: nothing is mounted without a container (container_image): /a:/b\n"
    assert said in cli("run", "--run", "c", "--dry-run", "true").stderr
    assert said not in cli("run", "--run", "c", "run.container_image=x", "--dry-run", "true").stderr


def test_check(cli, env_toml: Path) -> None:
    assert cli("profile", "check", "here").returncode == 0
    done = cli("profile", "check", "cluster", "--json", code=1, HF_TOKEN="hf_secret")
    checks = {c["about"]: c for c in json.loads(done.stdout)["checks"]}
    assert {about: c["state"] for about, c in checks.items()} == {
        "profile": "ok",
        "tokens": "warning",
        "secrets": "ok",
        "code": "ok",
        "launch": "error",
    }
    assert "cluster.example.invalid" in checks["launch"]["detail"]
    assert "hf_secret" not in done.stdout
    assert "did you mean 'slurm'?" in cli("profile", "check", "wrong", code=2).stderr
    env_toml.write_text('[p]\npackager = "git"\nenv_vars = ["MY_KEY"]\n')
    done = cli("profile", "check", "p", code=1)
    assert "error    secrets        the secret MY_KEY is not set in this environment" in done.stdout
    assert "not a git repository" in done.stdout


@pytest.mark.parametrize("words", ["run --run ", "run --batch ", "profile show ", "profile check "])
def test_names_are_completed(cli, env_toml: Path, words: str) -> None:
    typed = {"COMP_WORDS": f"runyard {words}c", "COMP_CWORD": str(1 + words.count(" "))}
    done = cli(_RUNYARD_COMPLETE="bash_complete", **typed)
    assert done.stdout.split() == ["plain,cluster"], done.stderr
