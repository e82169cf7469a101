"""Whether two texts are the same mathematics: math-verify, and exact numbers compared exactly."""

import re
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any

from math_verify import parse, verify
from math_verify.errors import TimeoutException
from math_verify.utils import timeout
from sympy import (
    And,
    Expr,
    FiniteSet,
    Float,
    Interval,
    MatrixBase,
    Mul,
    Rational,
    Tuple,
    UnevaluatedExpr,
    expand,
)
from sympy.core.relational import Eq, Relational

from hogwild_dist.evaluation.exact_numbers import arguments, evaluated, has_large_number
from hogwild_dist.evaluation.notations import latex_readings

SECONDS = 5
"""Time limit for telling two expressions apart."""
_PLACES = 6
_MOST_APART = Fraction(1, 10**4)
"""Decimals are the same if they are after that many places and differ by at most that part."""
_DIGITS = 30
_PERCENT = UnevaluatedExpr(Rational(1, 100))
_ELLIPSIS = re.compile(r"\\[lcd]?dots[bcmio]?(?![A-Za-z])|…|\.\.\.")
_BRACKETS = re.compile(r"\\(?:left|right)(?![A-Za-z])|\\[{}]|[$\s]|\\[,;!]")


def parsed(text: str) -> list[list[Any]]:
    """Return what math-verify reads in a text, for each reading of its notation."""
    readings = (parse(f"\\boxed{{{reading}}}") for reading in latex_readings(text))
    return [reading for reading in readings if reading]


def same(known: str, answer: str) -> bool | None:
    """Return whether an answer is the known one, or None if the known one cannot be read."""
    if _ELLIPSIS.search(known) or _ELLIPSIS.search(answer):
        listed = _same_list(known, answer)
        if listed is not None:
            return listed
    expected = parsed(known)
    if not expected:
        return None
    return any(_same_reading(one, other) for one in expected for other in parsed(answer))


def _same_list(known: str, answer: str) -> bool | None:
    """Compare lists such as 1, 2, ..., n part by part; None if neither has such a part."""
    lists = [
        _BRACKETS.sub("", _ELLIPSIS.sub("…", text)).strip("()[]").split(",")
        for text in (known, answer)
    ]
    if not any("…" in parts for parts in lists):
        return None
    expected, given = lists
    return len(expected) == len(given) and all(
        one == other if "…" in (one, other) else bool(same(one, other))
        for one, other in zip(expected, given, strict=True)
    )


def _same_reading(expected: list[Any], given: list[Any]) -> bool:
    """Compare two readings: expressions, or texts that math-verify cannot parse."""
    if expected[-1] == given[-1]:  # the texts
        return True
    if isinstance(expected[0], str) or isinstance(given[0], str):
        return False
    exact = [evaluated(one[0], decimals=True) for one in (expected, given)]
    if any(has_large_number(one) for one in exact):
        return bool(_unassigned(exact[0]) == _unassigned(exact[1]))
    left, right = expected[0], given[0]
    if isinstance(_amount(exact[0]), Rational) and isinstance(_amount(exact[1]), Rational):
        return _same_numbers(left, right)
    left, right = evaluated(left), evaluated(right)
    return bool(verify(left, right)) and not _told_apart(left, right)


def _same_numbers(left: Any, right: Any) -> bool:
    """Compare numbers; 50 % is 50, and also 0.5 where the other one is not in percent."""
    rounded = any(one.has(Float) for one in (left, right))
    amounts = [_amount(evaluated(one, decimals=True)) for one in (left, right)]
    values = [Fraction(int(one.p), int(one.q)) for one in amounts]
    percent = [one.has(_PERCENT) for one in (left, right)]
    if _equal(*values, rounded=rounded):
        return True
    if percent[0] == percent[1]:
        return False
    first, second = (
        value / 100 if is_percent else value
        for value, is_percent in zip(values, percent, strict=True)
    )
    return _equal(first, second, rounded=rounded)


def _equal(left: Fraction, right: Fraction, *, rounded: bool) -> bool:
    if left == right or not rounded:
        return left == right
    apart = abs(left - right)
    return round(left, _PLACES) == round(right, _PLACES) and apart <= _MOST_APART * max(
        abs(left), abs(right)
    )


def _told_apart(left: Any, right: Any) -> bool:
    """Return whether expressions that math-verify takes for the same differ in their numbers."""
    with suppress(Exception, TimeoutException):
        return bool(timeout(SECONDS)(lambda: any(_differ(*pair) for pair in _pairs(left, right)))())
    return False


def _pairs(left: Any, right: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the parts of two expressions that stand for each other."""
    if isinstance(left, Relational) and isinstance(right, Relational):
        sides = [[side for side in (one.lhs, one.rhs) if side.is_number] for one in (left, right)]
        if [len(one) for one in sides] == [1, 1]:
            yield sides[0][0], sides[1][0]
        return
    left, right = _unassigned(left), _unassigned(right)
    lefts, rights = _parts(left), _parts(right)
    if lefts is None or rights is None:
        yield left, right
    elif isinstance(left, FiniteSet) and isinstance(right, FiniteSet):
        yield from zip(sorted(lefts, key=_order), sorted(rights, key=_order), strict=True)
    else:
        for one, other in zip(lefts, rights, strict=True):
            yield from _pairs(one, other)


def _parts(expression: Any) -> list[Any] | None:
    """Return the elements of a matrix, tuple or set, or the ends of an interval."""
    match expression:
        case MatrixBase():
            return list(expression.flat())
        case Interval():
            return [expression.start, expression.end]
        case FiniteSet() | Tuple() | And():
            return list(arguments(expression))
    return None


def _order(number: Any) -> Any:
    return number if isinstance(number, Rational) else number.evalf(_DIGITS)


def _differ(left: Any, right: Any) -> bool:
    """Return whether two numbers or terms are certainly different."""
    if left == right or not all(isinstance(one, Expr) for one in (left, right)):
        return False
    exact = [evaluated(one, decimals=True) for one in (left, right)]
    if all(isinstance(_amount(one), Rational) for one in exact):
        return not _same_numbers(left, right)
    if left.free_symbols != right.free_symbols:  # math-verify compares names in its own way
        return False
    if not any(one.has(Float) for one in (left, right)):
        return expand(left - right).equals(0) is False
    if not all(one.is_number for one in (left, right)):
        return False
    values = [one.evalf(_DIGITS) for one in exact]
    return bool(abs(values[0] - values[1]) > _MOST_APART * max(map(abs, values)))


def _amount(expression: Any) -> Any:
    """Return an expression without its percent sign."""
    if isinstance(expression, Mul) and _PERCENT in expression.args:
        return Mul(*[one for one in expression.args if one != _PERCENT])
    return expression


def _unassigned(expression: Any) -> Any:
    """Return the right side of an assignment such as x = 5; other expressions are unchanged."""
    if isinstance(expression, Eq) and expression.lhs.is_Symbol:
        return expression.rhs
    return expression
