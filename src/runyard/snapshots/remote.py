"""The target's half of a transfer: small POSIX ``sh`` scripts, as text. Pure; nothing here connects anywhere.

The target needs ``sh``, ``tar`` with gzip, and the usual ``ls mv mkdir rm``; ``awk``, ``xargs`` and ``sha256sum`` make
checks stronger where they exist. No daemon, no Python, no rsync.

A transfer asks for little and then sends one stream:

1. :func:`probe_script`: which of these trees are known? A known tree is made from its link archive,
   ``trees/<hash>.tgz``: a few hundred bytes go over the wire (:func:`materialise_script`).
2. :func:`missing_script`: which of the contents that are new since the last known tree are missing? It also saves whole
   objects out of transfers that were interrupted, so that a retry goes on where the first one ended.
3. :func:`receive_script`: reads one tar stream: the missing objects, the link archive, and a mark that it is complete.

**Nothing half-written counts.** Objects arrive in ``incoming/<token>/new``, and get their names in ``objects/`` by
rename, after tar ended well and the mark was there. A tree is built in ``incoming``, its number of files and bytes is
checked, and then it is renamed.

**No locks.** A clean-up (:func:`gc_script`) only takes names of unused objects away. A launch whose link archive then
names a missing object fails to extract it (exit code 76), asks again with the full list, and sends what is gone.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from runyard.errors import PackagingError
from runyard.snapshots.manifest import Entry
from runyard.snapshots.sizes import format_size

EXIT_ROOT = 71
EXIT_TRANSFER = 74
EXIT_INCOMPLETE = 75
EXIT_LINKS = 76
EXIT_COPIES = 77

KEEP_ARCHIVES = 8
"""Link archives kept on a target; each takes about 60 bytes per file of its tree."""


def _prelude(root: str) -> str:
    return (
        "set -u; LC_ALL=C; export LC_ALL; umask 077\n"
        f"mkdir -p -- {quote(root)} && cd -- {quote(root)} "
        f"|| {{ echo 'runyard: cannot use the store folder' >&2; exit {EXIT_ROOT}; }}\n"
        "mkdir -p objects trees incoming || exit 71\n"
    )


def quote(text: str) -> str:
    """Quote a path for ``sh``; a leading ``~/`` stays the target's home folder."""
    if text == "~":
        return '"$HOME"'
    if text.startswith("~/"):
        return '"$HOME"/' + shlex.quote(text[2:])
    return shlex.quote(text)


def probe_script(root: str, trees: Sequence[str]) -> str:
    """Return a script that prints ``have HASH`` for each tree whose link archive the store holds.

    Args:
        root: Folder of the store on the target.
        trees: Full hashes.
    """
    return _prelude(root) + f'for t in {" ".join(trees)}; do [ -s "trees/$t.tgz" ] && echo "have $t"; done\nexit 0\n'


def parse_probe(output: str) -> set[str]:
    """Return the hashes that :func:`probe_script` printed."""
    return {line[5:].strip() for line in output.splitlines() if line.startswith("have ")}


_SALVAGE = """
if command -v sha256sum >/dev/null 2>&1; then
  for d in incoming/*/new/??; do
    [ -d "$d" ] || continue
    p=${d##*/}
    good=$(cd "$d" && set -- && for f in *; do [ -f "../../../../objects/$p/$f" ] || set -- "$@" "$f"; done
      [ $# -gt 0 ] && sha256sum -- "$@" 2>/dev/null | while read -r sum name; do
        [ "$p${name%x}" = "$sum" ] && printf '%s ' "$name"; done)
    [ -n "$good" ] || continue
    mkdir -p "objects/$p"
    (cd "$d" && ln $good "../../../../objects/$p/" 2>/dev/null)
  done
fi
"""

_CHECK = """
if command -v awk >/dev/null 2>&1 && command -v xargs >/dev/null 2>&1; then
  awk '{print "objects/" $1}' "$W" | xargs ls -ln 2>/dev/null | awk '
    NR == FNR {want[$1] = $2; next}
    {k = $NF; sub(/^objects\\//, "", k); have[k] = $5}
    END {for (k in want) if (!(k in have)) print "missing " k; else if (have[k] != want[k]) print "damaged " k}
  ' "$W" -
else
  while read -r k s; do [ -f "objects/$k" ] || echo "missing $k"; done <"$W"
fi
"""


def missing_script(root: str, token: str, objects: Iterable[Entry], *, stale: Sequence[str] = ()) -> str:
    """Return a script that prints ``missing KEY`` or ``damaged KEY`` (wrong size) for objects that must be sent.

    Args:
        root: Folder of the store on the target.
        token: Name of this transfer.
        objects: What is needed.
        stale: Tokens of transfers of ours that failed; removed once what arrived whole is saved.
    """
    wanted = "".join(f"{e.key} {e.size}\n" for e in objects)
    remove = "".join(f"rm -rf {shlex.quote(f'incoming/{t}')}\n" for t in stale)
    return f"""{_prelude(root)}{_SALVAGE}{remove}W=incoming/{token}.want
cat >"$W" <<'EOF' || exit {EXIT_ROOT}
{wanted}EOF
[ -s "$W" ] || {{ rm -f "$W"; exit 0; }}
{_CHECK}rm -f "$W"
"""


def parse_missing(output: str) -> tuple[set[str], set[str]]:
    """Return the keys that are missing, and those that are there in a wrong size."""
    rows = [line.split(" ", 1) for line in output.splitlines() if " " in line]
    missing = {key.strip() for word, key in rows if word == "missing"}
    damaged = {key.strip() for word, key in rows if word == "damaged"}
    return missing, damaged


def receive_script(root: str, token: str, tree: str, dest: str, *, files: int, total: int, copies: bool = False) -> str:
    """Return a script that reads the stream of :func:`runyard.snapshots.push.stream` on its standard input.

    Args:
        root: Folder of the store on the target.
        token: Name of this transfer.
        tree: Hash of the tree.
        dest: Where the tree goes: absolute, or relative to ``root``.
        files: Number of regular files in the tree.
        total: Their bytes.
        copies: Make every file an ordinary one, because the job may run as root.
    """
    return f"""{_prelude(root)}I=incoming/{token}
mkdir "$I" || exit {EXIT_ROOT}
(cd "$I" && tar -xpzof -) || {{ echo 'runyard: the transfer broke off' >&2; exit {EXIT_TRANSFER}; }}
[ -f "$I/done" ] || {{ echo 'runyard: the transfer is incomplete' >&2; exit {EXIT_INCOMPLETE}; }}
for d in "$I"/new/??; do
  [ -d "$d" ] || continue
  mkdir -p "objects/${{d##*/}}" && mv -f "$d"/* "objects/${{d##*/}}/" || exit {EXIT_TRANSFER}
done
mv -f "$I/links.tgz" trees/{tree}.tgz && rm -rf "$I" || exit {EXIT_TRANSFER}
n=0
for f in $(ls -t trees); do n=$((n + 1)); [ $n -le {KEEP_ARCHIVES} ] || rm -f "trees/$f"; done
{_make_tree(token, tree, dest, files, total, copies)}"""


def materialise_script(
    root: str, token: str, tree: str, dest: str, *, files: int, total: int, copies: bool = False
) -> str:
    """Return a script that makes a known tree; its arguments are those of :func:`receive_script`."""
    return _prelude(root) + _make_tree(token, tree, dest, files, total, copies)


def _make_tree(token: str, tree: str, dest: str, files: int, total: int, copies: bool) -> str:
    copy = f"""
mkdir "$I/c" && {{
  cp -RPp --reflink=auto "$I/t" "$I/c/" 2>/dev/null || {{ rm -rf "$I/c"; mkdir "$I/c"; cp -RPp "$I/t" "$I/c/"; }}
}} && chmod -R u+w "$I/c/t" && rm -rf "$I/t" && mv "$I/c/t" "$I/t" || {{ rm -rf "$I"; exit {EXIT_COPIES}; }}"""
    # Sizes are summed up from one listing: a damaged or missing object shows without reading any content.
    return f"""D={quote(dest)}
[ -d "$D" ] && {{ echo existed; exit 0; }}
mkdir -p -- "$(dirname -- "$D")" || exit {EXIT_ROOT}
I=incoming/{token}.t
mkdir "$I" && ln -s ../../objects "$I/objects" || exit {EXIT_ROOT}
(cd "$I" && tar -xpzof ../../trees/{tree}.tgz) || {{ rm -rf "$I"; exit {EXIT_LINKS}; }}
if command -v awk >/dev/null 2>&1; then
  sum=$( (ls -AlnRq "$I/t" 2>/dev/null || ls -AlnR "$I/t") | awk '/^-/ {{n++; s += $5}} END {{printf "%d %.0f", n, s}}')
  [ "$sum" = "{files} {total}" ] || {{
    echo "runyard: files and bytes are $sum, not {files} {total}" >&2; rm -rf "$I"; exit {EXIT_LINKS}
  }}
fi{copy if copies else ""}
{_put("$I/t", token)}rm -rf "$I"
[ "$made" = 1 ] && echo made || echo existed
"""


def _put(built: str, token: str) -> str:
    """Return lines that rename a finished tree to ``$D``, or drop it when another launch was faster; sets ``made``."""
    # `mv` onto a folder that appeared a moment ago would move *into* it: look, and take it out again.
    return f"""mv -- "{built}" "$D.{token}" || {{ rm -rf "$I"; exit {EXIT_TRANSFER}; }}
made=0
if [ -d "$D" ]; then rm -rf -- "$D.{token}"; else
  mv -- "$D.{token}" "$D" || exit {EXIT_TRANSFER}
  made=1; inner=$D/$(basename -- "$D").{token}
  [ -d "$inner" ] && {{ rm -rf -- "$inner"; made=0; }}
fi
"""


def link_script(root: str, token: str, tree: str, dest: str, entries: Iterable[Entry], *, copies: bool = False) -> str:
    """Return a script that makes a tree file by file, with a copy wherever a hard link is refused.

    For stores in which links meet a limit (EMLINK, quotas, ``protected_hardlinks``). The link archive makes what it
    can; the lines after it make the rest. With ``copies`` every file is an ordinary one.
    """
    lines = []
    folders: set[str] = set()
    for entry in entries:
        folder = entry.path if entry.tag == "d" else entry.path.rpartition("/")[0]
        if folder and folder not in folders:
            folders.add(folder)
            lines.append(f"mkdir -p -- {shlex.quote('t/' + folder)}")
        name = shlex.quote("t/" + entry.path)
        if entry.tag == "l":
            lines.append(f"[ -h {name} ] || ln -s -- {shlex.quote(entry.value)} {name}")
        elif entry.tag != "d" and not entry.size:
            lines.append(f"[ -e {name} ] || {{ : >{name}; chmod {755 if entry.executable else 644} {name}; }}")
        elif entry.tag != "d":
            lines.append(f"c {entry.key} {name}")
    body = "\n".join(lines)
    return f"""{_prelude(root)}D={quote(dest)}
[ -d "$D" ] && {{ echo existed; exit 0; }}
mkdir -p -- "$(dirname -- "$D")" || exit {EXIT_ROOT}
B=$PWD; I=$B/incoming/{token}.l; refused=
mkdir "$I" && cd "$I" && ln -s ../../objects objects || exit {EXIT_ROOT}
{"" if copies else f"tar -xpzof ../../trees/{tree}.tgz 2>/dev/null"}
mkdir -p t && chmod 755 t
c() {{
  [ -e "$2" ] && return
  {"false" if copies else '[ "$refused" != "$1" ]'} && ln "objects/$1" "$2" 2>/dev/null && return
  refused=$1
  cp -p "objects/$1" "$2" || {{ rm -rf "$I"; exit {EXIT_LINKS}; }}{'; chmod u+w "$2"' if copies else ""}
}}
umask 022
{body}
cd "$B"
{_put("$I/t", token)}rm -rf "$I"
[ "$made" = 1 ] && echo made || echo existed
"""


def discard_script(root: str, keys: Iterable[str]) -> str:
    """Return a script that takes damaged objects out of the store, so that they are sent again."""
    names = "\n".join(f"rm -f objects/{shlex.quote(key)}" for key in keys)
    return f"{_prelude(root)}{names}\nexit 0\n"


def verify_script(root: str) -> str:
    """Return a script that prints ``damaged KEY`` for each object whose content is not what its name says."""
    return f"""{_prelude(root)}
command -v sha256sum >/dev/null 2>&1 || {{ echo 'runyard: no sha256sum on this machine' >&2; exit 69; }}
for d in objects/??; do
  [ -d "$d" ] || continue
  p=${{d##*/}}
  (cd "$d" && sha256sum -- * 2>/dev/null) | while read -r sum name; do
    [ "$p${{name%x}}" = "$sum" ] || echo "damaged $p/$name"; done
done
exit 0
"""


def usage_script(root: str) -> str:
    """Return a script that prints ``objects N BYTES`` and ``unused N BYTES`` (no tree links to them). Needs ``awk``."""
    return f"""{_prelude(root)}for d in objects/??; do [ -d "$d" ] && ls -ln "$d"; done | awk '
  /^-/ {{n++; s += $5; if ($2 == 1) {{u++; v += $5}}}}
  END {{printf "objects %d %.0f\\nunused %d %.0f\\n", n, s, u, v}}'
"""


def gc_script(root: str, *, trees: Sequence[str] = (), grace_minutes: int = 60, dry_run: bool = False) -> str:
    """Return a script that removes the given trees, and then the objects that no tree links to any more.

    Args:
        root: Folder of the store on the target.
        trees: Code trees of jobs that ended; absolute, or relative to ``root``. Never give one in use.
        grace_minutes: Minutes since an object was last linked or unlinked, before which it stays.
        dry_run: Print, and remove nothing.

    The script prints ``freed N`` (objects). Needs ``find``.
    """
    rm = "" if dry_run else "".join(f"rm -rf -- {quote(tree)}\n" for tree in trees)
    # A link archive without its objects is useless: those that could name a removed object go first.
    prune = "" if dry_run else f"find trees -name '*.tgz' -cmin +{grace_minutes} -exec rm -f {{}} +\n"
    old = "" if dry_run else "find incoming -mindepth 1 -maxdepth 1 -cmin +1440 -exec rm -rf {} +\n"
    age = f"-links 1 {f'-cmin +{grace_minutes}' if grace_minutes else ''}"
    action = "-print" if dry_run else "-print -exec rm -f {} \\;"
    return f"{_prelude(root)}{rm}{prune}{old}n=$(find objects -type f {age} {action} | wc -l)\necho freed $n\n"


def explain_failure(code: int, stderr: str, *, root: str, host: str = "", sent: int | None = None) -> PackagingError:
    """Return the error for a script that failed on the target, in words that help.

    Args:
        code: Its exit code.
        stderr: What it and tar said.
        root: Folder of the store.
        host: Name of the machine, empty for this one.
        sent: Bytes that were sent before.
    """
    where = f"{host}:{root}" if host else root
    low = stderr.lower()
    said = next((line.strip() for line in stderr.splitlines() if line.strip()), f"exit code {code}")
    if "no space left" in low or "quota exceeded" in low:
        kind = "no space left" if "no space" in low else "disk quota exceeded"
        return PackagingError(
            f"{where}: {kind} on the target",
            hint="free space there: `runyard code gc --profile …`, or choose another job_dir",
        )
    if "permission denied" in low or "read-only file system" in low or code == EXIT_ROOT:
        return PackagingError(
            f"{where}: cannot be written on the target ({said})", hint="choose a job_dir that you may write to"
        )
    if "not found" in low and "tar" in low:
        return PackagingError(f"{where}: the target has no tar", hint="install tar and gzip there")
    if code in (EXIT_TRANSFER, EXIT_INCOMPLETE):
        amount = f" after {format_size(sent)}" if sent is not None else ""
        return PackagingError(
            f"{where}: the transfer was interrupted{amount} ({said})",
            hint="launch again: it goes on with what has not arrived",
        )
    return PackagingError(
        f"{where}: the code could not be put in place ({said})",
        hint="launch again; `runyard code verify` checks the store",
    )
