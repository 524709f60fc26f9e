"""Bringing a snapshot to a target over any shell: ask, send one stream, fall back where the target is unusual."""

from __future__ import annotations

import os
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from runyard.shell import Answer
from runyard.snapshots import remote, trees
from runyard.snapshots.extract import content_of
from runyard.snapshots.index import Index
from runyard.snapshots.manifest import Entry
from runyard.snapshots.packs import ObjectReader
from runyard.snapshots.snapshot import Snapshot
from runyard.snapshots.tarstream import END, file_member, gzipped, link_members, object_members

_BASES = 2


class Shell(Protocol):
    """Runs a ``sh`` script on the target.

    A script that comes with ``stdin`` is short (under 8 kB). One without may have megabytes, and names that are not
    UTF-8: give it to ``sh`` on its standard input, not as an argument.
    """

    def __call__(self, script: bytes, stdin: Iterable[bytes] | None = None) -> Answer:
        """Run ``script`` with ``sh``, feed it ``stdin`` if given, and return how it ended."""
        ...


@dataclass(frozen=True)
class Plan:
    """What must go over the wire.

    Attributes:
        known: True when the target can make the tree by itself.
        send: One entry per object that it lacks.
    """

    known: bool
    send: tuple[Entry, ...]

    @property
    def send_bytes(self) -> int:
        """Bytes of the objects to send, before compression."""
        return sum(e.size for e in self.send)


@dataclass(frozen=True)
class Pushed:
    """What a transfer did.

    Attributes:
        dest: Where the tree lies on the target.
        existed: True when it was there before.
        sent_files: Objects sent.
        sent_bytes: Their bytes, before compression.
        wire_bytes: Bytes that went to the target: scripts and stream.
    """

    dest: str
    existed: bool
    sent_files: int
    sent_bytes: int
    wire_bytes: int


class Pusher:
    """One transfer of one snapshot to one store.

    Args:
        snapshot: What to bring.
        shell: Runs scripts on the target.
        root: Folder of the store there, usually the tunnel's ``job_dir``; a leading ``~/`` is the home folder there.
        host: Name of the target, for messages.
        level: gzip level of contents, 0 (a fast network) to 9.

    Example:
        >>> pusher = Pusher(snapshot, shell, "~/.runyard", host="login1")           # doctest: +SKIP
        >>> plan = pusher.plan()                                                     # doctest: +SKIP
        >>> print(launch_line(snapshot, send_files=len(plan.send), send_bytes=plan.send_bytes))  # doctest: +SKIP
        >>> pusher.push("exp_1/code", plan)                                          # doctest: +SKIP
    """

    def __init__(self, snapshot: Snapshot, shell: Shell, root: str, *, host: str = "", level: int = 1) -> None:
        self.snapshot = snapshot
        self.shell = shell
        self.root = root
        self.host = host
        self.level = level
        self.wire_bytes = 0
        self._objects = snapshot.objects()
        self._files = sum(1 for e in snapshot.entries if e.tag in "fx")
        self._total = snapshot.total_size
        self._stale: list[str] = []

    def plan(self, *, full: bool = False) -> Plan:
        """Ask the target what it lacks. Sends a few hundred bytes when the tree, or one like it, is known.

        Args:
            full: Believe nothing: ask for every object.

        Raises:
            PackagingError: when the store cannot be used.
        """
        bases: set[str] = set()
        near: list[str] = []
        with Index(self.snapshot.folder) as index:
            if not full:
                near = trees.recent(index, self.snapshot.info.root, 8) if self.snapshot.info.root else []
                wanted = list(dict.fromkeys([self.snapshot.hash, *near]))
                bases = remote.parse_probe(self._ask(remote.probe_script(self.root, wanted)))
                if self.snapshot.hash in bases:
                    return Plan(True, ())
            known: set[str] = set()
            for base in [t for t in near if t in bases][:_BASES]:
                known.update(e.key for e in trees.load_entries(index, base) if e.size and e.tag in "fx")
        unsure = [e for key, e in self._objects.items() if key not in known]
        if not unsure:
            return Plan(False, ())
        script = remote.missing_script(self.root, _token(), unsure, stale=self._stale)
        missing, damaged = remote.parse_missing(self._ask(script))
        self._stale.clear()
        return Plan(False, tuple(self._objects[k] for k in sorted(missing | damaged) if k in self._objects))

    def push(self, dest: str, plan: Plan | None = None, *, copies: bool = False) -> Pushed:
        """Make the tree at ``dest`` on the target, whole or not at all.

        Args:
            dest: The new folder; absolute, or relative to the store. One that exists is left as it is.
            plan: What :meth:`plan` returned; asked for when not given.
            copies: Make ordinary files, because the job may run as root.

        Raises:
            PackagingError: when the target has no space or cannot be written, the transfer was interrupted, or captured
                bytes are damaged.
        """
        plan = plan or self.plan()
        for attempt in range(3):
            sent = () if plan.known else plan.send
            answer = self._try(dest, plan, copies)
            if answer.code == 0:
                return Pushed(dest, "existed" in answer.stdout, len(sent), sum(e.size for e in sent), self.wire_bytes)
            if answer.code != remote.EXIT_LINKS or attempt == 2:
                break
            # The store lacks an object that it had, or has it damaged; or it refuses links. Ask for everything.
            plan = self.plan(full=True)
            if not plan.send:
                return self._link_by_link(dest, copies)
        raise remote.explain_failure(answer.code, answer.stderr, root=self.root, host=self.host, sent=self.wire_bytes)

    def _try(self, dest: str, plan: Plan, copies: bool) -> Answer:
        token = _token()
        tree = self.snapshot.hash
        facts = {"files": self._files, "total": self._total, "copies": copies}
        if plan.known:
            return self._run(remote.materialise_script(self.root, token, tree, dest, **facts))  # type: ignore[arg-type]
        script = remote.receive_script(self.root, token, tree, dest, **facts)  # type: ignore[arg-type]
        self._stale.append(token)
        with Index(self.snapshot.folder) as index, ObjectReader(index, self.snapshot.folder) as reader:
            order = reader.locate([bytes.fromhex(e.value) for e in plan.send])
            objects = sorted(plan.send, key=lambda e: order.get(bytes.fromhex(e.value), (0, 0, 0)))
            return self._run(script, stream(self.snapshot.entries, objects, content_of(reader), self.level))

    def _link_by_link(self, dest: str, copies: bool) -> Pushed:
        """Make the tree where the target refuses some hard links: those files become copies."""
        tree, entries = self.snapshot.hash, self.snapshot.entries
        answer = self._run(remote.link_script(self.root, _token(), tree, dest, entries, copies=copies))
        if answer.code:
            raise remote.explain_failure(answer.code, answer.stderr, root=self.root, host=self.host)
        return Pushed(dest, "existed" in answer.stdout, 0, 0, self.wire_bytes)

    def _ask(self, script: str) -> str:
        answer = self._run(script)
        if answer.code:
            raise remote.explain_failure(answer.code, answer.stderr, root=self.root, host=self.host)
        return answer.stdout

    def _run(self, script: str, stdin: Iterator[bytes] | None = None) -> Answer:
        data = script.encode("utf-8", "surrogateescape")
        self.wire_bytes += len(data)
        return self.shell(data, self._counted(stdin) if stdin is not None else None)

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.wire_bytes += len(piece)
            yield piece


def stream(
    entries: Sequence[Entry], objects: Iterable[Entry], read: Callable[[Entry], Iterable[bytes]], level: int = 1
) -> Iterator[bytes]:
    """Yield the one tar stream of a transfer, gzipped: missing objects, the tree's link archive, the mark of the end.

    Args:
        entries: The tree.
        objects: What the target lacks, one entry per object.
        read: Gives the content of an entry in pieces.
        level: gzip level of the contents.
    """
    yield from gzipped(object_members(objects, read), level)
    yield from gzipped([file_member(b"links.tgz", link_archive(entries))], 0)
    yield from gzipped([file_member(b"done", b"1\n"), END], 1)


def link_archive(entries: Iterable[Entry]) -> bytes:
    """Return the gzipped tar that makes a tree out of a store's objects by hard links alone.

    Deterministic. About 60 bytes per file: most of it is hashes, which do not compress.
    """
    return b"".join(gzipped(link_members(entries), 6))


def _token() -> str:
    return secrets.token_hex(8)


def push(
    snapshot: Snapshot, shell: Shell, root: str, dest: str, *, host: str = "", level: int = 1, copies: bool = False
) -> Pushed:
    """Bring a snapshot to a target: :class:`Pusher` in one call."""
    return Pusher(snapshot, shell, root, host=host, level=level).push(dest, copies=copies)


class ProcessShell:
    """Runs scripts with a ``sh`` on this machine: the :class:`Shell` of a target that is a local folder.

    Args:
        sh: The command to run.
    """

    def __init__(self, sh: Sequence[str] = ("sh",)) -> None:
        self._sh = list(sh)

    def __call__(self, script: bytes, stdin: Iterable[bytes] | None = None) -> Answer:
        """Run a script; see :class:`Shell`."""
        command = [*self._sh, "-s"] if stdin is None else [*self._sh, "-c", os.fsdecode(script)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdin is not None
        failed: list[BaseException] = []

        def feed(pipe: IO[bytes]) -> None:
            try:
                for piece in [script] if stdin is None else stdin:
                    pipe.write(piece)
            except BrokenPipeError:
                pass  # the script has ended; its exit code tells why
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                failed.append(error)
            finally:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass

        feeder = threading.Thread(target=feed, args=(process.stdin,), daemon=True)
        process.stdin = None
        feeder.start()
        out, err = process.communicate()
        feeder.join()
        if failed:
            raise failed[0]
        return Answer(process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))
