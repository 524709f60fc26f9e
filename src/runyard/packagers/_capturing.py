"""What all packagers that take a snapshot have in common."""

from __future__ import annotations

import contextlib
import gc
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runyard.errors import PackagingError
from runyard.home import runyard_home
from runyard.packagers.base import Packager
from runyard.snapshots.credentials import asked_for, credential_verdict, holds_private_key
from runyard.snapshots.listing import Found, Listing, Skipped, check_size, leaving_links
from runyard.snapshots.manifest import printable
from runyard.snapshots.sizes import parse_size

if TYPE_CHECKING:
    from runyard.snapshots.snapshot import Snapshot

LOOKS_SECRET = "looks like a credential"
ASK = "set include_credentials on the packager to ship it"
OWN_RECORDS = "it lies in RUNYARD_HOME, among Runyard's own records"


@dataclass(kw_only=True)
class CapturingPackager(Packager):
    """Base of the packagers that ship something.

    Args:
        working_dir: Where the tree lies on the target (in a container: its mount point). Empty: the executor decides.
        archive_name: Name for archives made of the tree (``write_tar`` and transports that need an archive).
        max_size: Most bytes that may ship (``"500MB"``, a number, or None for no limit). Above it the launch stops.
        warn_size: Bytes above which a warning names the largest files; None for never.
        include_credentials: False: files that look like credentials (``.env``, private keys, ``env.toml``) stay
            behind. True: all ship. A path, a file name or a list of them: these ship.
    """

    working_dir: str = ""
    archive_name: str = ""
    max_size: int | str | None = "500MB"
    warn_size: int | str | None = "100MB"
    include_credentials: bool | str | list[str] = False

    @abstractmethod
    def list_files(self, path: str | os.PathLike[str] | None = None) -> Listing:
        """Return everything that would ship, before credentials are taken out and the size is checked."""

    def snapshot(self, path: str | os.PathLike[str] | None = None) -> Snapshot | None:
        """Capture the code and return the snapshot; None with ``symlink_from_remote_dir``.

        Args:
            path: Folder to package; default the current one.

        Raises:
            PackagingError: when the code cannot be listed, read or captured, or is too large.
        """
        if self.symlink_from_remote_dir:
            return None
        from runyard.snapshots.capture import capture

        with _no_cycle_search():
            listing = self.prepared(path)
            return capture(listing, working_dir=self.working_dir, archive_name=self.archive_name)

    def prepared(self, path: str | os.PathLike[str] | None = None) -> Listing:
        """Return what ships: listed, credentials taken out, size checked, links that leave the tree warned about."""
        listing = self.filtered(path)
        kept, skipped = listing.found, listing.skipped
        root = listing.roots[0] if listing.roots else ""
        warning = check_size(
            kept,
            max_size=parse_size(self.max_size, name="max_size"),
            warn_size=parse_size(self.warn_size, name="warn_size"),
            root=root,
        )
        warnings = [*listing.warnings, *([warning] if warning else [])]
        leaving = leaving_links(kept)
        if leaving:
            warnings.append(
                f"{_some(leaving)}: link{'s' if len(leaving) > 1 else ''} to outside the code; kept as is, "
                "and broken where the target does not exist"
            )
        if self.debug:
            _print_listing(kept, skipped)
        return Listing(kept, listing.roots, listing.info, warnings, skipped)

    def filtered(self, path: str | os.PathLike[str] | None = None) -> Listing:
        """Return what ships, credentials taken out, whatever its size."""
        listing = self.list_files(path)
        kept, skipped = split_credentials(without_records(listing), self.include_credentials)
        return Listing(kept, listing.roots, listing.info, listing.warnings, [*listing.skipped, *skipped])

    def explain(self, file: str | os.PathLike[str], path: str | os.PathLike[str] | None = None) -> str:
        """Say in one line whether a file would ship, and why."""
        listing = self.filtered(path)
        absolute = absolute_path(file)
        named = os.fspath(file)
        for item in listing.found:
            if item.source == absolute:
                return f"{printable(named)}: ships as {printable(item.path)}: {self.why(absolute, listing)}"
        for left in listing.skipped:
            if left.source == absolute:
                return f"{printable(named)}: stays behind: {left.reason}"
        if not os.path.lexists(absolute):
            return f"{printable(named)}: no such file"
        if absolute.startswith(_records()):
            return f"{printable(named)}: stays behind: {OWN_RECORDS}"
        return f"{printable(named)}: stays behind: {self.why_not(absolute, listing)}"

    def why(self, file: str, listing: Listing) -> str:
        """Return why a file ships. ``file`` is absolute."""
        del file, listing
        return f"{type(self).__name__} lists it"

    def why_not(self, file: str, listing: Listing) -> str:
        """Return why a file stays behind. ``file`` is absolute, and exists."""
        del file, listing
        return f"{type(self).__name__} does not list it"


@contextlib.contextmanager
def _no_cycle_search() -> Iterator[None]:
    """Keep Python from searching tens of thousands of new tuples for cycles: a tenth of a second launch."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def without_records(listing: Listing) -> list[Found]:
    """Return what is listed but Runyard's own records, where they lie in the code: each launch writes into them."""
    home = _records()
    if any(os.path.join(root, "").startswith(home) for root in listing.roots):
        return listing.found  # code that is kept among the records is meant
    return [item for item in listing.found if not item.source.startswith(home)]


def _records() -> str:
    return os.path.join(os.path.realpath(runyard_home()), "")


def split_credentials(found: Iterable[Found], include: bool | str | list[str]) -> tuple[list[Found], list[Skipped]]:
    """Take out what looks like a credential and was not asked for."""
    kept: list[Found] = []
    skipped: list[Skipped] = []
    for item in found:
        verdict = credential_verdict(item.path)
        if verdict and item.tag != "d" and not asked_for(item.path, include) and _is_secret(item, verdict):
            skipped.append(Skipped(item.path, f"{LOOKS_SECRET}; {ASK}", item.source))
        else:
            kept.append(item)
    return kept, skipped


def _is_secret(item: Found, verdict: str) -> bool:
    if verdict == "secret" or item.blob or item.tag not in "fx":
        return verdict == "secret" or bool(item.blob)
    try:
        with open(item.source, "rb") as file:
            return holds_private_key(file.read(8192))
    except OSError:
        return False  # capturing it will name it


def absolute_path(path: str | os.PathLike[str]) -> str:
    """Return an absolute path with its folder resolved, the last part left as it is (it may be a link)."""
    full = os.path.abspath(os.path.expanduser(os.fspath(path)))
    head, name = os.path.split(full)
    return os.path.join(os.path.realpath(head), name)


def start_folder(path: str | os.PathLike[str] | None, default: str = "") -> str:
    """Return the absolute folder to package.

    Raises:
        PackagingError: when it does not exist.
    """
    folder = os.path.realpath(os.path.expanduser(os.fspath(path or default or os.curdir)))
    if not os.path.isdir(folder):
        raise PackagingError(f"{printable(folder)}: no such folder", hint="check the path given to the packager")
    return folder


def _some(paths: list[str], count: int = 3) -> str:
    more = f" and {len(paths) - count} more" if len(paths) > count else ""
    return ", ".join(printable(p) for p in paths[:count]) + more


def _print_listing(kept: list[Found], skipped: list[Skipped]) -> None:
    import sys

    for item in kept:
        print(f"packager: {item.tag} {item.size:>10} {printable(item.path)}", file=sys.stderr)
    for left in skipped:
        print(f"packager: - {'':>10} {printable(left.path)} ({left.reason})", file=sys.stderr)
