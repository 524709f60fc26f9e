"""Packagers through real launches: what is on disk at the launch is what runs, and it can be run again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import processes
import runyard as run
from runyard.engine import clean
from runyard.errors import ConfigError, PackagingError
from runyard.store.db import Database

SAY = "import pathlib; print(pathlib.Path('message.txt').read_text().strip(), pathlib.Path.cwd().name)\n"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNYARD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """A git repository with one commit, one change and one untracked file; tests run in it."""
    folder = tmp_path / "repo"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "say.py").write_text(SAY)
    (folder / "message.txt").write_text("committed\n")
    (folder / ".gitignore").write_text("ignored/\n")
    who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    for args in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *args], cwd=folder, check=True)
    (folder / "message.txt").write_text("changed\n")
    (folder / "new.txt").write_text("untracked\n")
    monkeypatch.chdir(folder)
    return folder


def git(**options):
    return run.LocalExecutor(packager=run.GitArchivePackager(**options))


def say(executor, **more):
    result = run.run(run.Script("src/say.py", entrypoint="python"), executor=executor, name="say", **more)
    return result.log_path.read_text().split()[0]


def test_uncommitted_work_ships_and_a_ref_restores_commits(repo):
    assert say(git()) == "changed"
    assert say(git(ref="HEAD")) == "committed"
    assert say(git(include_uncommitted=False)) == "committed"


def test_the_launch_says_what_ships_and_the_record_holds_commit_and_diff(repo, capfd, home):
    result = run.run(run.Script("src/say.py", entrypoint="python"), executor=git(), name="say")
    line = next(text for text in capfd.readouterr().err.splitlines() if text.startswith("code:"))
    assert "1 modified, 1 untracked" in line
    assert "4 files" in line
    code = result.log_path.parents[3] / ".code"
    patch = next(code.glob("*.patch")).read_text()
    assert "-committed" in patch
    assert "+changed" in patch
    about = json.loads(next(code.glob("*.json")).read_text())
    assert len(about["info"]["commit"]) == 40
    assert {e["path"] for e in about["entries"]} == {".gitignore", "message.txt", "new.txt", "src/say.py"}


def test_an_edit_after_the_launch_changes_nothing(repo):
    script = run.Script(inline="sleep 0.5; cat message.txt")
    result = run.run(script, executor=git(), name="late", detach=True)
    (repo / "message.txt").write_text("too late\n")
    exp = run.Experiment.from_id(result.experiment)
    exp.wait()
    assert result.log_path.read_text() == "changed\n"


def test_a_rerun_and_code_from_use_the_recorded_code(repo, tmp_path, monkeypatch):
    say(git())
    (repo / "message.txt").write_text("third\n")
    monkeypatch.chdir(tmp_path)
    again = run.Experiment.from_title("say").reset().run()
    assert again["say"].log_path.read_text().split()[0] == "changed"
    monkeypatch.chdir(repo)
    with run.Experiment("other", executor=git(), code_from="say") as exp:
        exp.add(run.Script("src/say.py", entrypoint="python"), name="say")
        assert exp.run()["say"].log_path.read_text().split()[0] == "changed"


def test_code_from_an_experiment_without_code_is_refused(repo):
    run.run(run.Script(inline="true"), name="plain")
    exp = run.Experiment("other", executor=git(), code_from="plain")
    exp.add(run.Script(inline="true"))
    with pytest.raises(ConfigError, match=r"plain_.* shipped no code") as caught:
        exp.run()
    assert "packager" in caught.value.hint


def test_equal_code_is_one_tree_and_isolate_gives_its_own(repo):
    alone = run.LocalExecutor(packager=run.GitArchivePackager(), isolate=True)
    with run.Experiment("trees", executor=git()) as exp:
        for name in ("one", "two"):
            exp.add(run.Script(inline="pwd"), name=name)
        exp.add(run.Script(inline="pwd; touch made-here"), executor=alone, name="own")
        results = exp.run()
    where = {name: r.log_path.read_text().strip() for name, r in results.items()}
    assert where["one"] == where["two"] != where["own"]
    assert not Path(where["one"], "made-here").exists()


def test_a_job_as_root_that_writes_into_its_code_damages_nobody(repo):
    """Root ignores read-only modes; an ordinary user is refused, or writes into a file of its own."""
    run.run(run.Script(inline="echo damaged >> message.txt || true"), executor=git(), name="vandal")
    assert say(git()) == "changed"
    assert subprocess.run([sys.executable, "-m", "runyard", "code", "verify"], check=False).returncode == 0
    assert (repo / "message.txt").read_text() == "changed\n"


def test_functions_import_what_was_captured(repo, tmp_path):
    (repo / "lib.py").write_text("VALUE = 'captured'\ndef show():\n    print(VALUE, __file__)\n")
    (repo / "launch.py").write_text(
        "import pathlib, runyard as run\nfrom lib import show\n"
        "def main_function(text):\n    print('main', text)\n"
        "if __name__ == '__main__':\n"
        "    ex = run.LocalExecutor(packager=run.GitArchivePackager())\n"
        "    exp = run.Experiment('functions', executor=ex)\n"
        "    exp.add(run.Partial(show), name='show'); exp.add(run.Partial(main_function, 'x'), name='main')\n"
        "    exp.run(detach=True)\n"
        "    pathlib.Path('lib.py').write_text('VALUE = \"edited\"\\ndef show():\\n    print(VALUE)\\n')\n"
    )
    subprocess.run([sys.executable, "launch.py"], check=True, timeout=60)
    results = run.Experiment.from_title("functions").wait()
    shown = results["show"].log_path.read_text().split()
    assert shown[0] == "captured"
    assert "/.code/" in shown[1]
    assert results["main"].log_path.read_text() == "main x\n"


def test_a_script_that_does_not_ship_is_named_with_the_remedy(repo):
    (repo / "ignored").mkdir()
    (repo / "ignored" / "job.sh").write_text("echo never\n")
    with pytest.raises(ConfigError, match=r"ignored/job\.sh is not in the code that ships") as caught:
        run.run(run.Script("ignored/job.sh"), executor=git())
    assert "the packager leaves it out" in caught.value.hint
    with pytest.raises(ConfigError, match=r"src/sya\.py") as caught:
        run.run(run.Script("src/sya.py"), executor=git())
    assert "did you mean 'src/say.py'?" in caught.value.hint
    assert run.Experiment.catalog() == []


def test_outside_a_repository_the_message_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "plain").mkdir()
    monkeypatch.chdir(tmp_path / "plain")
    with pytest.raises(PackagingError, match=str(tmp_path / "plain")) as caught:
        run.run(run.Script(inline="true"), executor=git())
    assert "git init" in caught.value.hint or "PatternPackager" in caught.value.hint


def test_hybrid_and_pattern_lay_out_the_working_directory(repo):
    (repo / "configs").mkdir()
    (repo / "configs" / "model.yaml").write_text("a: 1\n")
    both = run.HybridPackager(
        sub_packagers={
            "code": run.GitArchivePackager(subpath="src"),
            "configs": run.PatternPackager(include_pattern="configs/*.yaml", relative_path=os.getcwd()),
        }
    )
    result = run.run(run.Script(inline="find . -type f | sort"), executor=run.LocalExecutor(packager=both), name="ls")
    assert result.log_path.read_text().split() == ["./code/say.py", "./configs/model.yaml"]


def test_a_link_to_a_folder_on_the_target(repo, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "job.sh").write_text("echo from there\n")
    packager = run.GitArchivePackager(symlink_from_remote_dir=str(tmp_path / "there"))
    result = run.run(run.Script("job.sh"), executor=run.LocalExecutor(packager=packager), name="linked")
    assert result.log_path.read_text() == "from there\n"


def test_a_group_ships_the_code_of_each_member(repo):
    exp = run.Experiment("group")
    exp.add(
        [run.Script("src/say.py", entrypoint="python"), run.Script(inline="cat new.txt")],
        executor=[git(), git(ref=None)],
        name="both",
    )
    result = exp.run()["both"]
    logs = sorted(p.read_text().split()[0] for p in result.log_path.parent.glob("*/log"))
    assert logs == ["changed", "untracked"]


def test_cleaning_never_touches_the_code_of_live_jobs(repo, home):
    waiting = run.run(
        run.Script(inline="while ! test -e ../../go; do sleep 0.05; done; cat message.txt"),
        executor=git(),
        name="live",
        detach=True,
    )
    (repo / "message.txt").write_text("other\n")
    say(git())
    with Database(home) as db:
        live = clean.live_hashes(db)
        assert len(live) == 1
        processes.until(waiting.log_path.exists, "the start of the task")
        done = clean.clean(db, older_than=0.0, max_size=0)
        assert not live & set(done.snapshots)
        assert {c.hash for c in clean.stored(db)} >= live
        assert next(c for c in clean.stored(db) if c.hash in live).live
    (waiting.log_path.parents[3] / "go").touch()
    results = run.Experiment.from_id(waiting.experiment).wait()
    assert results["live"].log_path.read_text() == "changed\n"


def test_stored_code_is_cleaned_when_over_its_limit(repo, home, monkeypatch):
    monkeypatch.setenv(clean.LIMIT_VARIABLE, "1kB")
    (repo / "big.bin").write_bytes(os.urandom(200_000))
    say(git())
    with Database(home) as db:
        assert clean.clean_if_over_limit(db) is not None
        # What was used within the last hour stays, so that a launch at the same moment loses nothing.
        assert len(clean.stored(db)) == 1


def test_the_commands_show_list_clean_and_verify(repo, home):
    def runyard(*args, code=0):
        done = subprocess.run(
            [sys.executable, "-m", "runyard", "code", *args], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    (repo / ".env").write_text("HF_TOKEN=hf_123456\n")
    shown = runyard("show")
    assert "message.txt" in shown
    assert "stays behind: .env" in shown
    assert "looks like a credential" in runyard("show", "--explain", ".env")
    assert "no such file" in runyard("show", "--explain", "ignored/x.txt")
    say(git())
    listed = json.loads(subprocess.check_output([sys.executable, "-m", "runyard", "code", "ls", "--json"]))
    assert [c["experiments"][0].split("_")[0] for c in listed["code"]] == ["say"]
    assert "would remove" in runyard("gc", "--older-than", "1s", "--dry-run")
    assert "removed" in runyard("gc", "--older-than", "14d", "--max-size", "10GB")
    assert "no unit" in runyard("gc", "--older-than", "14", code=2)
    assert "all stored code is whole" in runyard("verify")
    pack = next((home / "snapshots").rglob("*.pack"))
    data = bytearray(pack.read_bytes())
    data[data.index(b"changed")] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    assert "damaged" in runyard("verify", code=1)
    (repo / "message.txt").touch()
    assert say(git()) == "changed"
    assert "all stored code is whole" in runyard("verify")
