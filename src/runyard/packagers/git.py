"""Code in a git repository."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar

from runyard.errors import ConfigError, PackagingError
from runyard.packagers import _gitrepo as git
from runyard.packagers._capturing import CapturingPackager, start_folder
from runyard.packagers._gitlist import Gathered, gather_commit, gather_worktree
from runyard.packagers._gitrepo import Repo, open_repo
from runyard.packagers._globs import split_patterns
from runyard.packagers.pattern import match_files
from runyard.snapshots.listing import CodeInfo, Found, Listing
from runyard.snapshots.manifest import printable


@dataclass(kw_only=True)
class GitArchivePackager(CapturingPackager):
    """Ships a git repository: by default as it is on disk, ignored files left out.

    Git itself lists the files, so ``.gitignore``, ``export-ignore`` and the rest mean what they mean to git. Nothing is
    written into the repository.

    Args:
        basepath: A folder in the repository. Default: the folder given to :meth:`snapshot`, else the current one.
        subpath: Ship only this folder of the repository, as the root of the tree.
        ref: Commit, branch or tag to ship, instead of what is on disk. ``"HEAD"``: the last commit.
        include_uncommitted: False ships the last commit only. Default: True, unless ``ref`` is given.
        include_submodules: Submodules (nested ones too) ship, each listed by its own git.
        include_pattern: Further files to ship, ignored ones too: patterns as in ``PatternPackager``.
        include_pattern_relative_path: Folder that these patterns and their shipped paths are relative to. Default: the
            top of the repository, or ``subpath`` in it. One, or as many as there are patterns.
        check_uncommitted_changes: Refuse when tracked files differ from the last commit.
        check_untracked_files: Refuse when there are untracked files that are not ignored.

    Raises:
        ConfigError: when ``ref`` and ``include_uncommitted=True`` are both given.

    Example:
        >>> GitArchivePackager(subpath="src", check_uncommitted_changes=True).to_dict()["subpath"]
        'src'
    """

    kind: ClassVar[str] = "git"

    basepath: str = ""
    subpath: str = ""
    ref: str | None = None
    include_uncommitted: bool | None = None
    include_submodules: bool = True
    include_pattern: str | list[str] = ""
    include_pattern_relative_path: str | list[str] = ""
    check_uncommitted_changes: bool = False
    check_untracked_files: bool = False

    def __post_init__(self) -> None:
        self.basepath = os.fspath(self.basepath)
        self.subpath = os.fspath(self.subpath)
        if self.ref and self.include_uncommitted:
            raise ConfigError(
                f"GitArchivePackager: ref={self.ref!r} ships a commit, and include_uncommitted=True what is on disk",
                hint="give one of them",
            )

    def list_files(self, path: str | os.PathLike[str] | None = None) -> Listing:
        """Return what ships from the repository.

        Raises:
            PackagingError: outside any repository, for a missing ref, subpath or submodule, or a check that fails.
        """
        repo = open_repo(start_folder(self.basepath or path))
        gathered = Gathered()
        committed_only = self.ref is not None or self.include_uncommitted is False
        if committed_only:
            commit = self._resolve(repo)
            gather_commit(repo, commit, "", self.include_submodules, gathered)
        else:
            commit = repo.head
            gather_worktree(repo, "", self.include_submodules, gathered)
        self._check_clean(repo)
        base, found = self._below_subpath(repo, gathered.found)
        extra, roots = self._extra(base, found)
        found += extra
        if not found:
            raise PackagingError(
                f"{printable(base)}: git lists no files there", hint="add files, or check .gitignore, subpath and ref"
            )
        info = CodeInfo(
            root=base,
            commit=commit,
            branch=repo.branch(),
            committed_only=committed_only,
            modified=gathered.modified,
            untracked=gathered.untracked,
            diff="\n".join(gathered.diffs),
        )
        return Listing(found, tuple(dict.fromkeys((base, *roots))), info, gathered.warnings)

    def _resolve(self, repo: Repo) -> str:
        """Return the id of the commit to ship."""
        ref = self.ref or "HEAD"
        if ref == "HEAD" and not repo.head:
            raise PackagingError(
                f"{printable(repo.top)}: this repository has no commit yet, so there is no HEAD to ship",
                hint="commit first, or leave ref and include_uncommitted unset to ship what is on disk",
            )
        try:
            out = repo.git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        except PackagingError:
            shallow = os.path.exists(os.path.join(repo.git_dir, "shallow"))
            hint = "check `git branch -a` and `git tag`, and fetch it first"
            if shallow:
                hint = "this is a shallow clone: run `git fetch --unshallow`, or fetch that commit"
            raise PackagingError(f"{printable(repo.top)}: git knows no commit {ref!r}", hint=hint) from None
        return out.decode().strip()

    def _check_clean(self, repo: Repo) -> None:
        if self.check_uncommitted_changes:
            self._refuse(repo, repo.changed(), "Your repo has uncommitted changes.", "commit or stash them")
        if self.check_untracked_files:
            listed = os.fsdecode(repo.git("ls-files", "-z", "--others", "--exclude-standard")).split("\0")
            self._refuse(
                repo, [p for p in listed if p], "Your repo has untracked files.", "add them, or name them in .gitignore"
            )

    def _refuse(self, repo: Repo, listed: list[str], words: str, hint: str) -> None:
        paths = [printable(p) for p in listed]
        if paths:
            more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
            option = "check_uncommitted_changes" if "uncommitted" in words else "check_untracked_files"
            raise PackagingError(
                f"{words} {printable(repo.top)}: {', '.join(paths[:5])}{more}", hint=f"{hint}, or set {option}=False"
            )

    def _below_subpath(self, repo: Repo, found: list[Found]) -> tuple[str, list[Found]]:
        sub = os.path.normpath(self.subpath).strip("/") if self.subpath else "."
        if sub == ".":
            return repo.top, list(found)
        if os.path.isabs(os.path.expanduser(self.subpath)):
            sub = os.path.relpath(os.path.realpath(os.path.expanduser(self.subpath)), repo.top)
        inside = [f._replace(path=f.path[len(sub) + 1 :]) for f in found if f.path.startswith(sub + "/")]
        if not inside and not (self.include_pattern and os.path.isdir(f"{repo.top}/{sub}")):
            raise PackagingError(
                f"{printable(repo.top)}: subpath {self.subpath!r} holds nothing that git lists",
                hint="subpath is relative to the top of the repository; check its spelling and .gitignore",
            )
        return f"{repo.top}/{sub}", inside

    def _extra(self, base: str, found: list[Found]) -> tuple[list[Found], list[str]]:
        """Return the files of ``include_pattern`` that are not listed already, and the folders they come from."""
        patterns = split_patterns(self.include_pattern)
        places = self.include_pattern_relative_path
        roots = [places] if isinstance(places, (str, os.PathLike)) else list(places)
        if not patterns:
            return [], []
        if len(roots) not in (1, len(patterns)):
            raise ConfigError(
                f"include_pattern has {len(patterns)} patterns, include_pattern_relative_path {len(roots)} folders",
                hint="give one folder, or one per pattern",
            )
        roots = [start_folder(os.path.join(base, os.path.expanduser(root)) if root else base) for root in roots]
        have = {f.path: f.source for f in found}
        extra: list[Found] = []
        for n, pattern in enumerate(patterns):
            for item in match_files(roots[n % len(roots)], [pattern]):
                there = have.get(item.path)
                if there is None:
                    extra.append(item)
                elif there != item.source:
                    raise PackagingError(
                        f"{printable(item.path)}: both {printable(there)} and {printable(item.source)} would ship here",
                        hint="change include_pattern_relative_path, or use HybridPackager with folders",
                    )
                have[item.path] = item.source
        return extra, roots

    def why(self, file: str, listing: Listing) -> str:
        """Return whether git tracks the file, and how it differs from the commit."""
        if listing.info.committed_only:
            return f"in commit {listing.info.commit[:8]}"
        repo = open_repo(os.path.dirname(file))
        name = os.path.relpath(file, repo.top)
        if not repo.git("ls-files", "-z", "--cached", "--", f":(literal){name}"):
            ignored = _ignored(repo, name)
            return f"include_pattern takes it ({ignored})" if ignored else "untracked, not ignored"
        return "tracked, modified" if name in repo.changed() else "tracked"

    def why_not(self, file: str, listing: Listing) -> str:
        """Return the ignore rule, attribute or option that leaves the file behind."""
        base = listing.info.root
        try:
            repo = open_repo(os.path.dirname(file))
        except PackagingError:
            return f"lies outside {printable(base)}"
        name = os.path.relpath(file, repo.top)
        ignored = _ignored(repo, name)
        if ignored:
            return ignored
        if not file.startswith(base.rstrip("/") + "/"):
            return f"lies outside {printable(base)}"
        facts = git.attributes(repo, _with_folders(name), ("export-ignore",))
        if facts:
            return f"export-ignore in .gitattributes names {printable(min(facts))}"
        if listing.info.committed_only:
            return f"not in commit {listing.info.commit[:8]}"
        if repo.top != base and not self.include_submodules:
            return "in a submodule, and include_submodules is False"
        return "git does not list it"


def _ignored(repo: Repo, name: str) -> str:
    """Return the ignore rule that names a file, or an empty string."""
    try:
        out = repo.git("check-ignore", "-v", "-z", "--stdin", stdin=os.fsencode(name) + b"\0")
    except PackagingError:
        return ""  # exit code 1: not ignored
    source, line, pattern = [*os.fsdecode(out).split("\0"), "", "", ""][:3]
    return f"ignored by {printable(source)}:{line}: {pattern}" if pattern and not pattern.startswith("!") else ""


def _with_folders(name: str) -> list[str]:
    return [name, *(name[: n + 1] for n, c in enumerate(name) if c == "/")]
