"""Standard output of a command: it takes any text, and its errors are one sentence."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from io import TextIOWrapper

from rich.console import Console

from hogwild_dist.errors import HogwildError

UNWRITABLE = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT)

CLOSED_PIPE = 141
"""Exit code after the reader of a pipe has gone, as in shells."""


class OutputError(HogwildError):
    """Standard output cannot be written."""


class OutputConsole(Console):
    """A console on standard output that leaves it to `guarded_output` when a pipe's reader goes."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError; rich would end the process, and redirect the wrong stream."""
        raise BrokenPipeError


@contextmanager
def guarded_output() -> Iterator[None]:
    """Escape characters that the output's encoding lacks, and notice when it cannot be written.

    Raises:
        OutputError: the device is full, or cannot be written for another reason.
        SystemExit: the reader of a pipe has gone.
    """
    if sys.stdout is None:  # closed by the caller, as `>&-` does
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # to the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        sys.exit(CLOSED_PIPE)
    except OSError as error:
        if error.errno not in UNWRITABLE or error.filename is not None:
            raise
        _discard_output()
        raise OutputError(
            f"Standard output cannot be written ({error.strerror}); send it elsewhere."
        ) from error


@contextmanager
def own_output() -> Iterator[Console]:
    """Yield a console on standard output, and send what others print to standard error.

    Ray prints news of the cluster, such as dead workers, to `sys.stdout` from threads of its own;
    it must not stand among events, nor within a drawn view.
    """
    console = OutputConsole(file=sys.stdout)
    with redirect_stdout(sys.stderr):
        yield console


def check_working_folder() -> None:
    """Check that the working folder exists, which Ray and model loaders take for granted.

    Raises:
        OutputError: it was deleted.
    """
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise OutputError(
            "The working folder no longer exists; change to one that does."
        ) from error


def _discard_output() -> None:
    """Send what is still buffered nowhere, so that the end of the process does not fail on it."""
    with suppress(OSError, ValueError):  # a replaced stream has no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
