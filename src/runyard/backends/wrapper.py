"""The POSIX ``sh`` script around a job's commands: claim, environment, log, result.

:func:`render` is pure. The script needs only ``sh``, ``mkdir`` and ``mv`` on the target
(``mkfifo`` and Python when there are secrets to blot out; bash for setup lines).

What it does, in this order: claims the attempt by an atomic ``mkdir`` before any user code runs
(a second claimant ends at once with :data:`CLAIMED`), records who runs it in ``started``, runs
the members with their output in ``log``, and writes the exit code to ``rc`` by a rename, so
that a reader sees the whole number or nothing.

The attempt's number comes from the environment of Runyard's own submission
(:data:`CLAIM`). Started by hand, without it, the script runs as an attempt of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runyard.shell import quote

CLAIMED = 113
"""Exit code of a second claimant of the same attempt."""
NO_FOLDER = 112
"""Exit code when the attempt's folder cannot be made."""

ATTEMPTS = "attempts"
CLAIM = "RUNYARD_CLAIM"
"""Variable with the attempt's number that Runyard's own submission sets."""
GROUP_GRACE = 10
"""Seconds between the gentle and the final stop of a group's other members."""
STOP = "kill -TERM 0"


@dataclass(frozen=True)
class Member:
    """One command of the script.

    Args:
        name: Folder of its log within the attempt, or empty for a job with one member.
        argv: The command.
        env: Variables to export, before the secrets.
        secrets: Names of its variables in the secrets file.
        setup: Lines of bash to run before the command, in the same shell.
        workdir: Folder to run in.
        messages: File for what the command itself has to say, apart from the log (raw shell text).
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    secrets: tuple[str, ...]
    setup: str
    workdir: str
    messages: str = ""


def render(
    *,
    title: str,
    folder: str,
    members: tuple[Member, ...],
    facts: Mapping[str, str],
    macros: Mapping[str, str] | None = None,
    redactor: tuple[str, ...] = (),
    forward_signals: bool = False,
    forward_to_all: bool = False,
    told_to_end: bool = False,
    header: str = "",
    claim: tuple[str, ...] = (f"claim=${{{CLAIM}:-}}; unset {CLAIM}",),
    secrets: str = "${RUNYARD_SECRETS_FILE:-$job/.secrets}",
    marks: Mapping[str, str] | None = None,
    prelude: tuple[str, ...] = (),
    closing: tuple[str, ...] = (),
    stop: str = STOP,
    grace: int = GROUP_GRACE,
    own_attempt: str = "manual-$$",
    within: str = "",
) -> str:
    """Return the script of a job.

    Args:
        title: What it is, for the comment at its top.
        folder: The job's folder on the target, absolute (a :class:`~runyard.shell.Raw` may name a variable of the
            target's shell).
        members: The commands; several run side by side as a group, and when one fails the
            others are stopped.
        facts: ``RUNYARD_*`` variables every member sees.
        macros: Placeholders in arguments and environment, with raw shell text for each.
        redactor: Command that copies its input, blotting out secrets; it gets the secrets
            file as its last argument. Used when a member has secrets.
        forward_signals: Pass SIGTERM on to the members (where the scheduler signals only this shell).
        forward_to_all: Pass it on to the members' children too, as where a whole process group is signalled.
        told_to_end: The scheduler tells the tasks themselves to end, so the members' commands, its launchers, ignore
            SIGTERM; and they may end with 0 when their tasks were killed, so no success is believed after it.
        header: Lines right below ``#!/bin/sh`` (``#SBATCH`` …).
        claim: Lines that put the attempt's number into ``claim``, or nothing when a person submitted the script.
        secrets: Path of the secrets file, as text between double quotes.
        marks: Further lines of ``started``: name and raw shell text.
        prelude: Lines to run once, after the claim and before the members.
        closing: Lines to run after the members, before the result is written.
        stop: Command that tells a group's other members to end, once one has failed.
        grace: Seconds between the gentle and the final stop of a group's other members.
        own_attempt: Name of the attempt of a script that a person submitted, as raw shell text.
        within: Folder in the attempt's, for a script that is one of several of an attempt.
    """
    macros = macros or {}
    lines = ["#!/bin/sh"]
    if header:
        lines.append(header.rstrip("\n"))
    lines += [
        f"# {title.replace(chr(10), ' ')}",
        "# Written by Runyard. Starting it by hand runs the job once more, as an attempt of its own.",
        "set -u",
        "mask=$(umask); umask 077",
        f"job={quote(folder)}",
        *claim,
        f"attempt=${{claim:-{own_attempt}}}",
        f'A="$job/{ATTEMPTS}/$attempt"',
        *([f'mkdir -p "$A"; A="$A"/{quote(within)}'] if within else []),
        'mkdir "$A" 2>/dev/null || {',
        f'  [ -n "$claim" ] && [ -d "$A" ] && exit {CLAIMED}',
        '  mkdir -p "$A" || { echo "runyard: cannot make $A (disk full? no permission?)" >&2; '
        + f"exit {NO_FOLDER}; }}",
        "}",
        f'mkdir "$A/output" || exit {NO_FOLDER}',
        "stat=; boot=; host=",
        "{ IFS= read -r stat < /proc/$$/stat; IFS= read -r boot < /proc/sys/kernel/random/boot_id;"
        + " IFS= read -r host < /proc/sys/kernel/hostname; } 2>/dev/null",
        '[ -n "$host" ] || host=$(uname -n)',
        _started(marks or {}),
        'export RUNYARD_ATTEMPT="$attempt" RUNYARD_JOB_DIR="$job" RUNYARD_OUTPUT_DIR="$A/output"',
        *_exports(facts, macros),
    ]
    hidden = any(m.secrets for m in members)
    if hidden:
        lines.append(f'secrets="{secrets}"; unset RUNYARD_SECRETS_FILE')
    lines += prelude
    for i, member in enumerate(members):
        lines += _member(i, member, macros, redactor if hidden else (), shielded=told_to_end)
    forward = "" if not forward_signals else "0" if forward_to_all or len(members) > 1 else "$pid"
    lines += _supervise(len(members), forward, told_to_end, closing, stop, grace)
    return "\n".join(lines) + "\n"


def _started(marks: Mapping[str, str]) -> str:
    facts = {"pid": "$$", "host": "$host", "boot": "$boot", "stat": "$stat", **marks}
    values = " ".join(f'"{value}"' for value in facts.values())
    return f"printf '{''.join(f'{name}=%s' + chr(92) + 'n' for name in facts)}end\\n' {values} > \"$A/started\""


def _exports(env: Mapping[str, str], macros: Mapping[str, str]) -> list[str]:
    return [f"export {name}={quote(value, macros)}" for name, value in env.items()]


def _member(
    index: int, member: Member, macros: Mapping[str, str], redactor: tuple[str, ...], shielded: bool
) -> list[str]:
    log = '"$A"' if not member.name else f'"$A"/{quote(member.name)}'
    command = " ".join(quote(word, macros) for word in member.argv)
    body = [
        # A scheduler's launcher that is told to end kills its tasks at once; they are told by the scheduler itself.
        ("trap '' TERM INT HUP" if shielded else "trap - TERM INT HUP") + "; umask $mask",
        f"cd {quote(member.workdir, macros)} || exit 111",
        *_exports(member.env, macros),
    ]
    if member.secrets:
        body += [
            '[ -r "$secrets" ] || { echo "runyard: the secrets file is gone: $secrets" >&2; exit 110; }',
            '. "$secrets"',
        ]
    if member.setup.strip():
        # Bash, because people write setup lines for the shell they type in; exec keeps one process.
        lines_then_command = member.setup.rstrip("\n") + '\nexec "$@"'
        body.append(f"exec bash -c {quote(lines_then_command)} bash {command}")
    else:
        body.append(f"exec {command}" + (f' 2> "{member.messages}"' if member.messages else ""))
    lines = [f"run_{index}() {{"]
    if member.name:
        lines.append(f"  mkdir {log} || return {NO_FOLDER}")
    if redactor:
        filter_ = " ".join(quote(w, macros) for w in redactor)
        lines += [
            f"  mkfifo {log}/.pipe || return {NO_FOLDER}",
            f"  (trap '' TERM INT HUP; exec {filter_} \"$secrets\" < {log}/.pipe > {log}/log 2>&1) & filter=$!",
            f"  exec 3> {log}/.pipe; rm -f {log}/.pipe",
            "  (",
            *(f"    {line}" for line in body),
            "  ) >&3 2>&1 3>&- <&0 & pid=$!",
            "  exec 3>&-",
            "  collect",
            "  wait $filter",
        ]
    else:
        lines += ["  (", *(f"    {line}" for line in body), f"  ) > {log}/log 2>&1 <&0 & pid=$!", "  collect"]
    if member.name:
        lines.append(f"  printf '%s\\n' $rc > {log}/.rc && mv {log}/.rc {log}/rc")
    lines += ["  return $rc", "}"]
    return lines


# This shell outlives SIGTERM, to write the result. It ignores it rather than trap it: where a child ends while a
# trapped signal interrupts `wait`, bash forgets the child's status. To pass a signal on, it must trap it, once.
_COLLECT = 'collect() { caught=; wait $pid; rc=$?; [ -z "$caught" ] || { wait $pid; rc=$?; }; }'
_IGNORE = "trap '' TERM INT HUP"


def _supervise(count: int, forward: str, told: bool, closing: tuple[str, ...], stop: str, grace: int) -> list[str]:
    lines = [_COLLECT, "pid=; rc=0"]
    if forward:
        lines += [
            f"pass_on() {{ {_IGNORE}; caught=1; kill -TERM {forward} 2>/dev/null; }}",
            "trap pass_on TERM INT HUP",
        ]
    elif told:
        lines.append("told=; trap 'caught=1; told=1' TERM; trap '' INT HUP")
    else:
        lines.append(_IGNORE)
    lines += ["run_0", "rc=$?"] if count == 1 else _group(count, stop, grace)
    if told:
        lines.append('[ $rc -ne 0 ] || [ -z "$told" ] || rc=143')
    lines += [*closing, 'printf \'%s\\n\' $rc > "$A/.rc" && mv "$A/.rc" "$A/rc"', "exit $rc"]
    return lines


def _group(count: int, stop: str, grace: int) -> list[str]:
    # The first member that fails leaves its code in .first and stops the others: the whole process group gently,
    # after a grace period for good. The shells in between ignore SIGTERM and go on.
    lines = [
        "fail() {",
        '  (set -C; printf \'%s\\n\' "$1" > "$A/.first") 2>/dev/null || return 0',
        f"  {stop}",
        "  (",
        "    i=0",
        f"    while [ $i -lt {grace} ]; do sleep 1; i=$((i+1)); done",
        '    cp "$A/.first" "$A/.rc" && mv "$A/.rc" "$A/rc"; kill -KILL 0',
        "  ) & printf '%s\\n' $! > \"$A/.watchdog\"",
        "}",
    ]
    for i in range(count):
        lines.append(f"( {_IGNORE}; run_{i}; rc=$?; [ $rc -eq 0 ] || fail $rc; exit $rc ) & pid_{i}=$!")
    lines += [f"pid=$pid_{i}; collect" for i in range(count)]
    lines += [
        'rc=0; [ ! -f "$A/.first" ] || read -r rc < "$A/.first"',
        '[ ! -f "$A/.watchdog" ] || { read -r pid < "$A/.watchdog"; kill -KILL $pid 2>/dev/null; }',
    ]
    return lines
