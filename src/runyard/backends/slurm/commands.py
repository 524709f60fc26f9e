"""What is asked of a cluster: one ``sh`` script for each question, whatever the number of jobs. Pure.

Every script prints lines that begin with a mark (``%jobs``, ``%files`` …), so that what a login shell prints besides
is not mistaken for an answer; :mod:`runyard.backends.slurm.parse` reads them.

Source: the manual pages of ``sbatch``, ``squeue``, ``sacct`` and ``scancel`` of Slurm 22.05.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from runyard.backends.slurm.script import OUTPUT, in_shell
from runyard.backends.wrapper import ATTEMPTS
from runyard.shell import quote

QUEUE = (
    ("JobArrayID", 40),
    ("State", 24),
    ("RestartCnt", 10),
    ("StartTime", 24),
    ("Reason", 64),
    ("NodeList", 200),
    ("Name", 320),
    ("exit_code", 10),
)
"""Columns of ``squeue``, with their widths: every version of it can print these. The last is as wait(2) has it."""
ACCOUNTING = ("JobID", "State", "ExitCode", "Start", "End", "NodeList", "Reason", "JobName")
"""Columns of ``sacct``; the name comes last, because it may hold the separator."""
LIMIT = 1 << 20
"""Bytes of each log stream that one answer holds at most."""
SECONDS = 45
"""How long a command of Slurm may take; they themselves try for a minute to reach a controller that is gone."""

_HEAD = f"""LC_ALL=C; export LC_ALL
limit() {{ if command -v timeout >/dev/null 2>&1; then timeout {SECONDS} "$@"; else "$@"; fi; }}
here() {{ case $1 in "~/"*) p=$HOME/${{1#"~/"}} ;; *) p=$1 ;; esac; }}
"""


class Asked(NamedTuple):
    """One job that is asked about.

    Args:
        job: Slurm's number; empty when it is not known.
        attempt: Attempt whose result is looked for first.
        folder: The job's folder on the target.
    """

    job: str
    attempt: int
    folder: str


def _queue() -> str:
    columns = ",".join(f"{name}:{width}" for name, width in QUEUE)
    return f"queue=$(SLURM_TIME_FORMAT=%s limit squeue --me -h -r -t all -O {quote(columns)}); code=$?\n"


def _list(asked: Sequence[Asked]) -> str:
    lines = "\n".join(f"{a.job or '-'} {a.attempt} {a.folder}" for a in asked)
    return f"list={quote(lines)}\n"


_FILES = f"""printf '%s\\n' "$list" | while read -r id n folder; do
  here "$folder"; last=; by=; at=; again=; end=; rc=
  while :; do
    A=$p/{ATTEMPTS}/$n; owner=; began=; count=
    [ -r "$A/started" ] || break
    while IFS='=' read -r key value; do
      case $key in slurm) owner=$value ;; at) began=$value ;; restarts) count=$value ;; esac
    done < "$A/started"
    [ -z "$last" ] || [ "$owner" = "$by" ] || break
    last=$n; by=$owner; at=$began; again=$count; end=; rc=
    {{ IFS= read -r end < "$A/ended"; IFS= read -r rc < "$A/rc"; }} 2>/dev/null
    n=$((n+1))
  done
  e=${{p%/*}}; s=${{e%/*/*/*}}/secrets/${{e##*/}}/${{p##*/}}; [ -e "$s" ] && s=1 || s=0
  echo "%file $id|$last|$by|$at|$again|$end|$rc|$s|$folder"
done
"""


def observe(asked: Sequence[Asked]) -> str:
    """Return the script that shows all that is known about jobs.

    Answers: ``%queue`` with the lines of ``squeue``, ``%accounting`` with those of ``sacct`` for jobs that the queue
    does not show, and a line ``%file`` for each job with what its wrapper left.
    """
    return (
        _HEAD
        + _list(asked)
        + _queue()
        + 'if [ $code -ne 0 ]; then echo "%failed $code"; exit 0; fi\n'
        + "echo %queue; printf '%s\\n' \"$queue\" | sed 's/ *$//'\n"
        + """missing=$({ printf '%s\\n' "$queue"; echo %list; printf '%s\\n' "$list"; } | awk '
/^%list$/ {second=1; next}
!second {id=$1; seen[id]=1; sub(/[_+].*/, "", id); seen[id]=1; next}
!($1 in seen) && $1 != "-" {printf "%s%s", comma, $1; comma=","}')
"""
        + 'if [ -n "$missing" ]; then echo %accounting\n'
        + f'  SLURM_TIME_FORMAT=%s limit sacct -n -P -X -j "$missing" -o {",".join(ACCOUNTING)} 2>/dev/null\nfi\n'
        + "echo %files\n"
        + _FILES
    )


def find(asked: Sequence[Asked]) -> str:
    """Return the script that shows which submissions of jobs exist: those that claimed, and those by name."""
    return (
        _HEAD
        + _list(asked)
        + _queue()
        + 'if [ $code -ne 0 ]; then echo "%failed $code"; exit 0; fi\n'
        + "echo %queue; printf '%s\\n' \"$queue\" | sed 's/ *$//'\n"
        + "echo %accounting\n"
        + f"SLURM_TIME_FORMAT=%s limit sacct -n -P -X -S now-2days -o {','.join(ACCOUNTING)} 2>/dev/null\n"
        + "echo %files\n"
        + _FILES
        + arrays(unique_parents(asked))
    )


def unique_parents(asked: Iterable[Asked]) -> list[str]:
    """Return the folders of the experiments that jobs belong to."""
    return list(dict.fromkeys(a.folder.rpartition("/")[0] for a in asked))


def arrays(folders: Iterable[str]) -> str:
    """Return lines of script that print the lists of the arrays in which jobs were submitted."""
    lines = "\n".join(folders)
    return (
        f"printf '%s\\n' {quote(lines)} | while read -r folder; do\n"
        '  here "$folder"\n'
        '  for f in "$p"/.arrays/*; do\n'
        "    case $f in *.sbatch | *.log) continue ;; esac\n"
        '    [ -f "$f" ] && { echo "%array ${f##*/}|$folder"; cat "$f"; }\n'
        "  done\n"
        "done\n"
    )


def submit(root: str, token: str) -> str:
    """Return the script that unpacks its standard input below ``root``, and submits what a list in it names.

    The list ``.submit-TOKEN`` has a line ``index|folder|words`` for each submission; the words are quoted for the
    shell. Answers: ``%unpacked``, then ``%submitted index code text`` for each.
    """
    return (
        _HEAD
        + f"root={in_shell(root)}; mask=$(umask); umask 077\n"
        + 'mkdir -p "$root" && cd "$root" && tar -xzmof - || { echo "%refused"; df -P "$root" 2>/dev/null; exit 1; }\n'
        + "echo %unpacked; umask $mask\n"
        + f"""while IFS='|' read -r index folder words; do
  out=$({{ here "$folder"; cd "$p" && {{ [ -e {OUTPUT} ] || (umask 077; : > {OUTPUT}); }} && eval "limit $words"
  }} < /dev/null 2>&1); code=$?
  echo "%submitted $index $code"; printf '%s\\n' "$out"
done < .submit-{token}
rm -f .submit-{token}
"""
    )


def limits() -> str:
    """Return the script that tells the largest job array: ``%largest N`` (one more than the largest index)."""
    return (
        _HEAD + "limit scontrol show config 2>/dev/null | "
        "sed -n 's/^MaxArraySize[ ]*=[ ]*\\([0-9]*\\).*/%largest \\1/p'\ntrue\n"
    )


def forecast(scripts: Sequence[tuple[str, str]]) -> str:
    """Return the script that asks Slurm whether batch scripts could run, without submitting them.

    Args:
        scripts: For each, further options as words of shell, and its text.
    """
    parts = [_HEAD, 'command -v sbatch >/dev/null 2>&1 || { echo "%missing $PATH"; exit 0; }\n']
    for i, (words, text) in enumerate(scripts):
        parts.append(
            f"out=$(printf %s {quote(text)} | SLURM_TIME_FORMAT=%s limit sbatch --test-only {words} 2>&1)\n"
            f'echo "%forecast {i} $?"; printf \'%s\\n\' "$out"\n'
        )
    parts.append("limit sinfo -h -o '%P|%l' 2>/dev/null | sed 's/^/%partition /'\n")
    parts.append('echo "%now $(date +%s)"\n')
    return "".join(parts)


def present(paths: Iterable[str]) -> str:
    """Return lines of script that name the paths which do not exist on the target."""
    return "".join(f"[ -e {in_shell(p)} ] || echo '%absent '{quote(p)}\n" for p in paths)


def out_of_order(nodes: str) -> str:
    """Return the script that names those of some nodes which cannot be used: a line ``%bad NODE`` for each."""
    states = "down,drain,drained,draining,fail,failing,no_respond"
    return f"{_HEAD}limit sinfo -h -N -n {quote(nodes)} -t {states} -o %N 2>/dev/null | sed 's/^/%bad /'\n"


def cancel(jobs: Iterable[str]) -> str:
    """Return the script that ends jobs: SIGTERM, and SIGKILL after the cluster's ``KillWait``."""
    return f'{_HEAD}limit scancel {" ".join(map(quote, jobs))}; echo "%cancelled $?"\n'


def remove(paths: Iterable[str]) -> str:
    """Return the script that removes files, and the folders they leave empty."""
    return (
        "".join(f"rm -f {in_shell(p)}; rmdir {in_shell(p.rpartition('/')[0])} 2>/dev/null\n" for p in paths) + "true\n"
    )


def logs(folder: str, cursor: dict[str, int], limit: int = LIMIT) -> str:
    """Return the script that prints what the log streams of a job hold beyond a cursor.

    Answers: for each stream ``%log offset size name``, a line feed, and so many bytes.
    """
    known = "\n".join(f"{offset} {name}" for name, offset in cursor.items())
    return (
        _HEAD
        + f'here {quote(folder)}; cd "$p/{ATTEMPTS}" 2>/dev/null || exit 0\n'
        + f"known={quote(known)}; limit={limit}; base={cursor.get('*', 0)}\n"
        + """for f in */log */err */*/log */*/err; do
  [ -f "$f" ] || continue
  case $f in */output/*) continue ;; esac
  size=$(wc -c < "$f") || continue
  from=$base
  while read -r offset name; do [ "$name" = "attempts/$f" ] && from=$offset; done <<END
$known
END
  [ "$from" -ge 0 ] || from=$((size + from)); [ "$from" -ge 0 ] || from=0
  [ "$from" -le "$size" ] || from=0
  count=$((size - from)); [ "$count" -le "$limit" ] || count=$limit
  [ "$count" -gt 0 ] || continue
  printf '%%log %d %d %s\\n' "$from" "$count" "attempts/$f"
  tail -c "+$((from + 1))" "$f" | head -c "$count"
done
"""
    )
