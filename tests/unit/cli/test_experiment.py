"""``runyard experiment``: list, status, show, wait, cancel, rerun, rm."""

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

GRAPH = """
with run.Experiment("graph") as exp:
    a = exp.add(run.Script(inline="echo a; sleep {sleep}"), name="a")
    b = exp.add(run.Script(inline="echo b; exit 3"), name="b", dependencies=[a])
    exp.add(run.Script(inline="echo c"), name="c", dependencies=[b])
    exp.add(run.Script(inline="echo d"), name="d", dependencies=[a])
    exp.run(detach={detach}, raise_on_failure=False)
print(exp.id)
"""


def graph(cli, sleep: str = "0", detach: bool = False) -> str:
    """Launch the graph and return its id."""
    done = cli.launch(GRAPH.format(sleep=sleep, detach=detach))
    return str(done.stdout.split()[-1])


# -- list ------------------------------------------------------------------------------------------


def test_an_empty_home_is_no_error_and_is_not_made(cli) -> None:
    done = cli("experiment", "list")
    assert done.stdout == ""
    assert f"no experiments in {cli.home}" in done.stderr
    assert cli.json("experiment", "list") == []
    assert not cli.home.exists()


def test_the_newest_come_first_and_the_rest_is_hinted_at(cli) -> None:
    for i in range(3):
        cli("run", "-q", "--name", f"n{i}", "--", "true")
    cli("run", "-q", "--name", "bad", "--title", "n0", "--", "false", code=1)
    lines = cli("experiment", "list").stdout.splitlines()
    assert lines[0].split() == ["EXPERIMENT", "TASKS", "LAUNCHED", "STATES"]
    assert "1 failed" in lines[1]
    assert lines[1].startswith("n0_")
    assert len(lines) == 5
    some = cli("experiment", "list", "--limit", "1")
    assert len(some.stdout.splitlines()) == 2
    assert "3 more" in some.stderr
    assert len(cli("experiment", "list", "--all").stdout.splitlines()) == 5
    titled = cli("experiment", "list", "n0").stdout
    again = cli("experiment", "list", "--title", "n0").stdout
    assert re.sub(r"\d+ s ago", "", titled) == re.sub(r"\d+ s ago", "", again)  # a second may pass in between
    assert len(titled.splitlines()) == 3
    assert "no experiments titled 'n9'" in cli("experiment", "list", "n9").stderr


def test_only_the_unfinished(cli) -> None:
    cli("run", "-q", "--", "true")
    assert cli("experiment", "list", "--live").stdout == ""
    id = cli.detached("--", "sleep", "60")
    (row,) = cli.json("experiment", "list", "--live")
    assert (row["id"], row["live"]) == (id, 1)
    cli("experiment", "cancel", id)


# -- naming an experiment --------------------------------------------------------------------------


def test_an_id_a_title_and_a_unique_prefix_name_it(cli) -> None:
    first = cli.detached("--title", "alpha", "--", "true")
    second = cli.detached("--title", "alpha", "--", "true")
    other = cli.detached("--title", "beta", "--", "true")
    for id in (first, second, other):
        cli("experiment", "wait", id)

    def named(ref: str) -> str:
        return str(cli.json("experiment", "status", ref)["id"])

    assert named(first) == first
    assert named("alpha") == second
    assert named("bet") == other
    said = cli("experiment", "status", "nope", code=2).stderr
    assert "'nope'" in said
    assert str(cli.home) in said
    assert "runyard experiment list" in said
    assert "did you mean 'alpha'?" in cli("experiment", "status", "alpah", code=2).stderr
    assert "fits several" in cli("experiment", "status", "alpha_", code=2).stderr


# -- status, show ----------------------------------------------------------------------------------


def test_status_tells_of_each_task(cli) -> None:
    id = graph(cli)
    done = cli("experiment", "status", "graph")
    rows = {line.split()[0]: line for line in done.stdout.splitlines()[2:]}
    assert "exit code 3" in rows["b"]
    assert "skipped" in rows["c"]
    about = cli.json("experiment", "status", id)
    assert about["live"] == 0
    assert {n: t["status"] for n, t in about["tasks"].items()} == {
        "a": "SUCCEEDED",
        "b": "FAILED",
        "c": "SKIPPED",
        "d": "SUCCEEDED",
    }
    assert about["tasks"]["b"]["exit_code"] == 3


def test_show_tells_how_it_was_launched_and_what_happened(cli) -> None:
    id = graph(cli)
    text = cli("experiment", "show", id).stdout
    for said in ("graph", str(cli.cwd), "launch.py", str(cli.folder(id))):
        assert said in text
    task = cli("experiment", "show", id, "b").stdout
    for said in ("exit code 3", "job.sh", "afterok", "attempts/1/log", "failed", "pending"):
        assert said in task
    everything = cli.json("experiment", "show", id)
    assert everything["cwd"] == str(cli.cwd)
    assert everything["script"] == str(cli.cwd / "launch.py")
    assert [t["name"] for t in everything["tasks"]] == ["a", "b", "c", "d"]
    (b,) = cli.json("experiment", "show", id, "--task", "b")["tasks"]
    assert b["dependencies"] == [{"task": "a", "type": "afterok"}]
    assert [a["reason"] for a in b["attempts"]] == ["exit code 3"]
    assert [e["state"] for e in b["events"]][-1] == "FAILED"
    assert Path(b["logs"][0]).read_text() == "b\n"


def test_show_names_functions_with_their_arguments(cli) -> None:
    (cli.cwd / "mine.py").write_text("def train(lr, layers):\n    print(lr, layers)\n")
    cli.launch("import mine\nrun.run(run.Partial(mine.train, lr=0.5, layers=[1, 2]), name='fit')")
    assert "mine.train(lr=0.5, layers=[1, 2])" in cli("experiment", "show", "fit").stdout


# -- wait ------------------------------------------------------------------------------------------


def test_wait_ends_as_an_attached_run_would(cli) -> None:
    good = cli.detached("--", "sleep", "0.3")
    cli("experiment", "wait", good)
    bad = cli.detached("--", "sh", "-c", "echo oh no; sleep 0.2; exit 7")
    done = cli("experiment", "wait", bad, code=7)
    assert "exit code 7" in done.stderr
    assert "oh no" in done.stderr
    cli("experiment", "wait", graph(cli), code=1)


def test_ctrl_c_stops_waiting_and_nothing_else(cli, until) -> None:
    id = cli.detached("--", "sh", "-c", "sleep 60")
    until(lambda: "RUNNING" in cli.states(id).values())
    for words in (["wait"], ["logs", "-f"]):
        process = cli.start("experiment", *words, id)
        until(lambda p=process: has_store_open(p.pid))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        # CPython ends by the signal itself (130 in a shell) when it comes while a dataclass is being made.
        assert process.returncode in (130, -signal.SIGINT)
        assert "Traceback" not in said
    assert set(cli.states(id).values()) == {"RUNNING"}
    cli("experiment", "cancel", id)


def has_store_open(pid: int) -> bool:
    """Say whether a process has opened the store, and so is at work."""
    links = Path(f"/proc/{pid}/fd").iterdir()
    return any("runyard.db" in os.path.realpath(link) for link in links)


# -- cancel ----------------------------------------------------------------------------------------


def test_cancel_ends_all_or_some(cli, until) -> None:
    text = """
with run.Experiment("many") as exp:
    for n in "abc":
        exp.add(run.Script(inline="sleep 60"), name=n)
    exp.add(run.Script(inline="sleep 60"), name="after-a", dependencies=["a"])
    exp.add(run.Script(inline="sleep 60"), name="last", dependencies=["after-a"])
    exp.run(detach=True)
"""
    cli.launch(text)
    until(lambda: list(cli.states("many").values()).count("RUNNING") == 3)
    cli("experiment", "cancel", "many", "1")
    assert cli.states("many")["b"] == "CANCELLED"
    done = cli("experiment", "cancel", "many", "a", "--dependencies")
    assert "3 cancelled" in done.stderr
    assert cli.states("many") == {
        "a": "CANCELLED",
        "b": "CANCELLED",
        "c": "RUNNING",
        "after-a": "CANCELLED",
        "last": "CANCELLED",
    }
    assert "did you mean 'after-a'?" in cli("experiment", "cancel", "many", "aftr-a", code=2).stderr
    assert cli.states("many")["c"] == "RUNNING"
    assert "1 cancelled; 4 tasks had ended before" in cli("experiment", "cancel", "many", "--all").stderr
    assert "nothing to cancel" in cli("experiment", "cancel", "many").stderr


# -- rerun -----------------------------------------------------------------------------------------


def test_rerun_repeats_and_failed_repeats_the_rest(cli) -> None:
    id = graph(cli)
    (cli.cwd / "launch.py").unlink()
    again = cli("experiment", "rerun", id, "--detach").stdout.strip()
    cli("experiment", "wait", again, code=1)
    assert cli.states(again) == cli.states(id)
    assert cli.json("experiment", "show", again)["rerun_of"] == id
    some = cli("experiment", "rerun", id, "--failed", "--detach").stdout.strip()
    cli("experiment", "wait", some, code=1)
    assert cli.states(some) == {"b": "FAILED", "c": "SKIPPED"}
    attached = cli("experiment", "rerun", id, code=1)
    assert "exit code 3" in attached.stderr


def test_rerun_of_one_task_streams_its_log_and_has_its_exit_code(cli, tmp_path: Path) -> None:
    cli("run", "-q", "--name", "one", "--", "sh", "-c", "pwd; test -e flag || exit 5", code=5)
    (cli.cwd / "flag").write_text("")
    here, cli.cwd = cli.cwd, tmp_path
    done = cli("experiment", "rerun", "one", "--failed")  # from another folder: the recorded one counts
    assert done.stdout == f"{here}\n"
    assert "nothing to run again" in cli("experiment", "rerun", "one", "--failed").stderr


def test_rerun_refuses_what_it_cannot_know(cli, tmp_path: Path) -> None:
    id = cli.detached("--", "sleep", "60")
    said = cli("experiment", "rerun", "--failed", id, code=2).stderr
    assert f"{id} has 1 unfinished task(s)" in said
    assert f"runyard experiment wait {id}" in said
    cli("experiment", "cancel", id)
    folder = tmp_path / "gone"
    folder.mkdir()
    here, cli.cwd = cli.cwd, folder
    cli("run", "-q", "--name", "there", "--", "true")
    cli.cwd = here
    folder.rmdir()
    assert f"launched from {folder}, which is gone" in cli("experiment", "rerun", "there", code=2).stderr
    (cli.folder(id) / "sleep" / "job.json").unlink()
    assert str(cli.folder(id) / "sleep") in cli("experiment", "rerun", id, code=2).stderr


def test_rerun_shows_what_it_would_submit(cli) -> None:
    cli("run", "-q", "--name", "one", "--", "echo", "a b")
    assert "exec echo 'a b'" in cli("experiment", "rerun", "one", "--dry-run").stdout
    assert len(cli.json("experiment", "list")) == 1


# -- rm --------------------------------------------------------------------------------------------


def test_rm_removes_records_and_files(cli) -> None:
    for name in ("a", "b", "c"):
        cli("run", "-q", "--name", name, "--", "true")
    folder = cli.folder(cli.json("experiment", "status", "a")["id"])
    cli("experiment", "rm", "a", "b", "--yes")
    assert not folder.exists()
    assert [row["title"] for row in cli.json("experiment", "list")] == ["c"]
    assert "'a'" in cli("experiment", "rm", "c", "a", code=2).stderr
    assert len(cli.json("experiment", "list")) == 1  # nothing is removed when one cannot be


def test_rm_refuses_the_unfinished(cli) -> None:
    cli("run", "-q", "--name", "old", "--", "true")
    id = cli.detached("--", "sleep", "60")
    said = cli("experiment", "rm", "old", id, "--yes", code=2).stderr
    assert f"{id} has 1 unfinished task(s)" in said
    assert f"runyard experiment cancel {id}" in said
    assert len(cli.json("experiment", "list")) == 2
    cli("experiment", "cancel", id)
    cli("experiment", "rm", id)
    assert len(cli.json("experiment", "list")) == 1


def test_rm_by_age(cli) -> None:
    cli("run", "-q", "--name", "old", "--", "true")
    cli("run", "-q", "--name", "new", "--", "true")
    with sqlite3.connect(cli.home / "runyard.db") as con:
        con.execute("UPDATE experiments SET created = created - 20 * 86400 WHERE title = 'old'")
    con.close()
    assert "nothing is older than 30d" in cli("experiment", "rm", "--older-than", "30d", "--yes").stderr
    assert "add --yes" in cli("experiment", "rm", "--older-than", "14d", code=2).stderr
    assert "write 14d" in cli("experiment", "rm", "--older-than", "14", "--yes", code=2).stderr
    cli("experiment", "rm", "--older-than", "14d", "--yes")
    assert [row["title"] for row in cli.json("experiment", "list")] == ["new"]


@pytest.mark.parametrize(("answer", "left", "code"), [(b"n\n", 1, 1), (b"y\n", 0, 0)])
def test_rm_asks_on_a_terminal(cli, answer: bytes, left: int, code: int) -> None:
    cli("run", "-q", "--name", "x", "--", "true")
    main, other = pty.openpty()
    process = cli.start("experiment", "rm", "x", stdin=other, stdout=other, stderr=other)
    os.close(other)
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(main, 1000)
    os.write(main, answer)
    assert process.wait(timeout=60) == code
    os.close(main)
    assert len(cli.json("experiment", "list")) == left


# -- reading back never needs the user's code ------------------------------------------------------


def test_nothing_of_the_users_is_needed_to_read_back(cli, until) -> None:
    """The module refuses to be imported outside a job, and then is gone altogether."""
    (cli.cwd / "usermod.py").write_text(
        "import os\nfrom dataclasses import dataclass\n"
        "assert 'RUNYARD_TASK' in os.environ or 'MAY_IMPORT' in os.environ\n"
        "@dataclass\nclass Setting:\n    lr: float = 0.1\n"
        "def train(setting, wait):\n    import time\n    print('lr', setting.lr, flush=True)\n"
        "    time.sleep(wait)\n    1 / wait\n"
    )
    cli.env["MAY_IMPORT"] = "1"
    cli.launch(
        "import usermod\n"
        "task = lambda wait: run.Partial(usermod.train, run.Config(usermod.Setting, lr=0.3), wait)\n"
        "with run.Experiment('user') as exp:\n"
        "    exp.add(task(60), name='slow')\n    exp.add(task(0), name='bad')\n    exp.run(detach=True)\n"
    )
    del cli.env["MAY_IMPORT"]
    until(lambda: cli.states("user") == {"slow": "RUNNING", "bad": "FAILED"})
    until(lambda: cli("experiment", "logs", "user", "slow").stdout == "lr 0.3\n")
    saved = (cli.cwd / "usermod.py").read_text()
    for path in (cli.cwd / "usermod.py", cli.cwd / "launch.py"):
        path.unlink()
    assert "ZeroDivisionError" in cli("experiment", "logs", "user", "bad").stdout
    assert "usermod.train(" in cli("experiment", "show", "user", "slow").stdout
    cli("experiment", "cancel", "user")
    (cli.cwd / "usermod.py").write_text(saved)  # the job needs it; the command still may not import it
    again = cli("experiment", "rerun", "user", "--failed", "--detach").stdout.strip()
    until(lambda: cli.states(again)["bad"] == "FAILED")
    assert "lr 0.3" in cli("experiment", "logs", again, "bad").stdout
    cli("experiment", "cancel", again)


@pytest.mark.parametrize("words", [["status", "fit"], ["logs", "fit"], ["list"], ["show", "fit"]])
def test_reading_back_does_not_load_what_configuring_needs(cli, words: list[str]) -> None:
    (cli.cwd / "mine.py").write_text("def f(x):\n    print(x)\n")
    cli.launch("import mine\nrun.run(run.Partial(mine.f, 1), name='fit')")
    code = f"import sys; sys.argv[1:] = {['experiment', *words]}\n"
    code += "from runyard.cli.root import main\n"
    code += "try: main()\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=cli.env, cwd=cli.cwd
    )
    assert done.stdout
    assert not {"fiddle", "rich", "cloudpickle", "pydantic", "omegaconf", "yaml", "mine"} & set(done.stderr.split())


# -- an experiment that nobody drives --------------------------------------------------------------


@pytest.mark.parametrize("words", [["status"], ["wait"], ["logs", "-f"], ["logs"]])
def test_an_abandoned_experiment_goes_on_when_it_is_looked_at(cli, until, words: list[str]) -> None:
    cli.launch(
        "with run.Experiment('left') as exp:\n"
        "    a = exp.add(run.Script(inline='touch up; while ! test -e go; do sleep 0.02; done; echo a'), name='a')\n"
        "    exp.add(run.Script(inline='echo b'), name='b', dependencies=[a])\n    exp.run(detach=True)\n"
    )
    until((cli.cwd / "up").exists)
    cli.kill_controllers()
    (cli.cwd / "go").write_text("")
    folder = cli.folder(cli.json("experiment", "list")[0]["id"])
    until((folder / "a" / "attempts" / "1" / "rc").exists)
    cli("experiment", *words, "left")
    until(lambda: cli.json("experiment", "list")[0]["states"] == {"SUCCEEDED": 2})


def test_a_corrupt_record_is_named_with_its_remedy(cli) -> None:
    cli("run", "-q", "--name", "x", "--", "true")
    with sqlite3.connect(cli.home / "runyard.db") as con:
        con.execute("UPDATE jobs SET spec = '{'")
    con.close()
    id = json.loads(cli("experiment", "list", "--json").stdout)[0]["id"]
    said = cli("experiment", "status", "x", code=2).stderr
    assert id in said
    assert "runyard doctor --rebuild" in said
