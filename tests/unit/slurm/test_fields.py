"""Each field of the executor: what it becomes, that its default becomes nothing, and that a record keeps it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard import executors
from runyard.backends.base import Request
from runyard.backends.slurm import options
from runyard.errors import ConfigError
from runyard.executors.slurm import SlurmExecutor, SlurmJobDetails, native_id
from runyard.launchers import Torchrun
from runyard.shell import Raw
from runyard.task import Script
from runyard.tunnels import LocalTunnel, SSHTunnel

Planned = Callable[..., Request]
Make = Callable[..., SlurmExecutor]


class Details(SlurmJobDetails):
    stdout = property(lambda self: "/logs/%j.out")
    srun_stderr = property(lambda self: "/logs/%j.err")
    ls_term = property(lambda self: "/logs/*")


@dataclass
class Field:
    """A value of a field, and the text that it becomes."""

    value: Any
    text: str
    default: str = ""
    given: dict[str, Any] | None = None


PLAIN = ["#SBATCH --job-name=digits_1.train", "#SBATCH --output=slurm.log", "#SBATCH --open-mode=append"]
PLAIN += ["#SBATCH --no-requeue", "#SBATCH --nodes=1", "#SBATCH --ntasks-per-node=1", "#SBATCH --time=00:10:00"]

FIELDS = {
    "account": Field("research", "#SBATCH --account=research\n"),
    "partition": Field("gpu,cpu", "#SBATCH --partition=gpu,cpu\n"),
    "job_name_prefix": Field("my team:", '#SBATCH --job-name="my team:digits_1.train"\n'),
    "time": Field("2-03:00:00", "#SBATCH --time=2-03:00:00\n"),
    "nodes": Field(3, "#SBATCH --nodes=3\n"),
    "ntasks_per_node": Field(2, "#SBATCH --ntasks-per-node=2\n"),
    "cpus_per_task": Field(4, "#SBATCH --cpus-per-task=4\n"),
    "cpus_per_gpu": Field(4, "#SBATCH --cpus-per-gpu=4\n"),
    "gpus_per_node": Field(8, "#SBATCH --gpus-per-node=8\n"),
    "gpus_per_task": Field(1, "#SBATCH --gpus-per-task=1\n"),
    "qos": Field("high", "#SBATCH --qos=high\n"),
    "mem": Field(0, "#SBATCH --mem=0\n"),
    "mem_per_gpu": Field("8G", "#SBATCH --mem-per-gpu=8G\n"),
    "mem_per_cpu": Field("1G", "#SBATCH --mem-per-cpu=1G\n"),
    "comment": Field("it's $(now); #1", '#SBATCH --comment="it\'s $(now); #1"\n'),
    "constraint": Field("a100|[h100*2]", '#SBATCH --constraint="a100|[h100*2]"\n'),
    "exclude": Field(["n1", "n[3-5]"], "#SBATCH --exclude=n1,n[3-5]\n"),
    "gres": Field(["gpu:2", "nvme:1"], "#SBATCH --gres=gpu:2,nvme:1\n"),
    "signal": Field("USR1@90", "#SBATCH --signal=USR1@90\n"),
    "exclusive": Field(True, "#SBATCH --exclusive\n"),
    "array": Field("0-9%4", "#SBATCH --array=0-9%4\n"),
    "open_mode": Field("truncate", "#SBATCH --open-mode=truncate\n"),
    "container_image": Field("a/b:1", " --container-image=a/b:1 "),
    "container_mounts": Field(["/a b:/c"], ",/home/u/work:/home/u/work,/a b:/c'", given={"container_image": "a/b:1"}),
    "container_env": Field(["X", "Y"], " --container-env=X,Y ", given={"container_image": "a/b:1"}),
    "container_workdir": Field("/w", " --container-workdir=/w ", given={"container_image": "a/b:1"}),
    "container_runtime": Field("apptainer", " apptainer exec ", given={"container_image": "a/b:1"}),
    "additional_parameters": Field({"nice": 5, "H": True}, "#SBATCH --nice=5\n#SBATCH -H\n"),
    "srun_args": Field(["--mpi=pmix", "it's"], """ --mpi=pmix 'it'"'"'s' sh """),
    "memory_measure": Field(True, '> "$A/output/memory.csv"'),
    "job_details": Field(Details("own"), "#SBATCH --job-name=own.digits_1.train\n#SBATCH --output=/logs/%j.out\n"),
    "torchrun_nproc_per_node": Field(4, "--nproc-per-node=4", given={"launcher": "torchrun"}),
    "wait_time_for_group_job": Field(7, ""),
    "segment": Field(2, "#SBATCH --segment=2\n"),
    "network": Field("sharp", "#SBATCH --network=sharp\n"),
    "setup_lines": Field("module load x", "\nmodule load x\nexec "),
    "stderr_to_stdout": Field(False, ' --error="$A"/err '),
    "retries": Field(1, "#SBATCH --requeue\n"),
    "env_vars": Field({"A": "a b"}, "\nexport A='a b'\n"),
    "python": Field("/opt/python", "", given={}),
}
# What shows in no script, and where it is tested instead.
ELSEWHERE = {
    "packager": "the code that ships: tests/conformance",
    "launcher": "test_golden.py: torchrun, ft, nsys",
    "job_dir": "test_job_dir_is_the_tunnels",
    "experiment_id": "set at launch",
    "dependency_type": "test_dependencies",
    "dependencies": "test_dependencies",
    "isolate": "the code that ships: tests/conformance",
    "heterogeneous": "test_golden.py: heterogeneous",
    "het_group_indices": "test_golden.py: heterogeneous-shared",
    "tunnel": "test_golden.py: over-ssh, job-dir",
    "monitor_group_job": "kept for other tools' scripts",
    "monitor_group_job_wait_time": "kept likewise",
    "ray_template": "kept likewise",
    "poll_estimated_start_time": "how the cluster is asked",
    "poll_seconds": "how the cluster is asked",
    "exclude_bad_nodes": "the submission of a retry",
}


def scripts(request: Request) -> str:
    return "".join(request.files.values())


def header(request: Request) -> list[str]:
    return [x for x in request.files["job.sbatch"].splitlines() if x.startswith("#SBATCH")]


def test_every_field_is_tested_somewhere() -> None:
    assert {f.name for f in fields(SlurmExecutor)} == set(FIELDS) | set(ELSEWHERE)


def test_defaults_become_only_what_slurm_needs(planned: Planned, slurm: Make) -> None:
    assert header(planned(slurm())) == PLAIN


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_becomes_its_text(name: str, planned: Planned, slurm: Make) -> None:
    case = FIELDS[name]
    given = case.given or {}
    with_it, without = (scripts(planned(slurm(**given, **more))) for more in ({name: case.value}, {}))
    if case.text:
        assert case.text in with_it
        assert case.text not in without


@pytest.mark.parametrize("name", [n for n, f in FIELDS.items() if f.text.startswith("#SBATCH") and f.value])
def test_a_field_that_is_none_becomes_nothing(name: str, planned: Planned, slurm: Make) -> None:
    default = getattr(slurm(), name)
    if default is None:
        assert header(planned(slurm(**{name: None}))) == PLAIN


@pytest.mark.parametrize("value", [False, None, [], ()])
@pytest.mark.parametrize("name", ["exclusive", "exclude", "gres"])
def test_false_and_empty_leave_an_option_out(name: str, value: object, planned: Planned, slurm: Make) -> None:
    assert header(planned(slurm(**{name: value}))) == PLAIN


def test_exclusive_may_be_a_word(planned: Planned, slurm: Make) -> None:
    assert "#SBATCH --exclusive=user" in header(planned(slurm(exclusive="user")))


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ({"spread_job": True}, ["--spread-job"]),
        ({"spread-job": True, "--wckey": "k"}, ["--spread-job", "--wckey=k"]),
        ({"contiguous": False, "hint": None, "licenses": []}, []),
        ({"licenses": ["a:1", "b:2"], "nodelist": ("n1",)}, ["--licenses=a:1,b:2", "--nodelist=n1"]),
        ({"nice": 0, "priority": 1.5}, ["--nice=0", "--priority=1.5"]),
        ({"C": "a b", "H": True, "O": False}, ['-C "a b"', "-H"]),
        ({"option_of_tomorrow": "x;y"}, ['--option-of-tomorrow="x;y"']),
        ({"requeue": True}, ["--requeue"]),
    ],
)
def test_additional_parameters(given: dict[str, Any], lines: list[str], planned: Planned, slurm: Make) -> None:
    got = header(planned(slurm(additional_parameters=given)))
    assert [x for x in got if x not in PLAIN] == [f"#SBATCH {x}" for x in lines]


def test_an_additional_parameter_wins_over_a_field(planned: Planned, slurm: Make) -> None:
    got = header(planned(slurm(mem="1G", additional_parameters={"mem": "2G", "output": "/logs/%j"})))
    assert [x for x in got if "mem" in x or "output" in x] == ["#SBATCH --output=/logs/%j", "#SBATCH --mem=2G"]


@pytest.mark.parametrize("name", ["job_name", "J", "array", "--array", "wrap", "test-only", "wait"])
def test_additional_parameters_that_have_another_place(name: str, planned: Planned, slurm: Make) -> None:
    with pytest.raises(ConfigError, match="additional_parameters") as caught:
        planned(slurm(additional_parameters={name: "x"}))
    assert caught.value.hint


@pytest.mark.parametrize("name", ["", "--", "a b", "x=y", "nice\n#SBATCH --uid", "é", "9"])
def test_a_name_that_is_none(name: str, planned: Planned, slurm: Make) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of an sbatch option"):
        planned(slurm(additional_parameters={name: "x"}))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("90", "90"),
        ("90:30", "90:30"),
        ("1:02:03", "1:02:03"),
        ("2-3", "2-3"),
        (" 00:10:00 ", "00:10:00"),
        (90, "90"),
        ("90s", "00:01:30"),
        ("1h30m", "01:30:00"),
        ("5s", "00:01:00"),
        (timedelta(hours=1.5), "01:30:00"),
        (timedelta(days=2, seconds=61), "2-00:01:01"),
    ],
)
def test_time_as_slurm_writes_it(value: Any, text: str, slurm: Make) -> None:
    assert slurm(time=value).wall_time() == text


@given(st.timedeltas(min_value=timedelta(minutes=1), max_value=timedelta(days=400)))
def test_a_timedelta_is_kept_to_the_second(value: timedelta) -> None:
    text = SlurmExecutor(time=value).wall_time()
    days, _, clock = text.rpartition("-")
    hours, minutes, seconds = map(int, clock.split(":"))
    got = timedelta(days=int(days or 0), hours=hours, minutes=minutes, seconds=seconds)
    assert abs(got - value) <= timedelta(seconds=0.5)


# -- header values ------------------------------------------------------------------------------


def as_sbatch_reads(word: str) -> str:
    """Read one word of an #SBATCH line as Slurm 22.05 does (``get_argument`` in ``sbatch/opt.c``)."""
    out, quote, escaped = [], "", False
    for c in word:
        if escaped:
            out.append(c)
            escaped = False
        elif c == "\\":
            escaped = True
        elif quote:
            if c == quote:
                quote = ""
            else:
                out.append(c)
        elif c in "\"'":
            quote = c
        else:
            assert c not in " \t#", f"the word ends before {c!r}"
            out.append(c)
    assert not quote
    assert not escaped
    return "".join(out)


TEXT = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]))


@given(TEXT | st.text(st.sampled_from("ab '\"\\#$;,=-\t%`()|&<>*~")))
def test_a_header_value_survives(value: str) -> None:
    (line,) = options.header({"comment": value}, "task 'x'")
    assert "\n" not in line
    word = line.removeprefix("#SBATCH --comment=")
    assert as_sbatch_reads(word) == value


@given(TEXT, st.sampled_from("\n\r\0"), TEXT)
def test_a_line_break_is_refused_by_name(before: str, end: str, after: str) -> None:
    with pytest.raises(ConfigError, match=r"task 'x': comment=.*holds a line break"):
        options.header({"comment": before + end + after}, "task 'x'")


# -- placement ----------------------------------------------------------------------------------


def test_job_dir_is_the_tunnels(planned: Planned, slurm: Make) -> None:
    assert planned(slurm(job_dir="/scratch/u")).folder == "/scratch/u/experiments/digits/digits_1/train"
    tunnel = SSHTunnel("login", "u", job_dir="/own")
    assert slurm(job_dir="/scratch/u", tunnel=tunnel).reach().root == "/own"


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"dependencies": ["12", "slurm://c/34_5"]}, "--dependency=afterok:12:34_5"),
        ({"dependencies": [12], "dependency_type": "afterany"}, "--dependency=afterany:12"),
        ({"dependency_type": "singleton"}, "--dependency=singleton"),
        ({"dependency_type": "after"}, ""),
    ],
)
def test_dependencies(given: dict[str, Any], option: str, planned: Planned, slurm: Make) -> None:
    words = [w for w in planned(slurm(**given)).command if w.startswith("--dependency")]
    assert words == ([option] if option else [])


def test_a_dependency_without_a_number_is_refused(slurm: Make) -> None:
    with pytest.raises(ConfigError, match="dependencies: 'train' does not end in a job number"):
        slurm(dependencies=["train"]).validate()
    assert native_id("a/b/7") == "7"


def test_an_image_in_the_home_folder_is_found_by_the_job(planned: Planned, slurm: Make) -> None:
    text = scripts(planned(slurm(container_image="~/a b.sqsh", container_mounts=["~/x:/x"])))
    assert """--container-image="$HOME"'/a b.sqsh'""" in text
    assert ""","$HOME"/x:/x """ in text


@pytest.mark.parametrize("runtime", ["pyxis", "apptainer"])
def test_a_mount_with_a_comma_is_refused_not_split(runtime: str, planned: Planned, slurm: Make) -> None:
    given = {"container_image": "a/b", "container_runtime": runtime, "container_mounts": ["/a,b:/c"]}
    with pytest.raises(ConfigError, match="container_mounts: '/a,b:/c' holds a comma"):
        planned(slurm(**given))


@pytest.mark.parametrize("image", ["/i/x.sif", "./x.sif", "x.sqsh", "library://a/b", "docker://a/b"])
def test_apptainer_takes_an_image_as_it_is(image: str, planned: Planned, slurm: Make) -> None:
    assert f" {image} sh " in scripts(planned(slurm(container_image=image, container_runtime="apptainer")))


def test_apptainer_takes_other_names_from_a_registry(planned: Planned, slurm: Make) -> None:
    text = scripts(planned(slurm(container_image="nvcr.io/a/b:1", container_runtime="apptainer")))
    assert " docker://nvcr.io/a/b:1 sh " in text
    assert "--nv" not in text


def test_members_of_a_heterogeneous_group_need_not_say_so_again(planned: Planned, slurm: Make) -> None:
    text = planned(slurm(heterogeneous=True), slurm(partition="cpu"), group=True).files["job.sbatch"]
    assert "--het-group=0" in text
    assert "--het-group=1" in text
    assert text.count("#SBATCH hetjob\n") == 1


@pytest.mark.parametrize("indices", [[0], [1, 1], [0, 2], [0, 1, 2]])
def test_wrong_components_are_refused(indices: list[int], planned: Planned, slurm: Make) -> None:
    with pytest.raises(ConfigError, match="het_group_indices"):
        planned(slurm(heterogeneous=True, het_group_indices=indices), slurm(), group=True)


def test_members_with_the_same_launcher_do_not_meet(planned: Planned, slurm: Make) -> None:
    request = planned(
        slurm(heterogeneous=True, nodes=2, launcher="torchrun"), slurm(nodes=2, launcher="torchrun"), group=True
    )
    one, two = request.files["train/task.sh"], request.files["train_1/task.sh"]
    assert "--rdzv-id=digits_1.train.train " in one
    assert "--rdzv-endpoint=$SLURM_MASTER_NODE_HET_GROUP_0:29500" in one
    assert "--rdzv-id=digits_1.train.train_1 " in two
    assert "--rdzv-endpoint=$SLURM_MASTER_NODE_HET_GROUP_1:29500" in two


def test_a_group_stops_its_members_after_the_time_given(planned: Planned, slurm: Make) -> None:
    text = planned(slurm(wait_time_for_group_job=7), slurm(), group=True).files["job.sbatch"]
    assert "[ $i -lt 7 ]" in text


def test_an_interpreter_of_its_own(planned: Planned, slurm: Make) -> None:
    task = Script("train", m=True)
    assert "\nexec /opt/my\\ py -m train" not in scripts(planned(slurm(), tasks=[task]))
    assert "\nexec '/opt/my py' -m train" in scripts(planned(slurm(python="/opt/my py"), tasks=[task]))
    assert "\nexec python3 -m train" in scripts(planned(slurm(container_image="a/b"), tasks=[task]))
    assert "\nexec python3 -m train" in scripts(planned(slurm(tunnel=SSHTunnel("h", "u")), tasks=[task]))


# -- records ------------------------------------------------------------------------------------

RECORDED: dict[str, Any] = {n: f.value for n, f in FIELDS.items()} | {
    "job_dir": "/scratch",
    "dependency_type": "singleton",
    "dependencies": ["12"],
    "isolate": True,
    "heterogeneous": True,
    "het_group_indices": [0, 0],
    "launcher": Torchrun(rdzv_port=5),
    "tunnel": SSHTunnel("login", "u", job_dir="/x", port=2222),
    "monitor_group_job": False,
    "monitor_group_job_wait_time": 5,
    "ray_template": "t",
    "poll_estimated_start_time": False,
    "poll_seconds": 0.5,
    "exclude_bad_nodes": True,
    "experiment_id": "x_1",
    "time": "1h",
    "srun_args": ["a", Raw("$B")],
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_record_keeps_the_field(name: str, slurm: Make) -> None:
    before = slurm(**{name: RECORDED[name]})
    data = before.to_dict()
    after = executors.from_dict(json.loads(json.dumps(data)))
    assert after.to_dict() == data
    if name != "time":  # a text, whatever it was
        assert after == before


def test_a_record_holds_only_what_was_given(slurm: Make) -> None:
    assert set(slurm().to_dict()) == {"kind", "packager"}
    assert set(slurm(qos="high").to_dict()) == {"kind", "packager", "qos"}


def test_a_raw_word_stays_raw_in_a_record(slurm: Make) -> None:
    again = executors.from_dict(slurm(srun_args=[Raw("$A"), "$A"]).to_dict())
    assert [type(w) for w in again.srun_args or ()] == [Raw, str]


def test_a_recorded_timedelta_is_the_same_limit(slurm: Make) -> None:
    before = slurm(time=timedelta(hours=30))
    after = executors.from_dict(json.loads(json.dumps(before.to_dict())))
    assert after.wall_time() == before.wall_time() == "1-06:00:00"


def test_local_tunnel_is_kept(slurm: Make) -> None:
    after = executors.from_dict(slurm(tunnel=LocalTunnel("/scratch")).to_dict())
    assert after.reach().name == slurm().reach().name
    assert after.reach().job_dir == "/scratch"


# -- refused ------------------------------------------------------------------------------------

WRONG: dict[str, list[Any]] = {
    "nodes": [0, -1, 1.5, "2", True, None],
    "ntasks_per_node": [0, "1"],
    "cpus_per_task": [0, "4"],
    "gpus_per_node": [-1, "8", True],
    "torchrun_nproc_per_node": [0, "gpu"],
    "segment": [0],
    "wait_time_for_group_job": [-1, "5; touch x", None],
    "time": ["soon", "1:2:3:4", "-5", "", timedelta(0)],
    "container_runtime": ["docker", ""],
    "open_mode": ["a", ""],
    "dependency_type": ["afterburner"],
    "container_mounts": ["/a:/b", [3.5]],
    "container_env": ["PATH"],
    "srun_args": ["--mpi=pmix", [None]],
    "dependencies": ["12", ["x"]],
    "additional_parameters": [["--nice"], {"nice": {1}}, {"nice": object()}, {3: "x"}],
    "account": [7, Path("x"), "a\0b"],
    "container_image": [Path("/x.sif")],
    "comment": [["a"], "a\0b"],
    "signal": [10],
    "array": [3],
    "het_group_indices": [["0"], [-1]],
    "poll_seconds": [0, -1, "1"],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in WRONG.items() for v in values])
def test_a_wrong_value_is_refused_by_name(name: str, value: Any, slurm: Make) -> None:
    with pytest.raises(ConfigError) as caught:
        slurm(**{name: value}).validate()
    assert f"SlurmExecutor.{name}" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("name", [n for n, f in FIELDS.items() if isinstance(f.value, str) and "#SBATCH" in f.text])
def test_no_text_can_add_a_header_line(name: str, planned: Planned, slurm: Make) -> None:
    if name in ("open_mode", "time"):  # checked as such
        return
    with pytest.raises(ConfigError, match=r"x\\n#SBATCH --uid=0.*line break"):
        planned(slurm(**{name: "x\n#SBATCH --uid=0"}))
