"""The number at the end of an answer."""

import re
from fractions import Fraction

_MINUS = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-"))

_INTEGER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_NUMBER = re.compile(
    r"(?:(?<![\w)\]}])(?P<minus>-))?"
    r"(?:\\?[$€£¥₹]\s?)?"
    r"(?<![A-Za-z\d])(?<!\d\.)"  # m2 and x1 contain no number
    r"(?:(?P<whole>\d+)\s+(?=\d+/\d))?"  # 2 1/2
    rf"(?P<number>(?:{_INTEGER}(?:\.\d+)?|\.\d+)(?:e[+-]?\d{{1,2}}(?!\d))?)"
    rf"(?:\s?/\s?(?P<denominator>{_INTEGER}))?"
)
_PART_BEFORE = re.compile(r"(?:/|\^|\*\*|√|\\sqrt|\d:)\s?[({]?$")
_PART_AFTER = re.compile(r"\s?(?:\^|\*\*|√|π|\\sqrt|\\pi|[²³¹⁰⁴-⁹¼½¾⅓⅔⅛])|e[+-]?\d")

_REWRITTEN = (
    (re.compile(r"(?<=\d)(?=\\[dt]?frac)"), " "),
    (re.compile(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}"), r"\1/\2 "),
    (re.compile(r"\\[dt]?frac(\d)(\d)"), r"\1/\2 "),
    # 3 \times 10^{5} is 3e5.
    (re.compile(r"(?<=\d)\s*(?:\\times|\\cdot|[×·*x])\s*10\^\{?([+-]?\d{1,2})\b\}?"), r"e\1"),
    (re.compile(r"\^\s*\{?\\circ\}?"), ""),
    # Powers of units and subscripts of variables are not part of a number.
    (re.compile(r"([A-Za-z]\s*\}?)(?:\^|\*\*)(?:\{-?\d+\}|-?\d+)"), r"\1"),
    (re.compile(r"_(?:\{[^{}]*\}|\w)"), ""),
)
_SEPARATOR = re.compile(r"(?<=\d)(?:\{,\}|,?\\[,!]|[\u00a0\u2009\u202f])(?=\d{3}(?!\d))")


def plain_digits(text: str) -> str:
    """Return a text with ASCII minus signs, and commas as the separators of thousands."""
    return _SEPARATOR.sub(",", text.translate(_MINUS))


def last_number(text: str) -> Fraction | None:
    """Return the last number of a text; units, currency and percent signs are ignored.

    Returns:
        None if there is no number, or if the last one is part of an expression that is not
        evaluated: a power, a root, a ratio or a multiple of π.
    """
    text = plain_digits(text)
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
