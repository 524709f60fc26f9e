"""Processes, known by more than their number."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import processes
from runyard.backends import results
from runyard.backends.process import ProcessId, boot_id, group_members, parse_stat, start_time
from runyard.states import JobState


def test_this_process() -> None:
    me = ProcessId.mine()
    assert me.alive()
    assert ProcessId.of(os.getpid()) == me
    assert ProcessId.parse(str(me)) == me


@given(st.integers(1, 2**22), st.from_regex(r"[A-Za-z0-9-]{1,20}", fullmatch=True), st.uuids())
def test_identities_survive_as_text(pid: int, start: str, boot: object) -> None:
    one = ProcessId(pid, start, str(boot))
    assert ProcessId.parse(str(one)) == one


def test_a_number_alone_is_nobody() -> None:
    me = ProcessId.mine()
    assert not replace(me, start="1").alive(), "another process had this number before"
    assert not replace(me, boot="another-boot").alive(), "the machine was restarted since"


def test_the_end_of_a_process() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    identity = ProcessId.of(child.pid)
    assert identity is not None
    assert identity.alive()
    assert group_members(child.pid)
    child.kill()
    processes.until(lambda: not identity.alive(), "its end")
    assert start_time(child.pid) is None, "a zombie counts as running"
    child.communicate()
    assert ProcessId.of(child.pid) is None
    assert not group_members(child.pid)


STAT = "4217 ({}) {} 1 4217 4217 0 -1 4194304 81 0 0 0 0 0 0 0 20 0 1 0 {} 2646016 211 184467"


@given(
    st.text(st.characters(blacklist_characters="\n\0", blacklist_categories=["Cs"]), max_size=15), st.integers(1, 10**9)
)
def test_any_command_name_may_stand_in_stat(name: str, ticks: int) -> None:
    assert parse_stat(STAT.format(name, "S", ticks)) == str(ticks)
    assert parse_stat(STAT.format(name, "Z", ticks)) is None


@pytest.mark.parametrize("text", ["", "12", "12 (sh) S 1"])
def test_a_cut_off_stat_is_nobody(text: str) -> None:
    assert parse_stat(text) is None


def test_our_own_stat_agrees_with_the_kernel() -> None:
    assert parse_stat(Path("/proc/self/stat").read_text()) == ProcessId.mine().start
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0, ""),
        (1, "exit code 1"),
        (126, "exit code 126 (command not executable)"),
        (127, "exit code 127 (command not found)"),
        (130, "signal SIGINT"),
        (137, "signal SIGKILL"),
        (139, "signal SIGSEGV"),
        (200, "exit code 200"),
        (255, "exit code 255"),
    ],
)
def test_reasons(code: int, reason: str) -> None:
    seen = results.ended(code)
    assert (seen.state, seen.exit_code, seen.reason) == (JobState.FAILED if code else JobState.SUCCEEDED, code, reason)


def test_only_a_kill_can_be_for_lack_of_memory() -> None:
    assert results.ended(137, oom=True).reason == "out of memory (OOM)"
    assert results.ended(1, oom=True).reason == "exit code 1"
    assert results.ended(0, oom=True).reason == ""


@pytest.mark.parametrize("content", ["", "x\n", "3", " 3 \n", "-1\n"])
def test_result_files(tmp_path: Path, content: str) -> None:
    (tmp_path / "attempts" / "1").mkdir(parents=True)
    (tmp_path / "attempts" / "1" / "rc").write_text(content)
    left = results.read_rc(str(tmp_path), 1)
    assert (left[0] if left else None) == (int(content) if content.strip().lstrip("-").isdigit() else None)
    assert results.read_rc(str(tmp_path), 2) is None


@pytest.mark.parametrize(
    "content", ["", "pid=1\n", "pid=1\nhost=h\nboot=b\nstat=s\n", "garbage\nend\n", "pid=x\nend\n"]
)
def test_a_claim_that_is_half_written_is_none_yet(tmp_path: Path, content: str) -> None:
    (tmp_path / "attempts" / "1").mkdir(parents=True)
    (tmp_path / "attempts" / "1" / "started").write_text(content)
    assert results.read_started(str(tmp_path), 1) is None
