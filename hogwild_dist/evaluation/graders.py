"""The graders: each compares an answer with the known one."""

from collections.abc import Callable, Sequence

from hogwild_dist.evaluation.choices import choice
from hogwild_dist.evaluation.grading import GraderError, GraderKind
from hogwild_dist.evaluation.numerals import last_number
from hogwild_dist.evaluation.programs import program_text
from hogwild_dist.evaluation.sandbox import passes_tests
from hogwild_dist.evaluation.unit_tests import tests_something, with_runner


def same_number(answer: str, known: str) -> bool:
    """Compare the last numbers; in GSM8K the known number follows ``####``."""
    expected = last_number(known.rpartition("####")[2])
    if expected is None:
        raise GraderError(f"the known answer {known!r} does not end with a number")
    return last_number(answer) == expected


def same_mathematics(answer: str, known: str) -> bool:
    """Compare as mathematical expressions, with math-verify; exact numbers exactly."""
    from hogwild_dist.evaluation.mathematics import same  # noqa: PLC0415 - an extra

    right = same(known, answer)
    if right is None:
        raise GraderError(f"math-verify cannot read the known answer {known!r}")
    return right


def same_choice(answer: str, known: str) -> bool:
    """Compare the named letters."""
    expected = choice(known)
    if expected is None:
        raise GraderError(f"the known answer {known!r} does not name exactly one letter")
    return choice(answer) == expected


def passes_known_tests(answer: str, known: str, preamble: Sequence[str] = ()) -> bool:
    """Run a preamble, a program and then the known tests."""
    try:
        tests = with_runner(known)
        tested = tests_something(tests)
    except (SyntaxError, ValueError) as error:
        raise GraderError(f"the known tests are not valid Python: {error}") from error
    if not tested:
        raise GraderError("the known tests run nothing, so every program would pass")
    return passes_tests(program_text(answer), tests, preamble)


GRADERS: dict[GraderKind, Callable[..., bool]] = {
    GraderKind.NUMBER: same_number,
    GraderKind.MATH: same_mathematics,
    GraderKind.CHOICE: same_choice,
    GraderKind.CODE: passes_known_tests,
}


def warm_up(kind: GraderKind) -> None:
    """Load what the first answer would otherwise have to wait for."""
    if kind is GraderKind.MATH:
        same_mathematics("1 + x", "x + 1")
