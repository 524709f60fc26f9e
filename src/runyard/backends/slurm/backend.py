"""The backend: one shell on the machine that submits, one script for each question."""

from __future__ import annotations

import re
import secrets as tokens
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Self

from runyard.backends import logfiles, wrapper
from runyard.backends.base import Cursor, Features, Handle, Job, JobId, LogChunk, Request
from runyard.backends.codestore import TunnelStore
from runyard.backends.fetching import Fetcher
from runyard.backends.slurm import arrays, commands, delivery, failures, fetching, outcome, parse
from runyard.backends.slurm.commands import Asked
from runyard.backends.slurm.planning import planned
from runyard.backends.slurm.script import SCRIPT
from runyard.errors import (
    AuthError,
    CancelError,
    ConfigError,
    HostKeyError,
    PackagingError,
    SubmitError,
    TunnelError,
    Unavailable,
)
from runyard.executors.base import Executor
from runyard.executors.duration import clock
from runyard.executors.slurm import SlurmExecutor
from runyard.shell import Answer, quote
from runyard.states import ENDED, Observation
from runyard.tunnels import Tunnel
from runyard.tunnels.base import RawAnswer

_SECONDS = 120.0
"""How long one answer may take."""
_FORECASTS = 8
"""Different requests of one launch that Slurm is asked about before it."""


class SlurmBackend:
    """Jobs of a Slurm cluster; see :class:`~runyard.backends.base.Backend`.

    Everything goes through the tunnel's one shell. The job's own script decides which of several submissions of an
    attempt runs, so a lost answer of ``sbatch`` never makes a task run twice.
    """

    kind: ClassVar[str] = "slurm"
    features: Features = Features(
        native_dependencies=True,
        groups=True,
        detached_queue=True,
        launchers=frozenset({"default", "torchrun", "ft", "slurm_template"}),
        poll_interval=2.0,
    )

    def __init__(self, tunnel: Tunnel, home: str, poll_seconds: float = 2.0) -> None:
        self.tunnel = tunnel
        self.home = home
        self.features = replace(type(self).features, poll_interval=poll_seconds)
        self._trees: set[tuple[str, str]] = set()
        self._delivered: set[str] = set()
        self._bad: dict[str, set[str]] = {}
        self._largest = 0

    @classmethod
    def connect(cls, executor: Executor, home: str) -> Self:
        """Return a backend for the cluster of an executor."""
        assert isinstance(executor, SlurmExecutor)
        return cls(executor.reach(), home, executor.poll_seconds)

    @classmethod
    def cluster(cls, executor: Executor) -> str:
        """Return the name of the machine that submits."""
        assert isinstance(executor, SlurmExecutor)
        return executor.reach().name

    def code_store(self) -> TunnelStore | None:
        """Return the store of code on the machine that submits, where that is another one."""
        return None if self.tunnel.kind == "local" else TunnelStore(self.tunnel)

    # -- planning ------------------------------------------------------------------------------

    def plan(self, job: Job) -> Request:
        """Return the batch script of a job, and how it is submitted."""
        return planned(job, self.features.launchers)

    # -- submitting ----------------------------------------------------------------------------

    def prepare(self, requests: Sequence[Request]) -> list[str]:
        """Log in, and ask Slurm whether the requests could run; nothing is submitted.

        Returns:
            Lines to show: when they would start.

        Raises:
            ConfigError: for a request that can never run.
            TunnelError: when the machine cannot be reached.
        """
        if not requests:
            self.tunnel.connect()
            return []
        distinct: dict[str, Request] = {}
        for request in requests:
            header = [x for x in request.files[SCRIPT].splitlines() if x.startswith("#SBATCH") and "job-name" not in x]
            distinct.setdefault("\n".join(header), request)
        some = list(distinct.values())[:_FORECASTS]
        paths = list(dict.fromkeys(p for r in requests for p in r.options.get("present", ())))
        script = commands.forecast([("--chdir=/", r.files[SCRIPT]) for r in some]) + commands.present(paths)
        answer = self.tunnel.shell()(script.encode("utf-8", "surrogateescape"), repeat=True, timeout=_SECONDS)
        if not parse.marked(answer.stdout, "%now") and not parse.marked(answer.stdout, "%missing"):
            raise Unavailable(
                f"{self.tunnel.name} did not answer: {answer.stderr.strip() or 'it printed nothing'}",
                hint="it must have sh, head, tail, sed, awk and date",
            )
        if parse.marked(answer.stdout, "%missing"):
            raise ConfigError(f"there is no sbatch on {self.tunnel.name}", hint=failures.NO_SLURM)
        if absent := parse.marked(answer.stdout, "%absent"):
            raise ConfigError(
                f"{self.tunnel.name} has no {', '.join(absent)}",
                hint="correct container_image or container_mounts, or make it there first",
            )
        limits = parse.partitions(answer.stdout)
        lines = []
        now = float((parse.marked(answer.stdout, "%now") or ["0"])[0])
        for i, (code, said) in parse.forecasts(answer.stdout).items():
            request = some[i]
            if code == 0:
                _check_limits(request, limits, self.tunnel.name)
                if (told := parse.estimate(said, now)) and request.options.get("forecast"):
                    lines.append(f"{request.job.name}: {told}")
            elif failures.is_certain(said):
                error = failures.refusal(request.job.name, said, code, self.tunnel.name)
                raise ConfigError(error.message, hint=error.hint)
        return lines

    def submit(self, requests: Sequence[Request]) -> list[Handle | SubmitError]:
        """Bring what the jobs need, and submit them, by one script."""
        results: dict[int, Handle | SubmitError] = {}
        if not requests:
            return []
        for i, request in enumerate(requests):
            try:
                self._bring_code(request)
            except PackagingError as e:
                results[i] = SubmitError(f"task {request.job.name!r}: {e.message}", hint=e.hint)
            except TunnelError as e:
                raise _unavailable(e) from e
        left = [i for i in range(len(requests)) if i not in results]
        by_root: dict[str, list[int]] = {}
        for i in left:
            by_root.setdefault(str(requests[i].options["root"]), []).append(i)
        for root, numbers in by_root.items():
            results |= dict(zip(numbers, self._submit(root, [requests[i] for i in numbers]), strict=True))
        return [results[i] for i in range(len(requests))]

    def _submit(self, root: str, requests: Sequence[Request]) -> list[Handle | SubmitError]:
        token = tokens.token_hex(8)
        batches = arrays.batches(requests, token, self._largest_array(len(requests)))
        lines: list[str] = []
        members: list[tuple[str, bytes, int]] = []
        for i, batch in enumerate(batches):
            some = [requests[n] for n in batch.numbers]
            if not batch.token:
                lines.append(f"{i}|{some[0].folder}|{self._words(some[0])}\n")
                continue
            folder = f"{some[0].options['path'].rpartition('/')[0]}/{arrays.FOLDER}/{batch.token}"
            members.append((folder, arrays.listing(some).encode("utf-8", "surrogateescape"), 0o600))
            members.append((f"{folder}.sbatch", arrays.script(some, batch.token).encode(), 0o600))
            words = self._words(some[0], batch.token)
            lines.append(f"{i}|{arrays.experiment(some[0])}/{arrays.FOLDER}|{words}\n")
        members.insert(0, (f".submit-{token}", "".join(lines).encode("utf-8", "surrogateescape"), 0o600))
        elsewhere = [r for r in requests if _is_elsewhere(r)]
        fresh = {r.options["path"].rpartition("/")[0] for r in elsewhere} - self._delivered
        members += delivery.files([r for r in elsewhere if r.folder not in self._delivered], fresh)
        members += delivery.secrets(elsewhere)
        script = commands.submit(root, token)
        answer = self._ask(script, delivery.archive(members))
        arrived, said = parse.submitted(answer.stdout)
        if not arrived:
            raise _refused(answer, root, self.tunnel.name)
        self._delivered |= fresh | {r.folder for r in elsewhere}
        out: dict[int, Handle | SubmitError] = {}
        for i, batch in enumerate(batches):
            code, answered = said.get(i, (124, "the script ended before"))
            number = parse.job_number(answered) if code == 0 else ""
            for k, n in enumerate(batch.numbers):
                request = requests[n]
                if number:
                    element = f"{number}_{k}" if batch.token else number
                    out[n] = self._handle(element, request.attempt, request.folder)
                    continue
                error = failures.refusal(request.job.name, answered, code, self.tunnel.name)
                if isinstance(error, Unavailable):
                    raise error  # it may have been accepted: `find` tells
                out[n] = error
        return [out[n] for n in range(len(requests))]

    def _largest_array(self, count: int) -> int:
        """Return how many elements an array may have; asked once, when there is something to put into one."""
        if count < arrays.LEAST:
            return arrays.LEAST
        if not self._largest:
            told = parse.marked(self._ask(commands.limits(), repeat=True).stdout, "%largest")
            self._largest = max(2, int(told[0]) if told and told[0].isdigit() else 1000)
        return self._largest

    def _words(self, request: Request, token: str = "") -> str:
        """Return the submission command of one attempt, or of an array that begins with it, quoted for the shell."""
        program, *rest = request.command
        more = ["--parsable"]
        if token:
            more.append(f"--job-name={arrays.name(request, token)}")
        elif request.attempt > 1 and request.options["name"]:
            more.append(f"--job-name={_name(request, request.attempt)}")
        if bad := self._bad.get(request.folder):
            more.append("--exclude=" + ",".join(sorted({*request.options.get("exclude", ()), *bad})))
        native = [f"{kind}:{handle.id.partition('|')[0]}" for handle, kind in request.after]
        if native:
            own = [request.options["dependency"]] if "dependency" in request.options else []
            more.append("--dependency=" + ",".join([*own, *native]))
            rest = [w for w in rest if not w.startswith("--dependency=")]
        if native or "dependency" in request.options:
            more.append("--kill-on-invalid-dep=yes")
        if token:
            options = [w for w in rest[:-1] if not w.startswith("--chdir=")]
            return " ".join(quote(w) for w in (program, *more, *options, f"{token}.sbatch"))
        return " ".join(quote(w) for w in (program, *more, *rest, str(request.attempt)))

    def _bring_code(self, request: Request) -> None:
        root, experiment = str(request.options["root"]), request.options["path"].rpartition("/")[0]
        for tree in request.options.get("code", ()):
            key = (f"{root}/{experiment}", tree["tree"])
            if key not in self._trees:
                delivery.bring_code(tree, self.tunnel, root, experiment, bool(request.options["remote"]))
                self._trees.add(key)

    def _handle(self, number: str, attempt: int, folder: str) -> Handle:
        return Handle(self.kind, self.tunnel.name, f"{number}|{attempt}", folder)

    def find(self, jobs: Sequence[tuple[Request, int]]) -> dict[JobId, Handle]:
        """Return the submissions that exist: the one that claimed the attempt, else one of its name."""
        if not jobs:
            return {}
        view = self._view(commands.find([Asked("", attempt, request.folder) for request, attempt in jobs]))
        by_name: dict[str, list[parse.Seen]] = {}
        for row in (*view.accounting.values(), *view.queue.values()):
            by_name.setdefault(row.name, []).append(row)
        elements = _elements(view)
        out = {}
        for request, attempt in jobs:
            left = view.files.get(("-", request.folder))
            if left and left.attempt and left.owner:
                out[request.job] = self._handle(left.owner, attempt, request.folder)
                continue
            named = by_name.get(_name(request, attempt), ()) if request.options["name"] else ()
            rows = [*named, *elements.get((request.folder, attempt), ())]
            rows = [r for r in rows if r.exit_code != wrapper.CLAIMED]
            if rows:
                out[request.job] = self._handle(rows[-1].job, attempt, request.folder)
        return out

    # -- observing -----------------------------------------------------------------------------

    def observe(self, handles: Sequence[Handle]) -> dict[Handle, Observation]:
        """Return what one query of the queue, the accounting and the jobs' folders shows."""
        mine = [h for h in handles if h.cluster == self.tunnel.name]
        if not mine:
            return {}
        asked = [_asked(h) for h in mine]
        view = self._view(commands.observe(asked))
        out, done = {}, []
        for handle, a in zip(mine, asked, strict=True):
            left = view.files.get((a.job, a.folder))
            seen = self._judge(view, a, left)
            out[handle] = seen
            if seen.state in ENDED and left and left.secrets:
                done.append(handle)
            if seen.native in outcome.BAD_NODE and seen.where:
                self._note_bad_nodes(handle, seen.where)
        self._forget_secrets(done)
        return out

    def _note_bad_nodes(self, handle: Handle, nodes: str) -> None:
        """Remember which of a failed job's nodes are out of order."""
        known = self._bad.setdefault(handle.folder, set())
        if re.fullmatch(r"[\w.-]+", nodes):
            known.add(nodes)
        else:
            known.update(parse.marked(self._ask(commands.out_of_order(nodes), repeat=True).stdout, "%bad"))

    def _judge(self, view: parse.View, asked: Asked, left: parse.Left | None) -> Observation:
        job = asked.job
        row = view.queue.get(job)
        if row is None and (told := view.accounting.get(job)) and not outcome.is_under_way(told):
            row = told  # the accounting lags behind: that it shows a job which the queue does not is no news
        if row is None and "_" in job and (whole := view.queue.get(job.partition("_")[0])):
            # An array of which nothing had started is shown as one job once it was cancelled.
            row = None if (left and left.attempt) or outcome.is_under_way(whole) else whole
        if row is None:
            rows = {**view.accounting, **view.queue}
            if elements := [r for j, r in rows.items() if j.startswith(f"{job}_")]:
                return outcome.of_array([outcome.judge(r, None, r.job) for r in elements])
        return outcome.judge(row, left, job, asked.attempt)

    def _forget_secrets(self, ended: Sequence[Handle]) -> None:
        """Remove the secrets of ended jobs where they were brought to another machine's folder."""
        paths = []
        for handle in ended:
            experiment, _, task = handle.folder.rpartition("/")
            root = experiment.rsplit("/", 3)[0]
            if self.tunnel.kind != "local" or root != self.home:  # the engine removes its own
                paths.append(f"{root}/secrets/{experiment.rpartition('/')[2]}/{task}")
        if paths:
            self._ask(commands.remove(paths), repeat=True)

    def cancel(self, handles: Sequence[Handle]) -> dict[Handle, CancelError | None]:
        """Ask Slurm to end jobs."""
        mine = [h for h in handles if h.cluster == self.tunnel.name]
        out: dict[Handle, CancelError | None] = {}
        for handle in handles:
            out[handle] = None
            if handle not in mine:
                out[handle] = CancelError(f"{handle.id} runs on {handle.cluster}", hint="cancel it there")
        if not mine:
            return out
        answer = self._ask(commands.cancel(arrays.collapsed([_asked(h).job for h in mine])), repeat=True)
        said = answer.stderr.lower()
        if "denied" in said:
            for handle in mine:
                if _asked(handle).job in answer.stderr:
                    out[handle] = CancelError(
                        f"{handle.id.partition('|')[0]}: {answer.stderr.strip()}", hint="is it another user's job?"
                    )
        elif "unable to contact" in said or "%cancelled 12" in answer.stdout:
            raise Unavailable(f"Slurm on {self.tunnel.name} did not answer: {answer.stderr.strip()}")
        return out

    def logs(self, handle: Handle, cursor: Cursor) -> Iterator[LogChunk]:
        """Yield what the log files hold beyond ``cursor``."""
        if self.tunnel.kind == "local":
            yield from logfiles.read(handle.folder, cursor)
            return
        while True:
            raw = self._raw(commands.logs(handle.folder, dict(cursor)))
            count = 0
            at = dict(cursor)
            for chunk in parse.chunks(raw.stdout):
                count += len(chunk.data)
                at[chunk.stream] = chunk.offset + len(chunk.data)
                yield chunk
            if count < commands.LIMIT:
                return
            cursor = {"*": 0, **at}

    def fetcher(self) -> Fetcher:
        """Return what reads the files of jobs."""
        return fetching.fetcher_for(self.tunnel)

    def wakeups(self) -> Sequence[int]:
        """Return nothing: a cluster is asked every ``poll_seconds``."""
        return ()

    # -- asking --------------------------------------------------------------------------------

    def _view(self, script: str) -> parse.View:
        answer = self._ask(script, repeat=True)
        view = parse.view(answer.stdout)
        if view.failed == 127:
            raise Unavailable(f"there is no squeue on {self.tunnel.name}", hint=failures.NO_SLURM)
        if view.failed or not view.answered:
            said = answer.stderr.strip().splitlines()[-1:] or [f"exit code {view.failed or answer.code}"]
            raise Unavailable(f"Slurm on {self.tunnel.name} did not answer: {said[0]}")
        return view

    def _ask(self, script: str, stdin: Iterator[bytes] | None = None, repeat: bool = False) -> Answer:
        try:
            data = script.encode("utf-8", "surrogateescape")
            return self.tunnel.shell()(data, stdin, repeat=repeat, timeout=_SECONDS)
        except TunnelError as e:
            raise _unavailable(e) from e

    def _raw(self, script: str) -> RawAnswer:
        try:
            return self.tunnel.shell().raw(script.encode("utf-8", "surrogateescape"), repeat=True, timeout=_SECONDS)
        except TunnelError as e:
            raise _unavailable(e) from e


def _unavailable(error: TunnelError) -> Unavailable:
    return Unavailable(error.message, hint=error.hint, retryable=not isinstance(error, (AuthError, HostKeyError)))


def _check_limits(request: Request, partitions: Mapping[str, float | None], machine: str) -> None:
    """Refuse a time above the partition's limit, which Slurm itself may accept and let wait for ever."""
    name = request.options.get("partition") or "*"
    limit = partitions.get(name)
    wanted = request.options.get("seconds")
    if limit is not None and wanted and wanted > limit:
        raise ConfigError(
            f"task {request.job.name!r}: {machine} would let it wait for ever: the partition"
            f"{f' {name!r}' if name != '*' else ''} allows {clock(limit)}, and time asks for {clock(wanted)}",
            hint="ask for less (SlurmExecutor.time), or choose another partition: `sinfo -o '%P %l'` lists them",
        )


def _refused(answer: Answer, root: str, machine: str) -> Unavailable:
    said = answer.stderr.strip() or answer.stdout.strip()
    return Unavailable(f"{machine}: {root} could not be written: {said}", hint="check job_dir, its quota and its space")


def _elements(view: parse.View) -> dict[tuple[str, int], list[parse.Seen]]:
    """Return the elements of arrays that Slurm knows, by the job's folder and attempt."""
    lists = {token: lines for (token, _), lines in view.arrays.items()}
    out: dict[tuple[str, int], list[parse.Seen]] = {}
    for row in (*view.accounting.values(), *view.queue.values()):
        lines = lists.get(arrays.token_of(row.name), [])
        number = row.job.rpartition("_")[2]
        if number.isdigit() and int(number) < len(lines):
            attempt, _, folder = lines[int(number)].partition(" ")
            out.setdefault((folder, int(attempt)), []).append(row)
    return out


def _asked(handle: Handle) -> Asked:
    number, _, attempt = handle.id.partition("|")
    return Asked(number, int(attempt or 1), handle.folder)


def _name(request: Request, attempt: int) -> str:
    name = str(request.options["name"])
    return name if attempt == 1 else f"{name}@{attempt}"


def _is_elsewhere(request: Request) -> bool:
    """Say whether a job's files must be brought: its root is not that of the records."""
    return bool(request.options["remote"]) or request.options["root"] != request.options["home"]
