"""Listing a git repository and its submodules: the working tree, or a commit."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field

from runyard.errors import PackagingError
from runyard.packagers import _gitrepo as git
from runyard.packagers._gitrepo import Repo
from runyard.snapshots.listing import Found, look
from runyard.snapshots.manifest import EXECUTABLE, FILE, LINK, printable
from runyard.snapshots.reading import stream_blobs

_LFS = b"version https://git-lfs.github.com/spec/"
_COMMIT = "160000"


@dataclass
class Gathered:
    """What was found in a repository and below."""

    found: list[Found] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    modified: int = 0
    untracked: int = 0
    diffs: list[str] = field(default_factory=list)


def gather_worktree(repo: Repo, prefix: str, submodules: bool, out: Gathered) -> None:
    """List what is on disk: tracked files as they are now, and untracked ones that git does not ignore.

    Args:
        repo: The repository.
        prefix: Where it stands in the whole, empty or ending with a slash.
        submodules: List submodules and nested repositories too, each by its own git.
        out: Gets the result.
    """
    index = repo.git(*git.LS_INDEX)
    # These two walk the folders while we look at the files.
    commands = [git.LS_FOLDERS, *([git.DIFF] if repo.head else [])]
    with repo.index_copy() as env, repo.running(*commands, env=env) as (others, *diff):
        staged = git.parse_stage(index)
        found, inner = _look_at(repo, staged.files, prefix)
        sparse = len(staged.absent) - sum(f.path[len(prefix) :] in staged.absent for f in found) if staged.absent else 0
        untracked, empty, nested = _untracked(repo, git.output_of(others, repo.top), prefix)
        out.untracked += len(untracked)
        found += untracked + empty
        out.found += _by_attributes(repo, found, prefix, out)
        if diff:
            count, text = git.split_diff(git.output_of(diff[0], repo.top, git.DIFF_READ))
            out.modified += count
            if text:
                out.diffs.append(f"# submodule {prefix}\n{text}" if prefix else text)
        else:
            out.modified += len(staged.files)
    if sparse:
        out.warnings.append(f"sparse checkout: {sparse} tracked files are not on disk, and do not ship")
    for path in [*staged.modules, *inner]:
        _gather_inner(repo, path, prefix, submodules, out, known=True)
    for path in nested:
        _gather_inner(repo, path, prefix, submodules, out, known=False)


def _look_at(repo: Repo, names: Sequence[str], prefix: str) -> tuple[list[Found], list[str]]:
    """Look at each path; return what is there, and the paths that are folders (a repository in a file's place)."""
    found: list[Found] = []
    folders: list[str] = []
    top = repo.top + "/"
    lstat, new = os.lstat, tuple.__new__
    for name in names:
        # A plain file needs no more than this; the loop runs once per file of the repository.
        source = top + name
        try:
            st = lstat(source)
            mode = st.st_mode
        except OSError:
            mode = 0
        if mode & 0o170000 == 0o100000:
            tag = EXECUTABLE if mode & 0o111 else FILE
            facts = (st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino, "", "", "")
            found.append(new(Found, (prefix + name, tag, source, *facts)))
            continue
        one = look(source, prefix + name)
        if one is None:
            continue  # left out by a sparse checkout, or deleted: an uncommitted change like any other
        if one.tag == "d":
            folders.append(name)
        else:
            found.append(one)
    return found, folders


def _untracked(repo: Repo, data: bytes, prefix: str) -> tuple[list[Found], list[Found], list[str]]:
    """Return untracked files, empty folders, and nested repositories.

    Args:
        repo: The repository.
        data: What ``git ls-files -o --directory`` printed: whole folders appear as one name.
        prefix: Where the repository stands in the whole.
    """
    names = [n for n in os.fsdecode(data).split("\0") if n and n != "./"]
    empty: list[Found] = []
    if any(name.endswith("/") for name in names):
        for name in (n.rstrip("/") for n in names if n.endswith("/")):
            leaves = _leaf_folders(f"{repo.top}/{name}", name)
            empty += [Found(prefix + leaf, "d", f"{repo.top}/{leaf}") for leaf in leaves or ()]
        names = [n for n in os.fsdecode(repo.git(*git.LS_OTHERS)).split("\0") if n]
    files, folders = _look_at(repo, [n for n in names if not n.endswith("/")], prefix)
    return files, empty, [*folders, *(n.rstrip("/") for n in names if n.endswith("/"))]


def _gather_inner(repo: Repo, path: str, prefix: str, submodules: bool, out: Gathered, *, known: bool) -> None:
    """List a repository inside another one; ``known`` when the outer one's index names it."""
    folder = f"{repo.top}/{path}"
    if not submodules or not os.path.lexists(folder):
        return
    if not git.is_repo_top(folder):
        if known:
            raise not_initialised(prefix + path, repo.top)
        return
    if not known:
        out.warnings.append(
            f"{printable(prefix + path)}: a git repository inside this one ships too "
            "(name it in .gitignore if it must not)"
        )
    gather_worktree(git.open_repo(folder), f"{prefix}{path}/", submodules, out)


def not_initialised(path: str, top: str) -> PackagingError:
    """Return the error for a submodule that has no files on disk."""
    return PackagingError(
        f"{printable(path)}: this submodule of {printable(top)} is not initialised",
        hint="run `git submodule update --init --recursive`, or set include_submodules=False",
    )


def _leaf_folders(folder: str, path: str) -> list[str] | None:
    """Return the folders below (or the one itself) that hold nothing; None as soon as anything else is met."""
    leaves: list[str] = []
    try:
        with os.scandir(folder) as entries:
            inside = list(entries)
    except OSError:
        return None
    for entry in inside:
        if not entry.is_dir(follow_symlinks=False):
            return None
        below = _leaf_folders(entry.path, f"{path}/{entry.name}")
        if below is None:
            return None
        leaves += below
    return leaves or [path]


def _by_attributes(repo: Repo, found: list[Found], prefix: str, out: Gathered, *, index_of: str = "") -> list[Found]:
    """Leave out what ``export-ignore`` names, and warn about LFS pointers. Asks git only when a rule may apply."""
    cut = len(prefix)
    if not index_of and not (
        git.mentions(repo, (f.path[cut:] for f in found), b"export-ignore")
        or git.mentions(repo, (f.path[cut:] for f in found), b"filter=lfs")
    ):
        return found
    paths = [f.path[cut:] for f in found]
    folders = {p[: n + 1] for p in paths for n, c in enumerate(p) if c == "/"}
    facts = git.attributes(repo, [*paths, *folders], ("export-ignore", "filter"), index_of=index_of)
    gone = {path for path, values in facts.items() if "export-ignore" in values}
    kept = []
    for item, path in zip(found, paths, strict=True):
        above = (path[: n + 1] for n, c in enumerate(path) if c == "/")
        if not (path in gone or f"{path}/" in gone or any(folder in gone for folder in above)):
            kept.append(item)
    lfs = {path for path, values in facts.items() if values.get("filter") == "lfs"}
    pointers = [f for f in kept if f.path[cut:] in lfs and f.tag in "fx" and f.size < 1024 and _is_pointer(f)]
    if pointers:
        out.warnings.append(
            f"{printable(pointers[0].path)}: {len(pointers)} Git LFS pointer{'s' if len(pointers) > 1 else ''} "
            "ship instead of contents; run `git lfs pull` first if the job needs them"
        )
    return kept


def _is_pointer(item: Found) -> bool:
    if item.blob:
        return True  # git's database holds nothing but pointers for these
    try:
        with open(item.source, "rb") as file:
            return file.read(len(_LFS)) == _LFS
    except OSError:
        return False


def gather_commit(repo: Repo, commit: str, prefix: str, submodules: bool, out: Gathered) -> None:
    """List the tree of a commit, its submodules at the commits it names.

    Raises:
        PackagingError: when a submodule, or the commit it should be at, is not there.
    """
    listed = list(git.parse_tree(repo.git("ls-tree", "-r", "-l", "-z", "--full-tree", commit)))
    found: list[Found] = []
    links: list[Found] = []
    for item in listed:
        if item.mode == _COMMIT:
            continue
        tag = LINK if item.mode == "120000" else EXECUTABLE if item.mode == "100755" else FILE
        one = Found(prefix + item.path, tag, f"{repo.top}/{item.path}", max(item.size, 0), blob=item.oid, repo=repo.top)
        (links if tag == LINK else found).append(one)
    for one, size, read in stream_blobs(repo.top, links) if links else ():
        found.append(one._replace(target=os.fsdecode(read(size)), size=0, blob=""))
    found = _commit_attributes(repo, commit, found, prefix, out)
    out.found += found
    for item in listed:
        if item.mode == _COMMIT and submodules:
            folder = f"{repo.top}/{item.path}"
            if not git.is_repo_top(folder):
                raise not_initialised(prefix + item.path, repo.top)
            inner = git.open_repo(folder)
            if not has_commit(inner, item.oid):
                raise PackagingError(
                    f"{printable(prefix + item.path)}: this submodule lacks commit {item.oid[:12]}, "
                    f"which {commit[:12]} names",
                    hint="run `git submodule update --init --recursive`, or fetch in the submodule",
                )
            gather_commit(inner, item.oid, f"{prefix}{item.path}/", submodules, out)


def has_commit(repo: Repo, commit: str) -> bool:
    """Return True when a repository holds a commit."""
    try:
        repo.git("cat-file", "-e", f"{commit}^{{commit}}")
    except PackagingError:
        return False
    return True


def _commit_attributes(repo: Repo, commit: str, found: list[Found], prefix: str, out: Gathered) -> list[Found]:
    """Apply the attributes as the commit itself has them, through an index file outside the repository."""
    rules = [f for f in found if f.path.endswith(".gitattributes") and f.blob]
    told = any(
        b"export-ignore" in text or b"filter=lfs" in text
        for text in (read(size) for _, size, read in (stream_blobs(repo.top, rules) if rules else ()))
    )
    if not told and not git.mentions(repo, (), b"export-ignore"):
        return found
    with tempfile.TemporaryDirectory(prefix="runyard-index-") as folder:
        index = os.path.join(folder, "index")
        repo.git("read-tree", commit, env={"GIT_INDEX_FILE": index})
        return _by_attributes(repo, found, prefix, out, index_of=index)
