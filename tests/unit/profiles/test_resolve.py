"""From a profile to its executor: every field where it belongs, every mistake told with its place."""

from collections.abc import Callable
from pathlib import Path

import pytest

import runyard as run
from runyard.errors import ConfigError, OverrideError, ProfileError
from runyard.profiles.load import Target, parse_overrides
from runyard.secrets import Secret

Load = Callable[..., Target]
SLURM = '[p]\nexecutor = "slurm"\n'


def slurm(target: Target) -> run.SlurmExecutor:
    assert isinstance(target.executor, run.SlurmExecutor)
    return target.executor


def test_the_default_executor_is_this_machine(load: Load) -> None:
    assert load("[p]\n").executor == run.LocalExecutor()


def test_every_field_of_the_executor_passes_through_as_its_type(load: Load) -> None:
    found = slurm(
        load(
            SLURM
            + """
            account = 7
            mem = 64
            exclusive = true
            gres = ["gpu:1", "nvme"]
            time = 04:00:00
            retries = "2"
            additional_parameters = {nice = 10, _target_ = "os.system", hold = true}
            job_details = {job_name = "mine"}
            srun_args = ["--mpi=pmix"]
            poll_seconds = 1
            """
        )
    )
    assert (found.account, found.mem, found.exclusive, found.gres) == ("7", 64, True, ["gpu:1", "nvme"])
    assert (found.time, found.retries, found.srun_args, found.poll_seconds) == ("04:00:00", 2, ["--mpi=pmix"], 1.0)
    assert found.additional_parameters == {"nice": 10, "_target_": "os.system", "hold": True}
    assert found.job_details == run.SlurmJobDetails(job_name="mine")


@pytest.mark.parametrize(("mode", "partition"), [("run", "interactive"), ("batch", "backfill")])
def test_each_mode_has_its_partition(load: Load, mode: str, partition: str) -> None:
    text = SLURM + 'partition = "batch"\nrun_partition = "interactive"\nbatch_partition = "backfill"\n'
    assert slurm(load(text, mode=mode)).partition == partition
    assert slurm(load(text, "p", "run.partition=mine", mode=mode)).partition == "mine"
    assert slurm(load(SLURM + 'partition = "all"\n', mode=mode)).partition == "all"


def test_a_tunnel_from_flat_fields_and_from_a_table(load: Load) -> None:
    who = 'host = "login"\nuser = "me"\nport = "22"\nidentity = "~/.ssh/id"\n'
    flat = f'tunnel = "ssh"\n{who}remote_job_dir = "/jobs"\n'
    table = f'[p.tunnel]\nkind = "ssh"\n{who}job_dir = "/jobs"\n'
    expected = run.SSHTunnel("login", "me", "/jobs", port=22, identity="~/.ssh/id")
    assert slurm(load(SLURM + flat)).tunnel == slurm(load(SLURM + table)).tunnel == expected
    assert slurm(load(SLURM + flat, "p", "run.host=other", "run.port=2222")).tunnel == run.SSHTunnel(
        "other", "me", "/jobs", port=2222, identity="~/.ssh/id"
    )


def test_the_local_tunnel(load: Load) -> None:
    assert slurm(load(SLURM)).tunnel is None
    assert slurm(load(SLURM + 'tunnel = "local"\nhost = "unused"\n')).tunnel is None
    assert slurm(load(SLURM + 'remote_job_dir = "/jobs"\n')).tunnel == run.LocalTunnel("/jobs")


def test_mounts_add_up_and_other_lists_replace(load: Load) -> None:
    text = SLURM + 'mounts = ["/a:/a", "/b:/b"]\ncontainer_mounts = ["/c:/c"]\nsrun_args = ["-l"]\n'
    found = slurm(load(text, "p", "run.mounts=[/d:/d, /a:/a]", "run.srun_args=[-v]"))
    assert found.container_mounts == ["/c:/c", "/a:/a", "/b:/b", "/d:/d"]
    assert found.srun_args == ["-v"]


def test_variables_from_a_list_or_a_table_and_from_the_command_line(load: Load) -> None:
    found = load('[p]\nenv_vars = ["HF_TOKEN", "TEAM", "A=b=c"]\n', "p", "run.env.SEED=007", TEAM="us", HF_TOKEN="x")
    assert found.executor.env_vars == {"HF_TOKEN": run.Secret("HF_TOKEN"), "TEAM": "us", "A": "b=c", "SEED": "007"}
    found = load('[p.env_vars]\nA = "1"\nB = 2\nKEY = {secret = "MY_KEY"}\n', "p", "run.env.A=x=y", "run.env.C='a b'")
    assert found.executor.env_vars == {"A": "x=y", "B": "2", "KEY": run.Secret("MY_KEY"), "C": "a b"}


def test_lines_that_prepare_the_job(load: Load) -> None:
    found = load('[p]\nsetup_lines = "set -e"\nstartup_commands = ["module load cuda", "echo ${SLURM_JOB_ID}"]\n')
    assert found.executor.setup_lines == "set -e\nmodule load cuda\necho ${SLURM_JOB_ID}"


@pytest.mark.parametrize("word", ["nproc_per_node", "nprocs_per_node"])
def test_processes_of_a_node(load: Load, word: str) -> None:
    assert load(f"[p]\n{word} = 4\n").executor.nproc_per_node() == 4
    assert slurm(load(SLURM + f"{word} = 4\n")).ntasks_per_node == 4
    both = slurm(load(SLURM + f"ntasks_per_node = 1\n{word} = 8\n"))
    assert (both.ntasks_per_node, both.torchrun_nproc_per_node) == (1, 8)
    assert slurm(load(SLURM + "ntasks_per_node = 8\n", "p", f"run.{word}=2")).ntasks_per_node == 2


@pytest.mark.parametrize("word", ["container", "container_image"])
def test_the_image(load: Load, word: str) -> None:
    assert slurm(load(SLURM + f'{word} = "nvcr.io/x:1"\n')).container_image == "nvcr.io/x:1"
    assert slurm(load(SLURM + 'container = "old"\n', "p", f"run.{word}=new:2")).container_image == "new:2"


@pytest.mark.parametrize(
    ("text", "packager"),
    [
        ("", run.GitArchivePackager()),
        ('packager = "git"\npackager_subpath = "src"\n', run.GitArchivePackager(subpath="src")),
        ("packager_include_submodules = false\n", run.GitArchivePackager(include_submodules=False)),
        (
            'packager = "pattern"\npackager_include_pattern = ["a/*", "b/*"]\n',
            run.PatternPackager(include_pattern=["a/*", "b/*"]),
        ),
        ('packager = "project"\npackager_package = "lib"\n', run.ProjectPackager(package="lib")),
        ('packager = "none"\n', run.Packager()),
        ('packager = "hybrid"\n', run.HybridPackager()),
        (
            'packager = "hybrid"\n[p.packager_sub_packagers]\ncode = {kind = "git", subpath = "src"}\n'
            'data = {packager = "pattern", include_pattern = "data/*.json"}\n',
            run.HybridPackager(
                sub_packagers={
                    "code": run.GitArchivePackager(subpath="src"),
                    "data": run.PatternPackager(include_pattern="data/*.json"),
                }
            ),
        ),
        (
            '[p.packager]\nkind = "hybrid"\nextract_at_root = true\n[p.packager.sub_packagers.code]\nkind = "git"\n',
            run.HybridPackager(extract_at_root=True, sub_packagers={"code": run.GitArchivePackager()}),
        ),
    ],
)
def test_packagers(load: Load, text: str, packager: run.Packager) -> None:
    assert load(SLURM + text).executor.packager == packager


def test_a_packager_of_the_command_line_leaves_the_profiles_options_behind(load: Load) -> None:
    text = SLURM + 'packager = "pattern"\npackager_include_pattern = "*.py"\n'
    assert load(text, "p", "run.packager=none").executor.packager == run.Packager()
    assert load(text, "p", "run.packager_exclude_pattern=x").executor.packager == run.PatternPackager(
        include_pattern="*.py", exclude_pattern="x"
    )


@pytest.mark.parametrize(
    ("text", "launcher"),
    [
        ('launcher = "torchrun"\n', "torchrun"),
        ('launcher = "none"\n', None),
        ('launcher = {kind = "torchrun", rdzv_port = "29501"}\n', run.Torchrun(rdzv_port=29501)),
    ],
)
def test_launchers(load: Load, text: str, launcher: object) -> None:
    assert load("[p]\n" + text).executor.launcher == launcher


def test_the_command_line_wins_and_is_typed(load: Load) -> None:
    found = load(SLURM + 'nodes = 2\ntime = "1:00:00"\n', "p", "run.nodes=8", "run.time=04:00", "run.comment=@x(1)")
    executor = slurm(found)
    assert (executor.nodes, executor.time, executor.comment) == (8, "04:00", "@x(1)")
    assert found.given == {"nodes", "time", "comment"}
    nested = slurm(
        load(SLURM + "additional_parameters = {nice = 1, hold = true}\n", "p", "run.additional_parameters.nice=5")
    )
    assert nested.additional_parameters == {"nice": 5, "hold": True}


def test_dry_run_and_detach_are_the_launchs(load: Load) -> None:
    found = load("[p]\ndry_run = true\ndetach = true\n")
    assert (found.dry_run, found.detach) == (True, True)
    assert not load("[p]\ndry_run = true\n", "p", "run.dry_run=false").dry_run


def test_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RUNYARD_PROFILES", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "env.toml").write_text(SLURM + 'nodes = 2\nmounts = ["/p:/p"]\n[wandb]\nproject = "demo"\n')
    executor = run.load_profile(
        "p",
        overrides={"env_vars": {"A": "1"}, "mounts": ["/o:/o"]},
        defaults={"nodes": 1, "time": "04:00:00", "mounts": ["/d:/d"]},
    )
    assert isinstance(executor, run.SlurmExecutor)
    assert (executor.nodes, executor.time) == (2, "04:00:00")
    assert executor.container_mounts == ["/d:/d", "/p:/p", "/o:/o"]
    assert executor.env_vars["WANDB_PROJECT"] == "demo"
    assert capsys.readouterr().err.startswith("warning: there is no WANDB_API_KEY")
    with pytest.raises(ConfigError, match="mode='nowhere' is unknown"):
        run.load_profile("p", "nowhere")


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (SLURM + 'partitoin = "x"\n', "SlurmExecutor has no field 'partitoin'", "did you mean 'partition'?"),
        (SLURM + 'startup_comands = ["x"]\n', "SlurmExecutor has no field 'startup_comands'", "'startup_commands'?"),
        (SLURM + 'zzz = "x"\n', "SlurmExecutor has no field 'zzz'", "it has: account, "),
        ('[p]\naccount = "x"\n', "LocalExecutor has no field 'account'", "it has: "),
        ('[p]\nmounts = ["/a:/a"]\n', "LocalExecutor has no field 'mounts'", ""),
        (SLURM + 'nodes = "many"\n', "nodes: 'many' is no int", ""),
        (SLURM + "nodes = [1]\n", "nodes: ", ""),
        (SLURM + "nodes = {a = 1}\n", "nodes: ", ""),
        (SLURM + "nodes = 0\n", "SlurmExecutor.nodes=0", "give a whole number, 1 or more"),
        (SLURM + 'time = "soon"\n', "SlurmExecutor.time='soon' is not a duration", 'write "HH:MM:SS"'),
        (SLURM + "mounts = [1]\n", "[1] is no list of texts", 'write ["…", "…"]'),
        (SLURM + 'mounts = "/a:/a"\nenv_vars = 3\n', "3 is no list of texts", ""),
        ('[p]\nexecutor = "dgxcloud"\n', 'executor = "dgxcloud": this Runyard has no such executor', "local, slurm"),
        ('[p]\nexecutor = "slrum"\n', 'executor = "slrum": this Runyard has no', "did you mean 'slurm'? known: "),
        ("[p]\nexecutor = 3\n", 'executor = "3": this Runyard has no such executor', "local, slurm"),
        (SLURM + 'tunnel = "ssh"\n', 'tunnel = "ssh" needs a host', 'write host = "login.example.org"'),
        (SLURM + 'tunnel = "shh"\nhost = "x"\n', "tunnel = 'shh' is unknown", 'write "local" or "ssh"'),
        (SLURM + 'host = "x"\n', "host is given, but no tunnel", 'write tunnel = "ssh" beside it'),
        (SLURM + 'tunnel = "ssh"\nhost = "x"\nport = "no"\n', "port: 'no' is no int", ""),
        (SLURM + 'packager = "gti"\n', "no packager is called 'gti'", "did you mean 'git'?"),
        (SLURM + "packager = 3\n", "a packager needs the name of its kind", ""),
        (SLURM + 'packager_subpaht = "x"\n', "GitArchivePackager has no field 'subpaht'", "did you mean 'subpath'?"),
        (SLURM + 'packager = "pattern"\n', "include_pattern", ""),
        (SLURM + 'packager = "project"\n', "package='' is no top-level import name", ""),
        (
            SLURM + 'packager = "hybrid"\npackager_sub_packagers = {code = "git"}\n',
            "sub_packagers is no table of tables",
            'for example code = {kind = "git"}',
        ),
        (
            SLURM + 'packager = "hybrid"\npackager_sub_packagers = {code = {kind = "git", subpaht = "x"}}\n',
            "'code': GitArchivePackager has no field 'subpaht'",
            "did you mean 'subpath'?",
        ),
        ('[p]\nlauncher = "trochrun"\n', "unknown launcher 'trochrun'", "did you mean 'torchrun'?"),
        ('[p]\nlauncher = {kind = "torchrun", prot = 1}\n', "Torchrun has no field 'prot'", ""),
        ('[p]\ndry_run = "perhaps"\n', "dry_run: 'perhaps' is no bool", ""),
        ('[p]\nenv_vars = ["TEAM"]\n', "env_vars names TEAM, which is not set here", 'or write "TEAM=VALUE"'),
        ("[p]\nenv_vars = {A = true}\n", "env_vars.A = True is no text", 'write A = "…"'),
        ('[p]\nenv_vars = {"A-B" = "x"}\n', "A-B", ""),
        (
            '[p]\njob_dir = "${oc.env:NOPE}"\n',
            "job_dir: the variable NOPE is not set",
            "export NOPE=…, or give a default",
        ),
        (
            '[p]\nstartup_commands = ["login ${oc.env:HF_TOKEN}"]\n',
            "startup_commands[0]: the secret HF_TOKEN would be written into scripts and records here",
            'env_vars = ["HF_TOKEN"]',
        ),
        ("[p]\nnproc_per_node = 1\nntasks_per_node = 2\n", "nproc_per_node and ntasks_per_node are both given", ""),
    ],
)
def test_mistakes_are_told_with_their_place(load: Load, tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(ProfileError) as told:
        load(text, HF_TOKEN="hf_secret")
    assert told.value.message.startswith(f"{tmp_path}/env.toml: profile 'p': ")
    assert message in told.value.message
    assert hint in told.value.hint
    assert "hf_secret" not in str(told.value)


def test_an_inherited_mistake_names_the_profile_it_stands_in(load: Load) -> None:
    with pytest.raises(ProfileError, match=r"profile 'p' \(from 'base'\): SlurmExecutor has no field 'acount'"):
        load('[base]\nexecutor = "slurm"\nacount = "x"\n[p]\nextends = "base"\n')


def test_a_field_may_stand_below_env_on_the_command_line(load: Load) -> None:
    typed = ["nodes=4", "container=x", "mounts=[/a:/b]", "http_proxy=p", "A=01", 'J={"a": [1]}']
    found = slurm(load(SLURM, "p", *(f"run.env.{word}" for word in typed)))
    assert (found.nodes, found.container_image, found.container_mounts) == (4, "x", ["/a:/b"])
    assert found.env_vars == {"http_proxy": "p", "A": "01", "J": '{"a": [1]}'}


def test_a_secret_under_another_name_stays_one(load: Load) -> None:
    found = load('[p]\nenv_vars = {A = "hf_secret", B = "x"}\n', "p", "run.env.C=hf_secret", MY_TOKEN="hf_secret")
    assert found.executor.env_vars == {"A": Secret("MY_TOKEN"), "B": "x", "C": Secret("MY_TOKEN")}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.nodez=8", "run.nodez: SlurmExecutor has no field 'nodez'"),
        ("run.nodes=x", "run.nodes: 'x' is no int"),
        ("run.executor=skypilot", 'run.executor: executor = "skypilot": this Runyard has no such executor'),
        ("run.packager=gti", "run.packager: no packager is called 'gti'"),
        ("run.mounts={a: b}", "run.mounts: "),
        ("+run.nodes=x", "run.nodes: 'x' is no int"),
        ("run.nodes=0", "run.nodes: SlurmExecutor.nodes=0"),
    ],
)
def test_mistakes_of_the_command_line(load: Load, override: str, message: str) -> None:
    with pytest.raises(ProfileError) as told:
        load(SLURM, "p", override)
    assert told.value.message.startswith(message)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["run.nodes"], "'run.nodes' is no override"),
        (["run.nodes+=1"], "'run.nodes+=1' is no override of a profile"),
        (["run=1"], "'run=1' is no override of a profile"),
        (["run.env=1"], "'run.env=1' names no variable"),
        (["run.mounts[0]=a"], "'run.mounts[0]=a' is no override of a profile"),
        (["run.gres=a", "run.gres.b=c"], "'run.gres.b=c': gres was given a value already"),
    ],
)
def test_what_is_no_override(texts: list[str], message: str) -> None:
    with pytest.raises(OverrideError) as told:
        parse_overrides(texts)
    assert message in told.value.message
