"""The exact values of numbers in sympy expressions, with a bound on their size."""

from collections.abc import Sequence
from hashlib import sha256
from math import factorial as factorial_of
from typing import Any

from sympy import (
    Add,
    Basic,
    Expr,
    Float,
    Integer,
    Interval,
    MatrixBase,
    Mul,
    Pow,
    Rational,
    Symbol,
    UnevaluatedExpr,
    factorial,
    factorint,
)
from sympy.core.relational import Relational

MOST_BITS = 1 << 18
"""Largest size of a power or factorial that is evaluated: 79,000 digits."""
_MOST_FACTORIAL = 20_000
_MOST_ARGUMENT = 10_000
"""Largest argument of other functions, such as binomials."""
_SPECIAL = ("sympy.functions.combinatorial", "sympy.functions.special")
_MOST_FACTORED = 10**12
_MOST_EXPONENT = 5_000
_SIGN = "#"
"""First sign of the symbols for numbers that are too large."""


def evaluated(expression: Any, *, decimals: bool = False) -> Any:
    """Return an expression in which exact numbers are evaluated.

    A number that is too large is a product of powers of symbols, one for each prime or factorial,
    so that equal products are equal expressions, and no time or memory is spent on its digits.

    Args:
        expression: what math-verify has parsed.
        decimals: whether decimals are exact numbers too.
    """
    if isinstance(expression, MatrixBase):
        return expression.applyfunc(lambda one: evaluated(one, decimals=decimals))
    if isinstance(expression, Float):
        return _fraction(expression) if decimals else expression
    if not isinstance(expression, Basic) or isinstance(expression, UnevaluatedExpr):
        return expression
    before = arguments(expression)
    args = [evaluated(one, decimals=decimals) for one in before]
    if all(new is old for new, old in zip(args, before, strict=True)) and not _counts(
        expression, args
    ):
        return expression
    return _rebuilt(expression, args)


def _counts(expression: Basic, args: list[Any]) -> bool:
    """Return whether evaluated arguments can be evaluated further.

    Other expressions are left as they are written: math-verify reads the order of factors, since it
    parses a word as the product of its letters.
    """
    numbers = [one for one in args if isinstance(one, Rational)]
    if isinstance(expression, Add | Mul | Pow):
        return len(numbers) > 1
    return _is_special(expression) and len(numbers) == len(args)


def _is_special(expression: Basic) -> bool:
    """Return whether an expression is a function such as a factorial, a binomial or gamma."""
    return (type(expression).__module__ or "").startswith(_SPECIAL)


def _rebuilt(expression: Basic, args: list[Any]) -> Any:
    """Return an expression with evaluated arguments, evaluated."""
    match expression:
        case Add() | Mul():
            return _combined(expression.func, args)
        case Pow():
            return _power(*args)
        case Relational():
            return expression.func(*args, evaluate=False)
    return _counted(expression.func, args) if _is_special(expression) else expression.func(*args)


def has_large_number(expression: Any) -> bool:
    """Return whether an evaluated expression holds a number that is too large."""
    symbols = getattr(expression, "free_symbols", ())
    return any(symbol.name.startswith(_SIGN) for symbol in symbols)


def arguments(expression: Basic) -> Sequence[Any]:
    """Return the arguments of an expression, those of sets in the order of the text."""
    args: Sequence[Any] = expression.args
    return args if isinstance(expression, Interval) else getattr(expression, "_unsorted_args", args)


def _combined(function: Any, args: list[Any]) -> Any:
    """Return a sum or product; its exact numbers are one number unless that is too large."""
    numbers = [one for one in args if isinstance(one, Rational) and one.is_finite]
    if sum(_size(one) for one in numbers) > 4 * MOST_BITS:
        numbers = [_symbol("number", one.p, one.q) for one in numbers]
    return function(function(*numbers), *[one for one in args if one not in numbers])


def _power(base: Any, exponent: Any) -> Any:
    if not isinstance(base, Rational) or not base.is_finite or base in (0, 1):
        return Pow(base, exponent)
    small = isinstance(exponent, Rational) and abs(exponent) * _size(base) <= MOST_BITS
    if small or (isinstance(base, Integer) and abs(base) == 1):
        return Pow(base, exponent)
    if not isinstance(exponent, Rational) and not has_large_number(exponent):
        return Pow(base, exponent)
    sign = Pow(Integer(-1), exponent) if base < 0 else Integer(1)
    return sign * _large_power(abs(base.p), exponent) * _large_power(base.q, -exponent)


def _large_power(number: int, exponent: Any) -> Any:
    factors = factorint(number) if number < _MOST_FACTORED else {number: 1}
    powers = [Pow(_symbol("number", one, 1), count * exponent) for one, count in factors.items()]
    return Mul(*powers)


def _counted(function: Any, args: list[Any]) -> Any:
    """Return a factorial or a similar function of exact numbers."""
    if not all(isinstance(one, Integer) for one in args):
        return function(*args)
    if function is factorial and 0 <= args[0] <= _MOST_FACTORIAL:
        return Integer(factorial_of(int(args[0])))
    if all(abs(one) <= _MOST_ARGUMENT for one in args):
        return function(*args)
    return _symbol(function.__name__, *map(int, args))


def _symbol(kind: str, *numbers: int) -> Symbol:
    """Return the symbol of a number that is too large: the same for the same number."""
    digest = sha256(kind.encode())
    for number in numbers:
        digest.update(b"|" + number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))
    return Symbol(_SIGN + digest.hexdigest(), positive=True)


def _size(number: Rational) -> int:
    return max(int(number.p).bit_length(), int(number.q).bit_length())


def _fraction(decimal: Float) -> Expr:
    text = str(decimal)
    exponent = text.partition("e")[2]
    return decimal if abs(int(exponent or 0)) > _MOST_EXPONENT else Rational(text)
