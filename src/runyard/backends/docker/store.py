"""The code trees that an engine on another machine keeps for later launches: shell scripts on its volume."""

from __future__ import annotations

from collections.abc import Sequence

from runyard.backends.codestore import Usage
from runyard.backends.docker.files import Files, Gone, Ran
from runyard.backends.docker.helper import CACHE_DIR, CODE_VOLUME, Helper
from runyard.errors import PackagingError

KEEP = 16
"""Code trees that are kept, those that were used last."""
_GONE = 9
"""Exit code where another launch has removed the engine's copy of a tree meanwhile."""

# A stored tree is a folder of its own, `<hash>.<token>`, and never changes. The file `<hash>.ok` holds its name, comes
# when it is whole, and goes before it does: so who has copied it looks whether the file still is there.
# Each script may be run twice, also at the same time: a connection that is cut does not end what runs there.
_REMAINS = """
is_stored() { [ "$(cat "${1%%.*}.ok" 2> /dev/null)" = "$1" ]; }
remains() {  # what launches have left that died a day ago
  find . -mindepth 1 -maxdepth 1 ! -name "*.ok" -mtime +0 | while read -r name; do
    is_stored "${name#./}" || echo "$name"
  done
}
"""
PROBE = f"""cd {CACHE_DIR} || exit 1
if [ -s "$1.ok" ]; then touch -c "$1.ok"; echo have; exit 0; fi
ls -t | while read -r name; do case $name in *.ok) [ ! -s "$name" ] || echo "${{name%.ok}}";; esac; done
exit 0
"""
_TAKE = f"""cd {CACHE_DIR} || exit 1
take() {{
  from=$(cat "$1.ok") || exit {_GONE}
  touch -c "$1.ok"
  rm -rf "$2" && cp -a "$from" "$2"
  code=$?
  [ "$(cat "$1.ok" 2> /dev/null)" = "$from" ] || code={_GONE}
  [ $code = 0 ] || {{ rm -rf "$2"; exit $code; }}
}}
"""
PREPARE = f"""{_TAKE}
if [ -n "$2" ]; then take "$2" "$1"; else mkdir -p "$1"; fi && touch "$1"
"""
REMOVE = f"""cd {CACHE_DIR}/"$1" || exit 1
[ ! -e ../"$1.gone" ] || {{ xargs -0 rm -rf -- < ../"$1.gone" && rm -f ../"$1.gone"; }}
"""
FINISH = f"""cd {CACHE_DIR} || exit 1
echo "$1" > "$1.new" || exit 1
ln "$1.new" "$2.ok" 2> /dev/null || [ -s "$2.ok" ] || mv "$1.new" "$2.ok" || exit 1
[ "$(cat "$2.ok")" = "$1" ] || rm -rf "$1"
rm -f "$1.new"
n=0
ls -t | while read -r name; do
  case $name in
    *.ok)
      n=$((n + 1))
      [ $n -le {KEEP} ] || {{ tree=$(cat "$name"); rm -f "$name"; [ -z "$tree" ] || rm -rf "$tree"; }};;
  esac
done
{_REMAINS}
remains | while read -r name; do rm -rf "$name"; done
exit 0
"""
COPY = f"""{_TAKE}
[ ! -e "$2.ok" ] || exit 0
part=$2.part$$
mkdir -p "${{2%/*}}" || exit 1
take "$1" "$part"
chown -R -h "$3" "$part" || exit 1
if [ -e "$2.ok" ]; then rm -rf "$part"; else rm -rf "$2" && mv "$part" "$2" && : > "$2.ok"; fi
"""

_USAGE = f"""cd {CACHE_DIR} || exit 1
{_REMAINS}
trees=0 kept=0 others=0 lost=0
for name in *; do
  [ -d "$name" ] || continue
  size=$(du -sk "$name") || exit 1
  size=${{size%%[!0-9]*}}
  if is_stored "$name"; then trees=$((trees + 1)) kept=$((kept + size))
  else others=$((others + 1)) lost=$((lost + size)); fi
done
echo $trees $kept $others $lost
"""
_CLEAN = f"""cd {CACHE_DIR} || exit 1
{_REMAINS}
remains
[ -z "$1" ] || exit 0
remains | while read -r name; do rm -rf "$name"; done
shift
for hash; do
  find . -maxdepth 1 -name "$hash*.ok" -mmin +60 | while read -r mark; do
    tree=$(cat "$mark")
    rm -f "$mark"
    [ -z "$tree" ] || rm -rf "$tree"
    echo "$mark"
  done
done
"""


class CodeVolume:
    """See :class:`~runyard.backends.codestore.CodeStore`; its contents are whole code trees.

    Args:
        files: The engine's files.
        cluster: The engine's name.
        image: An image with a shell and the usual file tools.
    """

    def __init__(self, files: Files, cluster: str, image: str) -> None:
        self._helper = Helper(files, CODE_VOLUME, image)
        self.place = f"{cluster} {CODE_VOLUME}"

    def usage(self) -> Usage:
        """Return what it holds; what launches have left that died is needed by nobody."""
        trees, kept, others, lost = map(int, self._ask(_USAGE).split())
        return Usage(trees + others, (kept + lost) << 10, others, lost << 10)

    def clean(self, trees: Sequence[str], dry_run: bool = False) -> int:
        """Remove trees, by the hashes that their names begin with, and what launches have left that died."""
        hashes = sorted({tree.rpartition("/")[2][:12] for tree in trees})
        return len(self._ask(_CLEAN, "dry" if dry_run else "", *hashes).split())

    def damaged(self, repair: bool = False) -> list[str]:
        """Refuse: nothing there says what each file should be."""
        del repair
        raise PackagingError(
            f"{self.place}: code that a Docker engine keeps is not verified",
            hint=f"in doubt remove it, it is sent anew: docker volume rm {CODE_VOLUME}",
        )

    def _ask(self, script: str, *args: str) -> bytes:
        try:
            return done(self._helper.run(script, *args))
        finally:
            self._helper.remove()


def done(said: Ran) -> bytes:
    """Return what a script printed.

    Raises:
        Gone: when another launch has removed what it needs.
        PackagingError: when it failed.
    """
    if said.code == _GONE:
        raise Gone
    if said.code:
        raise PackagingError(
            f"the code could not be put in place on the engine: {said.err.decode('utf-8', 'replace').strip()}",
            hint="the image needs coreutils or BusyBox, and the engine free space: docker system df",
        )
    return said.out
