"""The batch script of a job, and what each of its processes runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from runyard import executors
from runyard.backends import wrapper
from runyard.backends.base import CODE, JOB, PYTHON, RUNNER, Component, Job, expand
from runyard.backends.slurm import options
from runyard.errors import ConfigError
from runyard.executors.macros import ExecutorMacros
from runyard.executors.slurm import SINGLETON, SlurmExecutor
from runyard.launchers.base import Placement
from runyard.shell import Raw, quote
from runyard.tunnels import Tunnel

SCRIPT = "job.sbatch"
TASK = "task.sh"
OUTPUT = "slurm.log"
"""In a job's folder: what the batch script itself, and Slurm, have to say."""

# Stand-ins for folders that only the job's shell knows; no argument of a user's holds them.
_JOB, _EXP, _ATTEMPT, _HOME = "\1job\1", "\1exp\1", "\1attempt\1", "\1home\1"

_ME = "me=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-}}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
_MARKS = {"slurm": "$me", "at": "$(date +%s)", "restarts": "${SLURM_RESTART_COUNT:-0}"}
_CLOSING = ('date +%s > "$A/ended"',)

# Signals all steps, not the batch script. srun itself, told to end, would kill its step at once.
_STOP = 'scancel --signal=TERM "$SLURM_JOB_ID" 2>/dev/null || kill -TERM 0'

# What sbatch --export=NONE keeps from the batch script, it must not keep from the job's steps too.
_EXPORT_ALL = "unset SLURM_EXPORT_ENV"

# srun ends with the largest code of its processes: when one has failed, with that of the others, which it kills.
_FIRST_TO_FAIL = (
    """[ $rc -eq 0 ] || { first=$(tail -c 1000000 "$A/log" | awk '/^srun: error: .*: tasks? [0-9,-]+: / { """
    """if (sub(/.*: Exited with exit code /, "")) print; else if (/: Segmentation fault/) print 139; """
    """else if (/: Aborted/) print 134; else if (/: (Killed|Out Of Memory)/) print 137; exit }'); rc=${first:-$rc}; }"""
)

HEAD = "runyard_head"
_HEAD_LINE = f'{HEAD}=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1); export {HEAD}'


@dataclass(frozen=True)
class Place:
    """Where a job's files stand on the target.

    Args:
        root: Root of Runyard's files there, as a path (``~/`` is the home folder).
        folder: The job's folder below it.
        remote: The target is another machine than this one.
    """

    root: str
    folder: str
    remote: bool

    @classmethod
    def of(cls, job: Job, tunnel: Tunnel) -> Place:
        """Return the place of a job. Pure."""
        if tunnel.kind == "local":
            return cls(tunnel.expand(tunnel.job_dir) if tunnel.job_dir else job.home, job.folder, False)
        return cls(tunnel.root.rstrip("/") or "/", job.folder, True)

    @property
    def job(self) -> str:
        """The job's folder."""
        return f"{self.root}/{self.folder}"


def in_shell(path: str) -> str:
    """Return a path as a word for a shell, with ``~/`` at its beginning expanded.

    Example:
        >>> in_shell("~/my dir"), in_shell("/a")
        ('"$HOME"/\\'my dir\\'', '/a')
    """
    if path == "~":
        return '"$HOME"'
    return f'"$HOME"/{quote(path[2:])}' if path.startswith("~/") else quote(path)


def native_name(job: Job, executor: SlurmExecutor) -> str:
    """Return the name that Slurm shows; ``find`` knows a job again by it."""
    own = executor.job_details.job_name
    if executor.dependency_type == SINGLETON:  # one at a time of all that have this name, in whatever experiment
        return f"{executor.job_name_prefix}{own or job.id.name}"
    return f"{executor.job_name_prefix}{own + '.' if own else ''}{job.id.native}"


def render(job: Job, place: Place) -> dict[str, str]:
    """Return the files that are submitted for a job, by name; the batch script first.

    Raises:
        ConfigError: for what Slurm cannot run.
    """
    members = [executors.from_dict(c.executor) for c in job.components]
    assert all(isinstance(e, SlurmExecutor) for e in members)
    typed: list[SlurmExecutor] = members  # type: ignore[assignment]
    tasks = {
        (f"{c.name}/{TASK}" if job.group else TASK): task_script(job, i, typed, place)
        for i, c in enumerate(job.components)
    }
    return {SCRIPT: batch_script(job, typed, place), **tasks}


def batch_script(job: Job, members: list[SlurmExecutor], place: Place) -> str:
    """Return the script for ``sbatch``."""
    lead = members[0]
    where = f"task {job.id.name!r}"
    prelude = [_EXPORT_ALL]
    if job.group and lead.heterogeneous:
        prelude += _het_nodes(max(_components(members)) + 1)
    if needs_head(job, members):
        prelude.append(_HEAD_LINE)
    if lead.memory_measure:
        prelude += _memory_lines()
    built = tuple(_member(job, i, members, place) for i in range(len(members)))
    closing = [line for m in built if m.messages for line in _said_by_srun(m)] + list(_CLOSING)
    if _is_many(lead) and not job.group:
        closing.insert(0, _FIRST_TO_FAIL)
    if lead.memory_measure:
        closing.insert(0, 'kill "$measures" 2>/dev/null')
    text = wrapper.render(
        title=f"{job.id.name} of {job.id.experiment}",
        folder=Raw("\1folder\1"),
        members=built,
        macros={_JOB: "$job", _EXP: "${job%/*}", _ATTEMPT: "$A", _HOME: "$HOME"},
        facts={"RUNYARD_EXPERIMENT_ID": job.id.experiment, "RUNYARD_TASK": job.id.name},
        redactor=(_python(job, place), f"{_EXP}/.runner/redact.py"),
        header="\n".join(_header(job, members, where)),
        claim=_claim(own_array=bool(lead.array)),
        secrets=f"{in_double_quotes(place.root)}/secrets/{job.id.experiment}/{job.id.name}",
        marks=_MARKS,
        prelude=tuple(prelude),
        closing=tuple(closing),
        told_to_end=True,
        stop=_STOP,
        grace=lead.wait_time_for_group_job,
    )
    return text.replace('"\1folder\1"', in_shell(place.job), 1)


def _claim(own_array: bool) -> tuple[str, ...]:
    """Return the lines that find out which attempt this is.

    The first word of Runyard's own submission is the attempt's number. When Slurm restarts (requeues) the job, it
    goes on with the next attempt; that of another submission of the same attempt does not. The elements of an array
    of the task's own make attempts side by side.
    """
    element = ".${SLURM_ARRAY_TASK_ID:-0}" if own_array else ""
    return (
        "claim=${1:-}",
        _ME,
        'while [ -n "$claim" ] && [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && '
        f'grep -qx "slurm=$me" "$job/attempts/$claim{element}/started" 2>/dev/null; do claim=$((claim+1)); done',
        *([f'[ -z "$claim" ] || claim=$claim{element}'] if own_array else []),
    )


def _components(members: list[SlurmExecutor]) -> list[int]:
    """Return the component of a heterogeneous job on which each member runs."""
    indices = members[0].het_group_indices or list(range(len(members)))
    if len(indices) != len(members) or sorted(set(indices)) != list(range(max(indices) + 1)):
        raise ConfigError(
            f"SlurmExecutor.het_group_indices={indices} in a group of {len(members)} tasks",
            hint="give one index for each task, and leave none out: [0, 0, 1]",
        )
    return indices


def in_double_quotes(path: str) -> str:
    """Return a path as text between double quotes."""
    if path == "~" or path.startswith("~/"):
        return "$HOME" + in_double_quotes(path[1:])
    for char in '\\"$`':
        path = path.replace(char, f"\\{char}")
    return path


def _header(job: Job, members: list[SlurmExecutor], where: str) -> list[str]:
    lead = members[0]
    details = lead.job_details
    common: dict[str, Any] = {
        "job-name": native_name(job, lead),
        "output": details.stdout or OUTPUT,
        "error": details.stderr or None,
        "open-mode": lead.open_mode,
        # Where bad nodes are left out, the retry is a submission of its own.
        "requeue": job.retries > 0 and not lead.exclude_bad_nodes,
        "no-requeue": job.retries == 0 or lead.exclude_bad_nodes,
    }
    extra = options.additional(lead)
    if "requeue" in extra or "no-requeue" in extra:
        common["requeue"] = common["no-requeue"] = None
    groups = [lead]
    if job.group and lead.heterogeneous:
        where_each_runs = _components(members)
        groups = [members[where_each_runs.index(i)] for i in range(max(where_each_runs) + 1)]
    lines: list[str] = []
    for i, executor in enumerate(groups):
        if i:
            lines.append("#SBATCH hetjob")
        asked = options.resources(executor)
        if executor.array and (job.group or i):
            raise ConfigError(f"{where}: array={executor.array!r} in a task group", hint="add the task singly")
        if i == 0:
            asked = {**common, **asked}
        lines += options.header({**asked, **options.additional(executor)}, where)
    return lines


def _check_redaction(component: Component, executor: SlurmExecutor, where: str) -> None:
    """Refuse output that would pass by what hides secrets."""
    apart = [n for n in ("srun_stdout", "srun_stderr") if getattr(executor.job_details, n)]
    if not executor.stderr_to_stdout:
        apart.append("stderr_to_stdout=False")
    if component.secrets and apart:
        raise ConfigError(
            f"{where}: {', '.join(apart)} would write output past what hides its secrets "
            f"({', '.join(component.secrets)})",
            hint="leave it out: with secrets, output and messages share the job's own log",
        )


def _member(job: Job, index: int, members: list[SlurmExecutor], place: Place) -> wrapper.Member:
    component, executor = job.components[index], members[index]
    _check_redaction(component, executor, f"task {job.id.name!r}")
    launcher = executor.get_launcher()
    name = component.name if job.group else ""
    own = f"{_ATTEMPT}/{name}" if name else _ATTEMPT
    many = _is_many(executor)
    words: list[str] = ["srun"]
    if job.group and members[0].heterogeneous and max(_components(members)):
        words.append(f"--het-group={_components(members)[index]}")
    if job.group:
        words += ["--overlap", f"--nodes={executor.nodes}"]
    if _spawns(launcher.kind):
        words += [f"--ntasks={executor.nodes}", "--ntasks-per-node=1"]
    elif job.group:
        words += [f"--ntasks={executor.nodes * executor.ntasks_per_node}"]
        words += [f"--ntasks-per-node={executor.ntasks_per_node}"]
    if executor.cpus_per_task and not _spawns(launcher.kind):
        words.append(f"--cpus-per-task={executor.cpus_per_task}")
    if many:
        words += ["--label", "--kill-on-bad-exit=1"]
    details = executor.job_details
    if details.srun_stdout:
        words.append(f"--output={details.srun_stdout}")
    if details.srun_stderr:
        words.append(f"--error={details.srun_stderr}")
    elif not executor.stderr_to_stdout:
        words.append(f"--error={own}/err")
    needed = needed_mounts(component, place)
    workdir = _workdir(component, place)
    executor = replace(
        executor,
        container_image=_at_home(executor.container_image or "") or None,
        container_mounts=[_at_home(m) for m in executor.container_mounts],
    )
    env = [*component.env, *component.secrets, "RUNYARD_JOB_DIR", "RUNYARD_OUTPUT_DIR", "RUNYARD_ATTEMPT"]
    words += options.container(executor, needed, env, workdir)
    words += executor.srun_args or []
    words += options.apptainer(executor, needed, workdir)
    words += [_shell_of(component), f"{_JOB}/{name + '/' if name else ''}{TASK}"]
    # With one process, that srun repeats its exit code is noise. Its other messages follow the log at the end.
    messages = "" if many or not executor.stderr_to_stdout else f"$A/{name + '/' if name else ''}.srun"
    return wrapper.Member(
        name=name, argv=tuple(words), env={}, secrets=component.secrets, setup="", workdir=_JOB, messages=messages
    )


def _said_by_srun(member: wrapper.Member) -> list[str]:
    said, log = member.messages, f"$A/{member.name + '/' if member.name else ''}log"
    return [f'[ ! -s "{said}" ] || grep -v ": task 0: " "{said}" >> "{log}"', f'rm -f "{said}"']


def needed_mounts(component: Component, place: Place) -> list[str]:
    """Return what a container must see: the experiment's folder, code linked elsewhere, or the folder of the launch."""
    folders = [_EXP]
    if component.code and "link" in component.code:
        folders.append(component.code["link"])
    elif not component.code and (workdir := _workdir(component, place)) not in (_JOB, "/"):
        folders.append(workdir)
    return [f"{folder}:{folder}" for folder in folders]


def _at_home(path: str) -> str:
    """Return a path, or a mount that begins with one, whose ``~/`` the job's shell replaces."""
    return f"{_HOME}{path[1:]}" if path.startswith("~/") else path


def _spawns(kind: str) -> bool:
    """Say whether a launcher is started once a node and starts the processes itself."""
    return kind in ("torchrun", "ft")


def _is_many(executor: SlurmExecutor) -> bool:
    """Say whether srun starts several processes."""
    return executor.nodes * (1 if _spawns(executor.get_launcher().kind) else executor.ntasks_per_node) > 1


def _shell_of(component: Component) -> str:
    return "bash" if component.setup.strip() else "sh"


def _python(job: Job, place: Place) -> str:
    """Return the interpreter on the nodes: where they are this machine's, the one in use."""
    return job.python if not place.remote else "python3"


def _workdir(component: Component, place: Place) -> str:
    if component.workdir.startswith(CODE):
        return f"{_EXP}/.code{component.workdir[len(CODE) :]}"
    return _JOB if place.remote else component.workdir


def needs_head(job: Job, members: list[SlurmExecutor]) -> bool:
    """Say whether the job must find out its first node: several nodes, or somebody asks for it by a macro."""
    if any(e.nodes > 1 and e.get_launcher().kind != "default" for e in members):
        return True
    asked = (ExecutorMacros.HEAD_NODE_IP_VAR, ExecutorMacros.HET_GROUP_HOST_VAR, "${het_group_host_var_")
    return any(name in word for c in job.components for word in (*c.program.args, *c.env.values()) for name in asked)


def _het_nodes(count: int) -> list[str]:
    lines = []
    for i in range(count):
        lines.append(
            f"SLURM_MASTER_NODE_HET_GROUP_{i}=$(scontrol show hostnames "
            f'"${{SLURM_JOB_NODELIST_HET_GROUP_{i}:-$SLURM_JOB_NODELIST}}" | head -n 1); '
            f"export SLURM_MASTER_NODE_HET_GROUP_{i}"
        )
    return lines


def _memory_lines() -> list[str]:
    return [
        "{ echo 'time,used_kb,available_kb'; while "
        'awk -v t="$(date +%s)" \'/^MemTotal/ {a=$2} /^MemAvailable/ {b=$2} END {print t "," a-b "," b}\' '
        '/proc/meminfo; do sleep 5; done; } > "$A/output/memory.csv" 2>/dev/null & measures=$!',
    ]


def task_script(job: Job, index: int, members: list[SlurmExecutor], place: Place) -> str:
    """Return the script that ``srun`` starts once for each process (or once a node, for launchers)."""
    component, executor = job.components[index], members[index]
    launcher = executor.get_launcher()
    contained = bool(executor.container_image)
    python = executor.python or ("python3" if place.remote or contained else job.python)
    job_dir, exp = "$RUNYARD_JOB_DIR", "${RUNYARD_JOB_DIR%/*}"
    host = head = f"${{{HEAD}:-$(hostname)}}"
    hosts = [host] * len(members)
    if job.group and members[0].heterogeneous:
        hosts = [f"$SLURM_MASTER_NODE_HET_GROUP_{i}" for i in _components(members)]
        host, head = "$SLURM_MASTER_NODE_HET_GROUP_0", hosts[index]
    macros: dict[str, str] = {_JOB: job_dir, _EXP: exp}
    macros |= {
        ExecutorMacros.HEAD_NODE_IP_VAR: host,
        ExecutorMacros.HET_GROUP_HOST_VAR: host,
        ExecutorMacros.NUM_NODES_VAR: str(executor.nodes),
        ExecutorMacros.NODE_RANK_VAR: "$SLURM_NODEID",
        ExecutorMacros.NPROC_PER_NODE_VAR: str(executor.nproc_per_node()),
    }
    macros |= {ExecutorMacros.group_host(i): name for i, name in enumerate(hosts)}
    paths = {PYTHON: python, RUNNER: f"{_EXP}/.runner", JOB: _JOB, CODE: f"{_EXP}/.code"}
    placement = Placement(
        nnodes=executor.nodes,
        nproc_per_node=executor.nproc_per_node(),
        head=Raw(head) if executor.nodes > 1 else "127.0.0.1",
        node_rank=Raw("$SLURM_NODEID"),
        python=python,
        job=f"{job.id.native}.{component.name}" if job.group else job.id.native,
    )
    argv = [expand(word, paths) for word in launcher.wrap(component.program, placement)]
    lines = ["#!/bin/bash" if component.setup.strip() else "#!/bin/sh"]
    if executor.stderr_to_stdout:
        lines.append("exec 2>&1")
    if job.path_prefix and not place.remote and not contained and not ({"$", '"'} & set(job.path_prefix)):
        lines.append(f'export PATH="{job.path_prefix}:$PATH"')
    env: Mapping[str, str] = {**launcher.environment(), **component.env}
    lines += [f"export {name}={quote(value, macros)}" for name, value in env.items()]
    if not executor.container_workdir:
        lines.append(f"cd {quote(_workdir(component, place), macros)} || exit 111")
    if component.setup.strip():
        lines.append(component.setup.rstrip("\n"))
    lines.append("exec " + " ".join(quote(word, macros) for word in argv))
    return "\n".join(lines) + "\n"
