"""``runyard doctor`` and ``--rebuild``: the database from the folders."""

import json
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

FLAKY = """
with run.Experiment("flaky", executor=run.LocalExecutor(retries=1)) as exp:
    body = 'echo attempt $RUNYARD_ATTEMPT; test "$RUNYARD_ATTEMPT" -gt 1'
    a = exp.add(run.Script(inline=body), name="a")
    b = exp.add(run.Script(inline="exit 3"), name="b", executor=run.LocalExecutor(), dependencies=[a])
    exp.add(run.Script(inline="echo c"), name="c", dependencies=[b])
    exp.run(raise_on_failure=False)
"""

WAITING = """
with run.Experiment("waiting", executor=run.LocalExecutor(retries={retries})) as exp:
    a = exp.add(run.Script(inline="echo a >> lines; while ! test -e go; do sleep 0.02; done; exit {code}"), name="a")
    exp.add(run.Script(inline="echo b >> lines"), name="b", dependencies=[a])
    exp.run(detach=True)
"""


def checks(cli, code: int = 0) -> dict[str, dict[str, str]]:
    """Return the findings of the doctor by what they are about."""
    return {c["about"]: c for c in json.loads(cli("doctor", "--json", code=code).stdout)["checks"]}


def known(cli, ref: str) -> list[Any]:
    """Return what a rebuilt record must know as the first one did."""
    about = cli.json("experiment", "show", ref)
    for task in about["tasks"]:
        del task["handle"], task["files"]
        for event in task["events"]:
            assert event.pop("at") > 1e9  # kept to the millisecond
    return [about["id"], about["title"], round(about["created"], 3), about["cwd"], about["host"], about["tasks"]]


def waiting(cli, until, retries: int = 0, code: int = 0) -> Path:
    """Launch a graph whose first task runs until the file ``go`` is there; return its folder."""
    cli.launch(WAITING.format(retries=retries, code=code))
    until((cli.cwd / "lines").exists)
    return cli.folder(cli.json("experiment", "list")[0]["id"])


def lines(cli) -> list[str]:
    """Return what the tasks wrote."""
    return (cli.cwd / "lines").read_text().split()


# -- looking ---------------------------------------------------------------------------------------


def test_a_fresh_machine_is_fine_and_stays_untouched(cli) -> None:
    found = checks(cli)
    assert found["store"]["detail"] == "nothing recorded yet"
    assert "not made yet" in found["home"]["detail"]
    assert "Python 3" in found["versions"]["detail"]
    assert not cli.home.exists()


def test_a_healthy_home_is_fine(cli) -> None:
    cli("run", "-q", "--", "true")
    found = checks(cli)
    # A scheduler's client that is installed here and not set up is told as it is, and is no fault of the home.
    broken = [c for c in found.values() if "does not work" in c["detail"]]
    assert {c["state"] for c in found.values() if c not in broken} == {"ok"}
    assert {c["state"] for c in broken} <= {"warning"}
    assert found["experiments"]["detail"] == "1 recorded, 0 unfinished"
    text = cli("doctor").stdout
    assert text.startswith("ok ")
    assert "GiB free" in text


def test_a_tool_that_is_here_and_does_not_work_is_told(cli, tmp_path) -> None:
    fake = tmp_path / "bin" / "kubectl"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'cannot find a library' >&2\nexit 1\n")
    fake.chmod(0o755)
    cli.env["PATH"] = f"{fake.parent}:{os.environ['PATH']}"
    cli("run", "-q", "--", "true")
    found = checks(cli)["kubectl"]
    assert found["state"] == "warning"
    assert found["detail"] == "is here, and does not work: cannot find a library"


def test_what_is_left_over_is_found(cli, until) -> None:
    cli("run", "-q", "--name", "x", "--", "true")
    old = time.time() - 7200
    for path in (cli.home / "experiments/x/.x_1.draft", cli.home / "secrets/x_1"):
        path.mkdir(parents=True)
        os.utime(path, (old, old))
    shutil.copytree(cli.folder(cli.json("experiment", "list")[0]["id"]), cli.home / "experiments/x/x_5")
    cli.home.chmod(0o755)
    done = cli("doctor")
    for said in (
        ".x_1.draft",
        "secrets of 1 experiment(s)",
        "without a record: x_5",
        "open to other users",
        "-> rm -r",
    ):
        assert said in done.stdout


def test_an_experiment_without_a_controller_is_found(cli, until) -> None:
    folder = waiting(cli, until)
    assert "controllers" not in checks(cli)
    cli.kill_controllers()
    found = checks(cli)["controllers"]
    assert folder.name in found["detail"]
    assert f"runyard experiment status {folder.name}" in found["hint"]


def test_a_home_that_cannot_be_written_is_an_error(cli) -> None:
    cli.env["RUNYARD_HOME"] = "/proc/runyard"
    found = checks(cli, code=1)["home"]
    assert found["state"] == "error"
    assert "/proc" in found["detail"]
    assert "RUNYARD_HOME" in found["hint"]


# -- rebuilding ------------------------------------------------------------------------------------


def break_file(path: Path) -> None:
    """Make it no database."""
    path.write_bytes(b"this is no database, " * 500)


def break_header(path: Path) -> None:
    """Damage the first pages only."""
    data = bytearray(path.read_bytes())
    data[100:6000] = b"\xff" * 5900
    path.write_bytes(data)


def break_tables(path: Path) -> None:
    """Make it a database that lacks a table."""
    con = sqlite3.connect(path)
    con.execute("DROP TABLE events")
    con.commit()
    con.close()


@pytest.mark.parametrize("damage", [break_file, break_header, break_tables])
def test_a_damaged_database_is_moved_aside_and_made_anew(cli, damage) -> None:
    cli.launch(FLAKY)
    cli("run", "-q", "--name", "fine", "--", "echo", "hello")
    before = [known(cli, ref) for ref in ("flaky", "fine")]
    path = cli.home / "runyard.db"
    damage(path)
    broken = path.read_bytes()
    assert checks(cli, code=1)["store"]["hint"] == "runyard doctor --rebuild"
    done = cli("doctor", "--rebuild")
    assert "recovered from folders: 2 experiments" in done.stdout
    (aside,) = cli.home.glob("runyard.db.damaged-*[0-9]")
    assert str(aside) in done.stdout
    assert aside.read_bytes() == broken
    assert [known(cli, ref) for ref in ("flaky", "fine")] == before
    assert cli("experiment", "logs", "fine").stdout == "hello\n"
    assert cli("experiment", "logs", "flaky", "a").stdout == "attempt 1\nattempt 2\n"
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert not list(cli.home.glob(".rebuild*"))
    again = cli("experiment", "rerun", "flaky", "--failed", "--detach").stdout.strip()
    cli("experiment", "wait", again, code=1)


def test_commands_name_a_damaged_database_and_the_remedy(cli) -> None:
    cli("run", "-q", "--", "true")
    break_file(cli.home / "runyard.db")
    for words in (["experiment", "list"], ["experiment", "status", "true"], ["run", "--", "true"]):
        said = cli(*words, code=2).stderr
        assert str(cli.home / "runyard.db") in said
        assert "runyard doctor --rebuild" in said
        assert "Traceback" not in said


def test_a_deleted_database_is_made_anew(cli) -> None:
    cli.launch(FLAKY)
    before = known(cli, "flaky")
    for path in cli.home.glob("runyard.db*"):
        path.unlink()
    said = cli("experiment", "list", code=2).stderr
    assert "runyard doctor --rebuild" in said
    assert checks(cli, code=1)["store"]["state"] == "error"
    cli("doctor", "--rebuild")
    assert known(cli, "flaky") == before
    assert not list(cli.home.glob("*damaged*"))


def test_a_newer_database_is_left_alone(cli) -> None:
    cli("run", "-q", "--name", "x", "--", "true")
    path = cli.home / "runyard.db"
    con = sqlite3.connect(path)
    con.execute("PRAGMA user_version = 99")
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    con.close()
    before = path.read_bytes()
    assert "schema 99" in checks(cli, code=1)["store"]["detail"]
    for words in (["doctor", "--rebuild"], ["experiment", "list"], ["run", "--", "true"]):
        said = cli(*words, code=2).stderr
        assert str(path) in said
        assert "schema 99" in said
        assert "upgrade Runyard" in said
    assert path.read_bytes() == before


def test_a_usable_database_is_completed_and_otherwise_kept(cli) -> None:
    for name in ("a", "b", "c"):
        cli("run", "-q", "--name", name, "--", "true")
    con = sqlite3.connect(cli.home / "runyard.db")
    con.execute("PRAGMA foreign_keys = ON")
    con.execute("DELETE FROM experiments WHERE title = 'a'")  # its folder is still there
    con.execute("UPDATE jobs SET spec = '{' WHERE name = 'b'")  # a record that cannot be read
    con.execute("UPDATE jobs SET handle = '[\"kept\"]' WHERE name = 'c'")
    con.commit()
    con.close()
    assert cli("experiment", "status", "b", code=2).stderr.count("runyard doctor --rebuild") == 1
    done = cli("doctor", "--rebuild")
    assert "1 experiment kept as they were" in done.stdout
    assert "recovered from folders: 2 experiments" in done.stdout
    for name in ("a", "b", "c"):
        assert cli.states(name) == {name: "SUCCEEDED"}
    con = sqlite3.connect(cli.home / "runyard.db")
    assert con.execute("SELECT handle FROM jobs WHERE name = 'c'").fetchone() == ('["kept"]',)
    con.close()
    assert "recovered from folders: 0 experiments" in cli("doctor", "--rebuild").stdout


def test_half_written_folders_are_reported_and_the_rest_is_recovered(cli) -> None:
    for name in ("half", "tasks", "events", "fine", "draft", "none"):
        cli("run", "-q", "--name", name, "--", "echo", name)
    folders = {row["title"]: Path(row["folder"]) for row in cli.json("experiment", "list")}
    for path in (folders["half"] / "experiment.yaml", folders["tasks"] / "tasks" / "job.json"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with (folders["events"] / "events.jsonl").open("r+b") as f:
        f.truncate((folders["events"] / "events.jsonl").stat().st_size - 20)
    folders["draft"].rename(folders["draft"].with_name(f".{folders['draft'].name}.draft"))
    (folders["none"] / "experiment.yaml").unlink()
    for path in cli.home.glob("runyard.db*"):
        path.unlink()
    done = cli("doctor", "--rebuild")
    assert "recovered from folders: 2 experiments" in done.stdout
    assert f"{folders['half'] / 'experiment.yaml'} is damaged or half written" in done.stdout
    assert f"{folders['tasks'] / 'tasks' / 'job.json'} is damaged" in done.stdout
    assert f"{folders['none'] / 'experiment.yaml'} cannot be read" in done.stdout
    assert "events.jsonl: 1 line(s) cannot be read" in done.stdout
    assert {row["title"] for row in cli.json("experiment", "list")} == {"events", "fine"}
    assert cli.states("events") == {"events": "SUCCEEDED"}  # its exit code was on disk
    assert all(path.exists() for title, path in folders.items() if title != "draft")


def test_one_unreadable_task_does_not_hide_the_others(cli) -> None:
    cli.launch(FLAKY)
    folder = cli.folder(cli.json("experiment", "list")[0]["id"])
    (folder / "b" / "job.json").write_text("[]")
    for path in cli.home.glob("runyard.db*"):
        path.unlink()
    assert f"{folder / 'b' / 'job.json'} is damaged" in cli("doctor", "--rebuild").stdout
    assert cli.states("flaky") == {"a": "SUCCEEDED", "c": "SKIPPED"}


def test_a_kept_dry_run_is_no_experiment(cli) -> None:
    cli.launch("exp = run.Experiment('dry')\nexp.add(run.Script(inline='true'))\nexp.dryrun(delete_exp_dir=False)")
    done = cli("doctor", "--rebuild")
    assert "never launched" in done.stdout
    assert cli("experiment", "list", code=None).stdout == ""


def test_what_runs_is_adopted_and_its_graph_goes_on(cli, until) -> None:
    """Also while the controller of the old database is alive: it is stopped, not doubled."""
    folder = waiting(cli, until)
    break_file(cli.home / "runyard.db")
    done = cli("doctor", "--rebuild")
    assert f"{folder.name} (goes on)" in done.stdout
    until(lambda: cli.states("waiting")["a"] == "RUNNING")
    (cli.cwd / "go").write_text("")
    cli("experiment", "wait", "waiting")
    assert cli.states("waiting") == {"a": "SUCCEEDED", "b": "SUCCEEDED"}
    assert lines(cli) == ["a", "b"]


def test_what_failed_meanwhile_is_retried_when_its_graph_goes_on(cli, until) -> None:
    cli.launch(
        "with run.Experiment('two', executor=run.LocalExecutor(retries=1)) as exp:\n"
        "    exp.add(run.Script(inline='touch up; sleep 60'), name='long')\n"
        "    body = 'while ! test -e go; do sleep 0.02; done; echo x >> lines; test $RUNYARD_ATTEMPT -gt 1'\n"
        "    exp.add(run.Script(inline=body), name='again')\n    exp.run(detach=True)\n"
    )
    folder = cli.folder(cli.json("experiment", "list")[0]["id"])
    until((cli.cwd / "up").exists)
    until((folder / "again" / "attempts" / "1" / "started").exists)
    cli.kill_controllers()
    (cli.cwd / "go").write_text("")
    until((folder / "again" / "attempts" / "1" / "rc").exists)
    break_file(cli.home / "runyard.db")
    cli("doctor", "--rebuild")
    until(lambda: cli.states("two") == {"long": "RUNNING", "again": "SUCCEEDED"})
    assert lines(cli) == ["x", "x"]
    cli("experiment", "cancel", "two")


def test_what_ended_unseen_is_judged_by_its_exit_code_and_nothing_starts(cli, until) -> None:
    folder = waiting(cli, until)
    cli.kill_controllers()
    (cli.cwd / "go").write_text("")
    until((folder / "a" / "attempts" / "1" / "rc").exists)
    break_file(cli.home / "runyard.db")
    cli("doctor", "--rebuild")
    assert cli.states("waiting") == {"a": "SUCCEEDED", "b": "LOST"}
    (b,) = cli.json("experiment", "show", "waiting", "b")["tasks"]
    assert b["reason"] == "the record was lost before it started"
    assert lines(cli) == ["a"]
    again = cli("experiment", "rerun", "waiting", "--failed", "--detach").stdout.strip()
    cli("experiment", "wait", again)
    assert lines(cli) == ["a", "b"]


def test_what_died_without_a_trace_is_lost_never_succeeded(cli, until) -> None:
    waiting(cli, until)
    cli.kill_controllers()
    cli.kill_jobs()
    for path in cli.home.glob("runyard.db*"):
        path.unlink()
    cli("doctor", "--rebuild")
    assert cli.states("waiting") == {"a": "LOST", "b": "SKIPPED"}
    (a,) = cli.json("experiment", "show", "waiting", "a")["tasks"]
    assert "left no exit code" in a["reason"]


def test_titles_and_folders_of_any_kind_survive(cli, tmp_path: Path) -> None:
    odd = tmp_path / "a: 'b' \x7f #c é"
    odd.mkdir()
    cli.cwd = odd
    title = 'yes: {no} "quoted" \u2028 é # x'
    cli("run", "-q", "--name", "n", "--title", title, "--", "true")
    for path in cli.home.glob("runyard.db*"):
        path.unlink()
    cli("doctor", "--rebuild")
    (row,) = cli.json("experiment", "list")
    assert row["title"] == title
    assert row["states"] == {"SUCCEEDED": 1}
