"""What goes wrong in a command: one message on standard error, and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import click

from runyard.cli.output import say
from runyard.errors import LaunchInsideJob, RunyardError
from runyard.terminal import has_colour, paint

INTERRUPTED = 128 + signal.SIGINT
UNREAD = 128 + signal.SIGPIPE


def guarded(function: Callable[..., Any], *args: Any, **options: Any) -> int:
    """Call a command and return its exit code; errors that Runyard foresees become one message.

    With ``RUNYARD_DEBUG=1`` the traceback stands before it. Any other exception passes: it is a bug.
    """
    try:
        code = function(*args, **options)
        sys.stdout.flush()
    except click.exceptions.Exit as e:
        return e.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more (`| head`). What is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except RunyardError as e:
        return _report(str(e), e.exit_code)
    except LaunchInsideJob as e:
        return _report(str(e), RunyardError.exit_code)
    except click.UsageError as e:
        return _misused(e)
    except click.ClickException as e:
        return _report(e.format_message(), e.exit_code)
    return code if isinstance(code, int) else 0


def as_program(main: Callable[..., Any], *args: Any, **options: Any) -> NoReturn:
    """Run a command line by click's ``main``, and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a log line must not end us because of its characters
            stream.reconfigure(errors="backslashreplace")
    sys.exit(guarded(main, *args, **(options | {"standalone_mode": False})))


def _misused(error: click.UsageError) -> int:
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()  # a group without a command: its help is the answer
        return error.exit_code
    where = error.ctx.command_path if error.ctx else "runyard"
    return _report(f"{error.format_message()}\n  -> {where} --help", error.exit_code)


def _report(message: str, exit_code: int) -> int:
    if os.environ.get("RUNYARD_DEBUG") == "1":
        traceback.print_exc()
    say(f"{paint('error:', 'red', has_colour(sys.stderr))} {message}")
    return exit_code
