"""The number at the end of an answer."""

import re
from collections.abc import Callable
from fractions import Fraction

from hogwild_dist.evaluation.notations import plain_digits, with_fractions, without_emphasis

_INTEGER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)|\d+)"
"""Digits, in groups of three, or in the groups of India: 12,34,567."""
_DECIMAL = rf"(?:{_INTEGER}(?:\.\d+)?|\.\d+)"
_NUMBER = re.compile(
    r"(?:(?<![\w)\]}])(?P<minus>-))?"
    r"(?:\\?[$€£¥₹]\s?)?"
    r"(?<![A-Za-z\d])(?<!\d\.)"  # m2 and x1 contain no number
    r"(?:(?P<whole>\d+)\s+(?=\d+/\d))?"  # 2 1/2
    rf"(?P<number>{_DECIMAL}(?:[eE][+-]?\d{{1,2}}(?!\d))?)"
    rf"(?:\s?/\s?(?P<denominator>{_DECIMAL}))?"
)
_PART_BEFORE = re.compile(r"(?:/|\^|\*\*|√|\\sqrt|\d:)\s?[({]?$")
_PART_AFTER = re.compile(r"\s?(?:\^|\*\*|√|π|\\sqrt|\\pi|[²³¹⁰⁴-⁹¼½¾⅓⅔⅛])|[eE][+-]?\d")

_SUPERSCRIPTS = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")

_Replacement = str | Callable[[re.Match[str]], str]
_REWRITTEN: tuple[tuple[re.Pattern[str], _Replacement], ...] = (
    (re.compile(r"(?<=\d)\s*(?=\\[cdt]?frac)"), " "),
    (
        re.compile(rf"\\[cdt]?frac\s*\{{\s*(-?{_DECIMAL})\s*\}}\s*\{{\s*({_DECIMAL})\s*\}}"),
        r"\1/\2 ",
    ),
    (re.compile(r"\\[cdt]?frac\s*(\d)\s*(\d)"), r"\1/\2 "),
    # 3 \times 10^{5} and 3*10**5 are 3e5.
    (
        re.compile(
            r"(?<=\d)\s*(?:\\times|\\cdot|[×·⋅*x])\s*\{?10\}?\s*(?:\^|\*\*)\s*"
            r"[{(]?\s*([+-]?\d{1,2})(?!\d)\s*[})]?"
        ),
        r"e\1",
    ),
    (
        re.compile(r"(?<=\d)\s*(?:\\times|\\cdot|[×·⋅*x])\s*10([⁺⁻]?[⁰¹²³⁴-⁹]{1,2})"),
        lambda found: "e" + found[1].translate(_SUPERSCRIPTS),
    ),
    (re.compile(r"\^?\s*\{?\s*(?:\\circ(?![A-Za-z])|°)\s*\}?"), ""),
    # Powers of units and subscripts of variables are not part of a number.
    (re.compile(r"([A-Za-z]\s*\}?)(?:\^|\*\*)(?:\{-?\d+\}|-?\d+)"), r"\1"),
    (re.compile(r"_(?:\{[^{}]*\}|\w)"), ""),
)


def last_number(text: str) -> Fraction | None:
    """Return the last number of a text; units, currency and percent signs are ignored.

    Returns:
        None if there is no number, or if the last one is part of an expression that is not
        evaluated: a power, a root, a ratio or a multiple of π.
    """
    text = with_fractions(without_emphasis(plain_digits(text)))
    for pattern, replacement in _REWRITTEN:
        text = pattern.sub(replacement, text)
    numbers = list(_NUMBER.finditer(text))
    if not numbers or _is_part(numbers[-1], text):
        return None
    return _value(numbers[-1])


def _is_part(found: re.Match[str], text: str) -> bool:
    before = text[: found.start()][-8:]
    return bool(_PART_BEFORE.search(before) or _PART_AFTER.match(text, found.end()))


def _value(found: re.Match[str]) -> Fraction | None:
    try:
        denominator = Fraction((found["denominator"] or "1").replace(",", ""))
        value = Fraction(found["number"].replace(",", "")) / denominator + int(found["whole"] or 0)
    except (ValueError, ZeroDivisionError):  # thousands of digits; nothing to divide by
        return None
    return -value if found["minus"] else value
