"""Asking git: one repository's files, state and attributes. Reads only; git's own rules, never a copy of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from runyard.errors import PackagingError
from runyard.snapshots.credentials import DIFF_EXCLUDES
from runyard.snapshots.manifest import printable

DIFF_LIMIT = 1_000_000
"""Characters of a diff that are recorded."""
DIFF_READ = 2 * DIFF_LIMIT
_DIFF = "--no-ext-diff --no-textconv --no-color --no-renames --ignore-submodules=dirty"


class Listed(NamedTuple):
    """One path in a commit's tree.

    Attributes:
        path: Relative to the repository's top folder.
        mode: Git's mode (``100644``, ``100755``, ``120000``, ``160000``).
        oid: Object id.
        size: Bytes, where git told them, else -1.
    """

    path: str
    mode: str
    oid: str
    size: int = -1


@dataclass(frozen=True)
class Repo:
    """One repository (or worktree, or submodule).

    Attributes:
        top: Its top folder.
        git_dir: Its ``.git`` folder, absolute.
        head: Commit id, or empty when there is no commit yet.
    """

    top: str
    git_dir: str
    head: str

    def git(self, *args: str, stdin: bytes | None = None, env: dict[str, str] | None = None) -> bytes:
        """Run git in this repository and return its output.

        Raises:
            PackagingError: with git's own words when it fails.
        """
        return run_git(self.top, *args, stdin=stdin, env=env)

    @contextlib.contextmanager
    def index_copy(self) -> Iterator[dict[str, str]]:
        """Give the environment for ``git diff``, which would write the index file: it gets a copy, elsewhere."""
        with tempfile.TemporaryDirectory(prefix="runyard-index-") as folder:
            try:
                # With its times: git judges by them which files may have changed unseen.
                shutil.copy2(os.path.join(self.git_dir, "index"), os.path.join(folder, "index"))
            except FileNotFoundError:
                pass
            yield {"GIT_INDEX_FILE": os.path.join(folder, "index")}

    def changed(self) -> list[str]:
        """Return the tracked paths that differ from the last commit; all of them when there is none."""
        if not self.head:
            return [p for p in os.fsdecode(self.git("ls-files", "-z")).split("\0") if p]
        with self.index_copy() as env:
            return [p for p in os.fsdecode(self.git(*NAMES, env=env)).split("\0") if p]

    @contextlib.contextmanager
    def running(
        self, *commands: Sequence[str], env: dict[str, str] | None = None
    ) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Run several git commands at the same time; what still runs at the end is ended. See :func:`output_of`."""
        started: list[subprocess.Popen[bytes]] = []
        try:
            for command in commands:
                started.append(
                    subprocess.Popen(
                        ["git", "-C", self.top, *command],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        env=_env(env),
                    )
                )
            yield started
        finally:
            for process in started:
                if process.poll() is None:
                    process.kill()
                with process:
                    pass

    def branch(self) -> str:
        """Return the branch name, empty on a detached HEAD."""
        try:
            with open(os.path.join(self.git_dir, "HEAD"), encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        except OSError:
            return ""
        return text[len("ref: refs/heads/") :].strip() if text.startswith("ref: refs/heads/") else ""


def _env(extra: dict[str, str] | None = None) -> dict[str, str]:
    # No optional locks: a launch must not refresh the user's index file. C locale: messages are compared with.
    return {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", **(extra or {})}


def run_git(folder: str, *args: str, stdin: bytes | None = None, env: dict[str, str] | None = None) -> bytes:
    """Run git in a folder and return its output.

    Raises:
        PackagingError: when git is not installed, or fails.
    """
    try:
        done = subprocess.run(
            ["git", "-C", folder, *args],
            input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL, capture_output=True, env=_env(env),
            check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise no_git() from None
    if done.returncode:
        raise git_failed(folder, args, done.stderr)
    return done.stdout


def no_git() -> PackagingError:
    """Return the error for a machine without git."""
    return PackagingError(
        "git is not installed, and GitArchivePackager needs it", hint="install git, or use PatternPackager"
    )


def git_failed(folder: str, args: Sequence[str], stderr: bytes) -> PackagingError:
    """Return the error for a git command that failed, with git's own words."""
    words = stderr.decode("utf-8", "replace").strip().splitlines()
    said = words[0] if words else "no message"
    hint = "run that command there to see more"
    if "dubious ownership" in said:
        hint = f"git distrusts a folder of another user: git config --global --add safe.directory {folder}"
    return PackagingError(f"{printable(folder)}: `git {' '.join(args[:2])}` failed: {said}", hint=hint)


def output_of(process: subprocess.Popen[bytes], folder: str, limit: int = -1) -> bytes:
    """Return the output of a started git; with ``limit``, its beginning, and the process is ended there.

    Raises:
        PackagingError: when it failed.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        out = process.stdout.read(limit)
        if limit >= 0 and len(out) >= limit:
            process.kill()
            return out
        errors = process.stderr.read()
    if process.returncode:
        args = process.args if isinstance(process.args, list) else []
        raise git_failed(folder, [str(a) for a in args[3:]], errors)
    return out


def open_repo(folder: str) -> Repo:
    """Return the repository that a folder lies in.

    Raises:
        PackagingError: when the folder is in none, or in a bare one.
    """
    try:
        done = subprocess.run(
            ["git", "-C", folder, "rev-parse", "--show-toplevel", "--absolute-git-dir", "HEAD"],
            capture_output=True, stdin=subprocess.DEVNULL, env=_env(), check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise no_git() from None
    lines = os.fsdecode(done.stdout).splitlines()
    if len(lines) < 2:
        said = done.stderr.decode("utf-8", "replace")
        if "must be run in a work tree" in said:
            raise PackagingError(
                f"{printable(folder)}: a bare git repository has no files to ship",
                hint="give a clone or a worktree of it",
            )
        if "not a git repository" not in said:
            raise git_failed(folder, ["rev-parse"], done.stderr)
        raise PackagingError(
            f"{printable(folder)}: not a git repository",
            hint="run `git init` there (no commit is needed), or take another packager, for example "
            'PatternPackager(include_pattern=...), in a profile packager = "pattern" or "none"',
        )
    head = lines[2] if done.returncode == 0 and len(lines) > 2 else ""
    return Repo(os.path.realpath(lines[0]), lines[1], head)


def is_repo_top(folder: str) -> bool:
    """Return True when a folder is the top of a repository of its own (a submodule that is there, a nested clone)."""
    return os.path.exists(os.path.join(folder, ".git"))


@dataclass
class Staged:
    """What git's index names.

    Attributes:
        files: Paths of files and links.
        modules: Paths of submodules.
        absent: Those of ``files`` that a sparse checkout leaves out.
    """

    files: list[str]
    modules: list[str]
    absent: set[str]


def parse_stage(data: bytes) -> Staged:
    """Parse ``git ls-files -z -s -t``: tag, mode, object id, stage, path."""
    out = Staged([], [], set())
    add = out.files.append
    last = ""
    for line in os.fsdecode(data).split("\0")[:-1]:
        # "H 100644 <id> 0\tpath": this loop runs once per file of the repository.
        path = line[line.find("\t") + 1 :]
        if path == last:
            continue  # a merge conflict lists a path once per side
        last = path
        if line.startswith("160000", 2):
            out.modules.append(path)
            continue
        add(path)
        if line[0] == "S":
            out.absent.add(path)
    return out


def parse_tree(data: bytes) -> Iterator[Listed]:
    """Parse ``git ls-tree -r -l -z``."""
    for line in os.fsdecode(data).split("\0"):
        if line:
            head, _, path = line.partition("\t")
            mode, _, oid, size = head.split()
            yield Listed(path, mode, oid, size=int(size) if size != "-" else -1)


LS_INDEX = ("ls-files", "-z", "-s", "-t")
LS_OTHERS = ("ls-files", "-z", "-o", "--exclude-standard")
LS_FOLDERS = (*LS_OTHERS, "--directory")
DIFF = (*f"diff --raw -p {_DIFF} --src-prefix=a/ --dst-prefix=b/ HEAD -- .".split(), *DIFF_EXCLUDES)
NAMES = tuple(f"diff --name-only -z {_DIFF} HEAD --".split())


def split_diff(raw: bytes) -> tuple[int, str]:
    """Return the number of changed files and the text of a diff; what lies beyond the limit is cut off, visibly."""
    count, at = 0, 0
    while raw.startswith(b":", at):
        count += 1
        at = raw.find(b"\n", at) + 1 or len(raw)
    raw = raw[at:].lstrip(b"\n")
    text = raw[:DIFF_LIMIT].decode("utf-8", "backslashreplace")
    return count, text + "\n[the diff is longer: cut here]\n" if len(raw) > DIFF_LIMIT else text


def mentions(repo: Repo, files: Iterable[str], word: bytes) -> bool:
    """Return True when some ``.gitattributes`` that counts for a repository holds a word."""
    places = [os.path.join(repo.git_dir, "info", "attributes"), os.path.expanduser("~/.config/git/attributes")]
    places += [os.path.join(repo.top, path) for path in files if path.endswith(".gitattributes")]
    for place in places:
        try:
            with open(place, "rb") as file:
                if word in file.read():
                    return True
        except OSError:
            continue
    return False


def attributes(
    repo: Repo, paths: Iterable[str], names: Sequence[str], *, index_of: str = ""
) -> dict[str, dict[str, str]]:
    """Return git's attributes by path, those that are set.

    Args:
        repo: The repository.
        paths: Relative paths; a folder ends with a slash.
        names: Attributes to ask for.
        index_of: Take the rules from this index file instead of the working tree.
    """
    stdin = b"".join(os.fsencode(p) + b"\0" for p in paths)
    cached = ("--cached",) if index_of else ()
    env = {"GIT_INDEX_FILE": index_of} if index_of else None
    words = os.fsdecode(repo.git("check-attr", *cached, "--stdin", "-z", *names, stdin=stdin, env=env)).split("\0")
    found: dict[str, dict[str, str]] = {}
    it = iter(words[:-1])
    for path, name, value in zip(it, it, it, strict=True):
        if value not in ("unspecified", "unset"):
            found.setdefault(path, {})[name] = value
    return found
