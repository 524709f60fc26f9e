"""Every exception that Runyard raises on purpose, in one tree.

::

    RunyardError                     anything that Runyard refuses or reports (exit code 2)
    ├── ConfigError                  a task, argument, override or option that cannot be used
    │   ├── OverrideError            an argument given on a command line that cannot be parsed or applied
    │   └── SerializationError       an argument that cannot travel to the job (names its path)
    ├── PackagingError               the code on disk cannot be listed, read or captured
    ├── ProfileError                 a profile in ``env.toml`` is missing or wrong
    ├── TunnelError                  the machine that submits cannot be reached
    │   ├── AuthError                it was reached, and refused the login
    │   └── HostKeyError             its host key is unknown or has changed
    ├── BackendError                 a scheduler refused or failed (``retryable`` says which)
    │   ├── SubmitError              this request was not submitted
    │   ├── CancelError              this job could not be cancelled
    │   └── Unavailable              the scheduler could not be asked
    ├── StoreError                   the records on disk cannot be read or written
    │   ├── UnknownExperiment        no record matches an id, title or prefix
    │   └── LeaseLost                another process drives this experiment now
    └── TaskFailed                   a task ended without success (exit code: the task's)

Every message says what was wrong, where, and what to do next. ``LaunchInsideJob`` is no
error of the user's: it stops a launching script that is being loaded inside its own job.
"""

from __future__ import annotations


class RunyardError(Exception):
    """Base of all errors that Runyard raises on purpose.

    Args:
        message: What was wrong and where.
        hint: What the user can do next; printed on a line of its own.

    Example:
        >>> str(RunyardError("no file train.py", hint="check the path"))
        'no file train.py\\n  -> check the path'
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.hint}" if self.hint else self.message


class ConfigError(RunyardError):
    """A task, argument, override or option that cannot be used."""


class OverrideError(ConfigError):
    """An argument given on a command line (``model.layers=3``) that cannot be parsed or applied."""


class SerializationError(ConfigError):
    """An argument that cannot travel to the job.

    Args:
        path: Where the value stands, for example ``task.trainer.callbacks[1]``.
        message: What is wrong with it.
        hint: What to do instead.
    """

    def __init__(self, path: str, message: str, *, hint: str = "") -> None:
        self.path = path
        super().__init__(f"{path}: {message}", hint=hint)


class PackagingError(RunyardError):
    """The code on disk cannot be listed, read or captured."""


class ProfileError(RunyardError):
    """A profile in ``env.toml`` is missing or wrong."""


class TunnelError(RunyardError):
    """The machine that submits cannot be reached."""


class AuthError(TunnelError):
    """The machine was reached, and refused the login."""


class HostKeyError(TunnelError):
    """The host key of a machine is unknown or has changed."""


class BackendError(RunyardError):
    """A scheduler refused or failed.

    Args:
        retryable: True when the same call may succeed later without any change.
    """

    def __init__(self, message: str, *, hint: str = "", retryable: bool = False) -> None:
        self.retryable = retryable
        super().__init__(message, hint=hint)


class SubmitError(BackendError):
    """One request was certainly not submitted.

    ``retryable=True`` means "not now" (no free slot, scheduler busy): the engine keeps the
    job and offers it again.
    """


class CancelError(BackendError):
    """One job could not be cancelled."""


class Unavailable(BackendError):
    """The scheduler could not be asked, so nothing is known about its jobs."""

    def __init__(self, message: str, *, hint: str = "", retryable: bool = True) -> None:
        super().__init__(message, hint=hint, retryable=retryable)


class StoreError(RunyardError):
    """The records on disk cannot be read or written."""


class UnknownExperiment(StoreError):
    """No recorded experiment matches an id, title or prefix."""


class LeaseLost(StoreError):
    """Another process drives this experiment now; this one must change nothing more."""


class TaskFailed(RunyardError):
    """One or more tasks of an attached run ended without success.

    Args:
        job: Name of the first task that failed.
        reason: Why, in words (``exit code 3``, ``signal SIGKILL``, ``out of memory (OOM)`` …).
        log_tail: Its last log lines.
        exit_code: What an attached command should end with: the task's own exit code when
            one job ran, else 1; 130 when Ctrl-C had everything cancelled.
        others: Names of further tasks that did not succeed.
    """

    def __init__(
        self,
        job: str,
        reason: str,
        log_tail: tuple[str, ...] = (),
        *,
        exit_code: int = 1,
        others: tuple[str, ...] = (),
        hint: str = "",
    ) -> None:
        self.job = job
        self.reason = reason
        self.log_tail = log_tail
        self.exit_code = exit_code
        self.others = others
        lines = [f"task {job!r} failed: {reason}"]
        if others:
            lines.append(f"  also without success: {', '.join(others)}")
        lines += [f"  | {line}" for line in log_tail]
        super().__init__("\n".join(lines), hint=hint)


class LaunchInsideJob(BaseException):
    """Raised where a script that is loaded inside its own job would launch itself again.

    It derives from ``BaseException`` so that a script's ``except Exception`` does not hide
    it; the in-job runner catches it and goes on with what the script had defined so far.
    """
