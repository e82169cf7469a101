"""Is an answer right? Graders run in a process of their own, so that none can stop the rest."""

import multiprocessing
import subprocess
import sys
from enum import StrEnum
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hogwild_dist.errors import ConfigError
from hogwild_dist.evaluation.sandbox import descendants, kill_all

START_SECONDS = 120.0
"""In which a grader says that it is ready: loading its library is not part of an answer."""

_PROCESS = Path(__file__).with_name("grader_process.py")


class GraderKind(StrEnum):
    """How an answer is compared."""

    NUMBER = "number"
    MATH = "math"
    CHOICE = "choice"
    CODE = "code"


class GraderError(Exception):
    """An answer could not be graded; the text says why."""


class GraderPool:
    """Grades in another process, which is replaced when it crashes or takes too long.

    Args:
        kind: how answers are compared.
        seconds: for one answer; starting is not counted.

    Raises:
        ConfigError: the library that the grader needs is not installed.
    """

    def __init__(self, kind: GraderKind, seconds: float = 20.0) -> None:
        if kind is GraderKind.MATH and find_spec("math_verify") is None:
            raise ConfigError(
                "The math grader needs math-verify; install it with `pip install "
                "'hogwild-dist[eval]'`, or choose another --grader."
            )
        self._kind = kind
        self._seconds = seconds
        self._worker: tuple[subprocess.Popen[bytes], Connection] | None = None

    def grade(self, answer: str | None, known: str) -> bool:
        """Whether an answer is right; none is wrong.

        Args:
            answer: what the team said.
            known: what is right, or the unit tests of a program.

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
            pipe.send((answer, known))
        except OSError:
            raise self._exit_error() from None
        right = self._receive(self._seconds, "for an answer")
        if isinstance(right, str):
            raise GraderError(f"the {self._kind} grader failed: {right}")
        return bool(right)

    def check(self, known: str) -> None:
        """Read a known answer before anybody answers; tests of programs are read as they run.

        Raises:
            GraderError: the grader cannot read it.
        """
        if self._kind is not GraderKind.CODE:
            self.grade("1", known)

    def close(self) -> None:
        """End the process, and what it began."""
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
                start_new_session=True,  # Ctrl-C is for us
            )
        return process, own_end

    def _receive(self, seconds: float, what: str) -> Any:
        assert self._worker is not None, "only a grader that was started answers"
        _, pipe = self._worker
        try:
            if pipe.poll(seconds):
                return pipe.recv()
        except (EOFError, OSError):
            raise self._exit_error() from None
        self.close()
        raise GraderError(f"the {self._kind} grader took more than {seconds:g} seconds {what}")

    def _exit_error(self) -> GraderError:
        assert self._worker is not None, "only a grader that was started dies"
        process, _ = self._worker
        code = process.wait()
        self.close()
        return GraderError(f"the {self._kind} grader died with exit code {code}")
