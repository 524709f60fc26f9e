"""The wrapper script: its text (golden files), and what it does in the shells themselves.

``RUNYARD_UPDATE_GOLDEN=1 pytest tests/unit/backends/test_wrapper.py`` writes the golden files anew.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import processes
from runyard.backends import results, wrapper
from runyard.backends.process import ProcessId
from runyard.runner import redact
from runyard.shell import Raw

GOLDEN = Path(__file__).parents[2] / "golden" / "wrapper"
SHELLS = [path for name in ("dash", "bash", "busybox") if (path := shutil.which(name))]
ONE = wrapper.Member("", ("python3", "train.py", "--lr", "0.1"), {}, (), "", "/work")

CASES = {
    "plain": {"members": (ONE,)},
    "hostile": {
        "title": "a\nrm -rf /",
        "folder": "/home/it's me/$(x)",
        "members": (
            replace(
                ONE,
                argv=("echo", "it's", "$HOME", "", "two\nlines", Raw("$RUNYARD_TASK"), "http://${head}:80"),
                env={"A": "`x`", "PATH": Raw("/venv/bin:$PATH"), "http_proxy": "p"},
                workdir="/work/a b",
            ),
        ),
        "macros": {"${head}": "$MASTER"},
    },
    "setup": {"members": (replace(ONE, setup="module load cuda\nexport X='a b'\n"),)},
    "secrets": {
        "members": (replace(ONE, secrets=("HF_TOKEN",)),),
        "redactor": ("python3", "/job/.runner/redact.py"),
    },
    "group": {
        "members": (replace(ONE, name="server"), replace(ONE, name="client", secrets=("K",))),
        "redactor": ("r",),
    },
    "scheduler": {"members": (ONE,), "header": "#SBATCH --nodes=1\n#SBATCH --time=10\n", "forward_signals": True},
}


def render(**given: object) -> str:
    values: dict[str, object] = {
        "title": "train of digits_1",
        "folder": "/job",
        "facts": {"RUNYARD_EXPERIMENT_ID": "digits_1", "RUNYARD_TASK": "train"},
    }
    return wrapper.render(**(values | given))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    path, text = GOLDEN / f"{name}.sh", render(**CASES[name])
    if os.environ.get("RUNYARD_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs; RUNYARD_UPDATE_GOLDEN=1 writes it anew"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_can_read_it(name: str, shell: str, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text(render(**CASES[name]))
    argv = [shell, "sh"] if shell.endswith("busybox") else [shell]
    told = subprocess.run([*argv, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")


class Job:
    """A rendered script in a folder, run by one shell."""

    def __init__(self, folder: Path, shell: str) -> None:
        self.folder = folder / "job"
        (self.folder / "attempts").mkdir(parents=True)
        self.shell = [shell, "sh"] if shell.endswith("busybox") else [shell]

    def write(self, *commands: str, **given: object) -> None:
        names = [""] if len(commands) == 1 else [f"m{i}" for i in range(len(commands))]
        base = wrapper.Member("", (), {}, (), "", str(self.folder))
        changes = {k: given.pop(k) for k in ("env", "secrets", "setup", "workdir") if k in given}
        members = tuple(
            replace(base, name=n, argv=("sh", "-c", c), **changes) for n, c in zip(names, commands, strict=True)
        )
        (self.folder / "job.sh").write_text(render(folder=str(self.folder), members=members, **given))

    def start(self, claim: str = "1", **env: str) -> subprocess.Popen[bytes]:
        claimed = {wrapper.CLAIM: claim} if claim else {}
        return subprocess.Popen(
            [*self.shell, str(self.folder / "job.sh")],
            env=os.environ | claimed | env,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(self, claim: str = "1", **env: str) -> int:
        return self.start(claim, **env).wait(timeout=60)

    def log(self, attempt: str = "1") -> str:
        return (self.folder / "attempts" / attempt / "log").read_text()

    def rc(self) -> int | None:
        left = results.read_rc(str(self.folder), 1)
        return left[0] if left else None


@pytest.fixture(params=SHELLS)
def job(request: pytest.FixtureRequest, tmp_path: Path) -> Job:
    return Job(tmp_path, request.param)


@pytest.mark.parametrize("code", [0, 1, 7, 113, 255])
def test_the_exit_code_is_the_members(job: Job, code: int) -> None:
    job.write(f"echo said; exit {code}")
    assert job.run() == code
    assert job.rc() == code
    assert job.log() == "said\n"


def test_it_says_who_runs_it(job: Job) -> None:
    job.write("while [ ! -e go ]; do sleep 0.05; done")
    process = job.start()
    processes.until(lambda: results.read_started(str(job.folder), 1), "the claim")
    claim = results.read_started(str(job.folder), 1)
    me = ProcessId.of(process.pid)
    (job.folder / "go").touch()
    assert claim is not None
    assert me is not None
    assert (claim.pid, claim.boot, claim.host) == (process.pid, me.boot, os.uname().nodename)
    assert process.wait(timeout=60) == 0


def test_a_second_claimant_ends_before_any_user_code(job: Job) -> None:
    job.write("echo ran >> proof")
    assert job.run() == 0
    assert job.run() == wrapper.CLAIMED
    assert processes.lines(job.folder / "proof") == ["ran"]
    assert job.rc() == 0


def test_of_many_claimants_at_once_one_runs(job: Job) -> None:
    job.write("echo ran >> proof")
    codes = sorted(p.wait(timeout=60) for p in [job.start() for _ in range(12)])
    assert codes == [0] + [wrapper.CLAIMED] * 11
    assert processes.lines(job.folder / "proof") == ["ran"]


def test_by_hand_it_runs_as_an_attempt_of_its_own_every_time(job: Job) -> None:
    job.write("echo $RUNYARD_ATTEMPT")
    assert [job.run(), job.run(claim=""), job.run(claim="")] == [0, 0, 0]
    names = sorted(p.name for p in (job.folder / "attempts").iterdir())
    assert len(names) == 3
    assert names[0] == "1"
    assert all(n.startswith("manual-") for n in names[1:])


def test_the_claim_does_not_reach_the_task(job: Job) -> None:
    """A task that submits further jobs must not claim for them."""
    job.write(f"echo [${{{wrapper.CLAIM}-none}}] [${{RUNYARD_SECRETS_FILE-none}}]")
    job.run()
    assert job.log() == "[none] [none]\n"


def test_a_folder_that_cannot_be_made(job: Job) -> None:
    job.write("true")
    (job.folder / "attempts").rmdir()
    (job.folder / "attempts").write_text("a file in its place")
    assert job.run() == wrapper.NO_FOLDER


def test_a_working_directory_that_is_gone(job: Job) -> None:
    job.write("echo ran", workdir="/no/such/folder")
    assert job.run() == 111
    assert "/no/such/folder" in job.log()


def test_secrets_arrive_and_are_blotted_out(job: Job, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.write_text("export HF_TOKEN='it'\"'\"'s hidden'\n")
    job.write(
        'echo "$HF_TOKEN"; printf %s "$HF_TOKEN" > copy; exit 3',
        secrets=("HF_TOKEN",),
        redactor=(sys.executable, redact.__file__),
    )
    assert job.run(RUNYARD_SECRETS_FILE=str(secrets)) == 3
    assert job.log() == "***\n"
    assert (job.folder / "copy").read_text() == "it's hidden"


def test_secrets_that_are_gone(job: Job) -> None:
    job.write("echo ran", secrets=("HF_TOKEN",), redactor=(sys.executable, redact.__file__))
    assert job.run(RUNYARD_SECRETS_FILE="/no/such/secrets") == 110
    assert "/no/such/secrets" in job.log()
    assert "ran" not in job.log()


def test_umask_is_the_users_in_the_task_and_private_for_records(job: Job) -> None:
    job.write("touch $RUNYARD_OUTPUT_DIR/mine")
    before = os.umask(0o022)
    try:
        job.run()
    finally:
        os.umask(before)
    attempt = job.folder / "attempts" / "1"
    assert (attempt / "output" / "mine").stat().st_mode & 0o777 == 0o644
    assert {(attempt / n).stat().st_mode & 0o077 for n in (".", "output", "log", "rc", "started")} == {0}


def test_sigterm_to_the_session_lets_the_task_finish_and_is_recorded(job: Job) -> None:
    job.write("trap 'echo cleaning; exit 4' TERM; touch ready; while :; do sleep 0.05; done")
    process = job.start()
    processes.until((job.folder / "ready").exists, "the task's start")
    os.killpg(process.pid, 15)
    assert process.wait(timeout=60) == 4
    assert job.rc() == 4
    assert job.log().endswith("cleaning\n")


def test_of_many_cancelled_at_once_each_leaves_its_code(job: Job) -> None:
    """The task dies by the very signal that its shell gets: a shell must not lose its status then."""
    job.write("touch ready-$RUNYARD_ATTEMPT; exec sleep 60")
    running = [job.start(claim=str(n)) for n in range(1, 21)]
    for n in range(1, 21):
        processes.until((job.folder / f"ready-{n}").exists, "the task's start")
    for process in running:
        os.killpg(process.pid, 15)
    assert [p.wait(timeout=60) for p in running] == [143] * 20
    assert [results.read_rc(str(job.folder), n)[0] for n in range(1, 21)] == [143] * 20


def test_signals_are_passed_on_where_asked_for(job: Job) -> None:
    job.write("trap 'echo told; exit 5' TERM; touch ready; while :; do sleep 0.05; done", forward_signals=True)
    process = job.start()
    processes.until((job.folder / "ready").exists, "the task's start")
    os.kill(process.pid, 15)  # the shell alone, as some schedulers do
    assert process.wait(timeout=60) == 5
    assert job.rc() == 5


def test_a_killed_task_has_its_signal_as_code(job: Job) -> None:
    job.write("kill -KILL $$")
    assert job.run() == 137
    assert job.rc() == 137


def test_a_group_ends_with_its_first_failure(job: Job) -> None:
    waits = "while [ ! -e ready ]; do sleep 0.05; done"  # for a member that can be told to end
    job.write("exit 0", "touch ready; exec sleep 60", f"{waits}; exit 6")
    assert job.run() == 6
    assert job.rc() == 6
    rcs = {n: (job.folder / "attempts" / "1" / n / "rc").read_text().strip() for n in ("m0", "m1", "m2")}
    assert rcs == {"m0": "0", "m1": "143", "m2": "6"}


def test_a_group_that_is_cancelled(job: Job) -> None:
    job.write("echo > $RUNYARD_JOB_DIR/a; sleep 60", "echo > $RUNYARD_JOB_DIR/b; sleep 60")
    process = job.start()
    processes.until(lambda: all((job.folder / n).exists() for n in "ab"), "the tasks' start")
    os.killpg(process.pid, 15)
    assert process.wait(timeout=60) == 143
    assert job.rc() == 143


def test_signals_are_passed_on_to_a_group(job: Job) -> None:
    text = "trap 'exit 5' TERM; echo > $RUNYARD_JOB_DIR/{}; while :; do sleep 0.05; done"
    job.write(text.format("a"), text.format("b"), forward_signals=True)
    process = job.start()
    processes.until(lambda: all((job.folder / n).exists() for n in "ab"), "the tasks' start")
    os.kill(process.pid, 15)
    assert process.wait(timeout=60) == 5
    assert job.rc() == 5


def test_a_member_that_ignores_the_stop_is_killed_in_the_end(job: Job) -> None:
    """With the code of the one that failed first."""
    ignores = "trap '' TERM; : > ready; while :; do sleep 0.1; done"
    job.write(ignores, "while [ ! -e ready ]; do sleep 0.1; done; exit 6", grace=1)
    assert job.run() == -9
    assert job.rc() == 6


def test_a_group_that_succeeds(job: Job) -> None:
    job.write("sleep 0.2; echo a", "echo b")
    assert job.run() == 0
    assert [(job.folder / "attempts" / "1" / n / "log").read_text() for n in ("m0", "m1")] == ["a\n", "b\n"]


def test_setup_lines_are_bash_in_the_same_shell(job: Job) -> None:
    job.write('echo "$X"', setup="a=(1 2)\nexport X=${a[1]}\n")
    assert job.run() == 0
    assert job.log() == "2\n"


def test_setup_lines_that_fail_to_parse_fail_the_task(job: Job) -> None:
    job.write("echo ran", setup="if then\n")
    assert job.run() != 0
    assert "ran" not in job.log()
