"""`GraderPool`: graders in a separate process, so that a crash or a loop does no harm."""

import multiprocessing
import subprocess
import sys
from collections.abc import Sequence
from enum import StrEnum
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hogwild_dist.errors import ConfigError
from hogwild_dist.evaluation.sandbox import descendants, kill_all

START_SECONDS = 120.0
"""Time limit for starting a grader, which includes loading its library."""

EXIT_SECONDS = 5.0
"""Time limit for the exit of a grader that has closed its pipe."""

_PROCESS = Path(__file__).with_name("grader_process.py")


class GraderKind(StrEnum):
    """How an answer is compared with the known one."""

    NUMBER = "number"
    MATH = "math"
    CHOICE = "choice"
    CODE = "code"


class GraderError(Exception):
    """An answer could not be graded."""


class GraderPool:
    """A grader process, which is replaced if it crashes or takes too long.

    Args:
        kind: how answers are compared.
        seconds: time limit for one answer; the start is not counted.

    Raises:
        ConfigError: the grader's library is not installed.
    """

    def __init__(self, kind: GraderKind, seconds: float = 30.0) -> None:
        if kind is GraderKind.MATH and find_spec("math_verify") is None:
            raise ConfigError(
                "The math grader needs math-verify; run `pip install -e '.[eval]'` in the "
                "clone, or choose another --grader."
            )
        self._kind = kind
        self._seconds = seconds
        self._worker: tuple[subprocess.Popen[bytes], Connection] | None = None

    def grade(self, answer: str | None, known: str, preamble: Sequence[str] = ()) -> bool:
        """Return whether an answer is right; a missing answer is wrong.

        Args:
            answer: answer of the team, or None.
            known: known answer, or the unit tests of a program.
            preamble: statements to run before a program, each by itself.

        Raises:
            GraderError: the grader failed, crashed or took too long.
        """
        if answer is None:
            return False
        if self._worker is None:
            self._worker = self._start()
            self._receive(START_SECONDS, "to start")
        _, pipe = self._worker
        try:
            code = self._kind is GraderKind.CODE
            pipe.send((answer, known, tuple(preamble)) if code else (answer, known))
        except OSError:
            raise self._exit_error() from None
        right = self._receive(self._seconds, "for an answer")
        if isinstance(right, str):
            raise GraderError(f"the {self._kind} grader failed: {right}")
        return bool(right)

    def check(self, known: str) -> None:
        """Check that the grader can read a known answer; unit tests are checked as they run.

        Raises:
            GraderError: the grader cannot read the known answer.
        """
        if self._kind is not GraderKind.CODE:
            self.grade("1", known)

    def close(self) -> None:
        """Kill the process and its descendants."""
        if self._worker is not None:
            process, pipe = self._worker
            pipe.close()
            children = descendants(process.pid)
            process.kill()
            kill_all(children)
            process.wait()
            self._worker = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> tuple[subprocess.Popen[bytes], Connection]:
        own_end, child_end = multiprocessing.Pipe()
        with child_end:
            process = subprocess.Popen(
                [sys.executable, "-P", _PROCESS, self._kind, str(child_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[child_end.fileno()],
                start_new_session=True,  # Ctrl-C must not reach it
            )
        return process, own_end

    def _receive(self, seconds: float, what: str) -> Any:
        assert self._worker is not None, "a grader must be started before it answers"
        _, pipe = self._worker
        try:
            if pipe.poll(seconds):
                return pipe.recv()
        except (EOFError, OSError):
            raise self._exit_error() from None
        self.close()
        raise GraderError(f"the {self._kind} grader took more than {seconds:g} seconds {what}")

    def _exit_error(self) -> GraderError:
        assert self._worker is not None, "a grader must be started before it exits"
        process, _ = self._worker
        try:
            fault = f"died with exit code {process.wait(EXIT_SECONDS)}"
        except subprocess.TimeoutExpired:
            fault = "closed its pipe and did not exit"
        self.close()
        return GraderError(f"the {self._kind} grader {fault}")
