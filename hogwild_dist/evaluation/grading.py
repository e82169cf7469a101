"""Is an answer right? Graders run in a process of their own, so that none can stop the rest."""

import multiprocessing
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from importlib.util import find_spec
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from hogwild_dist.errors import ConfigError
from hogwild_dist.evaluation.sandbox import passes_tests

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")
_CHOICE = re.compile(r"(?<![A-Za-z])\(?([A-Z])\)?(?![A-Za-z])")


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
        seconds: for one answer.

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
        self._context = multiprocessing.get_context("spawn")
        self._worker: tuple[multiprocessing.process.BaseProcess, Connection] | None = None

    def grade(self, answer: str | None, known: str) -> bool:
        """Whether an answer is right; none is wrong.

        Args:
            answer: what the team said.
            known: what is right, or the unit tests of a program.

        Raises:
            GraderError: the grader crashed or took too long.
        """
        if answer is None:
            return False
        process, pipe = self._worker = self._worker or self._start()
        try:
            pipe.send((self._kind, answer, known))
            if not pipe.poll(self._seconds):
                self.close()
                raise GraderError(
                    f"the {self._kind} grader took more than {self._seconds:g} seconds"
                )
            right = pipe.recv()
        except (EOFError, OSError):
            process.join()
            code = process.exitcode
            self.close()
            raise GraderError(f"the {self._kind} grader died with exit code {code}") from None
        if isinstance(right, str):
            raise GraderError(f"the {self._kind} grader failed: {right}")
        return bool(right)

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            process, pipe = self._worker
            pipe.close()
            process.kill()
            process.join()
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

    def _start(self) -> tuple[multiprocessing.process.BaseProcess, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        return process, ours


def _serve(pipe: Connection) -> None:
    """Grade until the other side closes."""
    while True:
        try:
            kind, answer, known = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(GRADERS[kind](answer, known))
        except Exception as error:  # whatever a parser meets in a model's text
            pipe.send(f"{type(error).__name__}: {error}")


def same_number(answer: str, known: str) -> bool:
    """Compare the last numbers; in GSM8K the known one follows ``####``."""
    said, right = _last_number(answer), _last_number(known.rpartition("####")[2])
    return said is not None and said == right


def same_mathematics(answer: str, known: str) -> bool:
    """Compare as mathematics, by math-verify."""
    from math_verify import parse, verify  # noqa: PLC0415 - an extra, and slow to import

    right, said = (parse(f"\\boxed{{{text}}}") for text in (known, answer))
    return bool(right) and bool(said) and bool(verify(right, said))


def same_choice(answer: str, known: str) -> bool:
    """Compare letters of a multiple choice."""
    said, right = _CHOICE.findall(answer), _CHOICE.findall(known)
    return bool(said and right) and said[-1] == right[-1]


def _last_number(text: str) -> Decimal | None:
    found = _NUMBER.findall(text)
    try:
        return Decimal(found[-1].replace(",", "")) if found else None
    except InvalidOperation:
        return None


GRADERS: dict[GraderKind, Callable[[str, str], bool]] = {
    GraderKind.NUMBER: same_number,
    GraderKind.MATH: same_mathematics,
    GraderKind.CHOICE: same_choice,
    GraderKind.CODE: passes_tests,
}
