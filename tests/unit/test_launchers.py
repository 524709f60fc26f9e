"""Launchers rewrite a command; nothing is run here."""

import pytest

import runyard as run
from runyard import launchers
from runyard.errors import ConfigError
from runyard.launchers.base import Placement, Program
from runyard.shell import Raw, quote

FILE = Program("file", ("python3", "-u"), ("train.py", "--lr", "1"))
MODULE = Program("module", ("python3", "-u"), ("pkg.train", "x"))
COMMAND = Program("command", (), ("bash", "go.sh"))
ONE = Placement(nproc_per_node=2, python="/venv/bin/python", job="exp.task")


def test_no_launcher_changes_nothing():
    assert run.Launcher().wrap(FILE, ONE) == ("python3", "-u", "train.py", "--lr", "1")
    assert run.Launcher().wrap(MODULE, ONE) == ("python3", "-u", "-m", "pkg.train", "x")


@pytest.mark.parametrize(
    ("program", "tail"),
    [
        (FILE, ("train.py", "--lr", "1")),
        (MODULE, ("-m", "pkg.train", "x")),
        (COMMAND, ("--no-python", "bash", "go.sh")),
    ],
)
def test_torchrun_takes_files_modules_and_commands(program, tail):
    words = run.Torchrun().wrap(program, ONE)
    assert words[:3] == ("/venv/bin/python", "-m", "torch.distributed.run")
    assert words[-len(tail) :] == tail
    assert "--rdzv-endpoint=127.0.0.1:0" in words, "on one node a free port, so that tasks don't collide"
    assert "--nproc-per-node=2" in words
    assert "--rdzv-id=exp.task" in words


def test_torchrun_on_several_nodes_uses_the_named_port_and_the_jobs_own_variables():
    place = Placement(nnodes=4, nproc_per_node=8, head=Raw("$MASTER"), node_rank=Raw("$SLURM_NODEID"))
    words = run.Torchrun(rdzv_port=1234, rdzv_id=7).wrap(FILE, place)
    shell = [quote(w) for w in words]
    assert '"--rdzv-endpoint=$MASTER:1234"' in shell
    assert '"--node-rank=$SLURM_NODEID"' in shell
    assert "--rdzv-id=7" in shell
    assert "--nnodes=4" in shell


def test_ft_launcher_gets_one_option_for_each_field():
    ft = run.FaultTolerance(
        cfg_path="ft.yaml",
        finished_flag_file="/tmp/done",
        job_results_file="/tmp/results",
        workload_check_interval=5,
        initial_rank_heartbeat_timeout=600,
        rank_heartbeat_timeout=300,
        rank_termination_signal="SIGTERM",
        log_level="INFO",
        max_restarts=3,
    )
    words = ft.wrap(FILE, ONE)
    assert words[0] == "ft_launcher"
    for option in (
        "--ft-cfg-path=ft.yaml",
        "--ft-workload-check-interval=5",
        "--ft-initial-rank-heartbeat-timeout=600",
        "--ft-rank-heartbeat-timeout=300",
        "--ft-rank-termination-signal=SIGTERM",
        "--ft-log-level=INFO",
        "--max-restarts=3",
        "--nnodes=1",
        "--nproc-per-node=2",
    ):
        assert option in words
    assert words[-3:] == ("train.py", "--lr", "1")
    assert ft.environment()["FAULT_TOL_FINISHED_FLAG_FILE"] == "/tmp/done"
    assert run.FaultTolerance().environment() == {}


def test_profiling_goes_in_front_of_any_launcher():
    words = run.Torchrun(nsys_profile=True, nsys_gpu_metrics=True).wrap(FILE, ONE)
    assert words[:2] == ("nsys", "profile")
    assert words.index("--gpu-metrics-device=all") < words.index("torch.distributed.run")
    (report,) = [w for w in words if "profile_%p" in w]
    assert quote(report) == '"$RUNYARD_OUTPUT_DIR/nsys_profile/profile_%p"'


def test_names_objects_and_records_mean_the_same():
    for name, kind in (("torchrun", run.Torchrun), ("ft", run.FaultTolerance), (None, run.Launcher)):
        launcher = launchers.resolve(name)
        assert type(launcher) is kind
        assert launchers.from_dict(launcher.to_dict()) == launcher
    with pytest.raises(ConfigError, match="unknown launcher 'tochrun'") as caught:
        launchers.resolve("tochrun")
    assert "did you mean 'torchrun'?" in caught.value.hint


def test_the_dry_run_shows_the_launchers_command():
    text = run.Experiment("ft")
    text.add(run.Script(inline="print(1)", entrypoint="python"), run.LocalExecutor(launcher="ft", ntasks_per_node=4))
    shown = text.dryrun(log=False)
    assert "exec ft_launcher --rdzv-backend=c10d --rdzv-endpoint=127.0.0.1:0" in shown
    assert "--nproc-per-node=4" in shown
