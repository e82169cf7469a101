"""Rewriting of the notations in which models write numbers, before a grader reads them."""

import re
from fractions import Fraction

_MINUS = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-"))
_SEPARATOR = re.compile(r"(?<=\d)(?:\{,\}|,?\\[,!]|[\u00a0\u2009\u202f])(?=\d{3}(?!\d))")

_TAGS = re.compile(r"</?(?:b|strong|i|em|mark|u)>", re.IGNORECASE)
_PAIRS = (
    # Two signs with an operand before them are a power: 2**3**2, x**2.
    re.compile(
        r"(?<![0-9)\]}*\\])(?<!(?<![A-Za-z])[A-Za-z])(?P<mark>\*{2,3}|(?<!_)_{2,3}(?!\{))"
        r"(?=[^\s*_])(?P<text>(?:(?!\n\n).)+?)(?<=[^\s_])(?<!\d\*)(?P=mark)(?![\d*(_])",
        re.DOTALL,
    ),
    # One sign may be a product or a subscript; it is emphasis around a number or letter alone.
    re.compile(
        r"(?<![\w)\]}*\\])(?P<mark>[*_])"
        r"(?P<text>[-+]?\\?[$€£¥₹]?\d[^\s*_{}\\]*|\(?[A-Z]\)?\.?)(?P=mark)(?![\w*{(])"
    ),
)
_UNPAIRED = re.compile(
    r"(?:^\s*|(?<=\s)(?<![0-9)\]}]\s)(?<!\b[A-Za-z]\s))\*{2,3}(?=[^\s*])"
    r"|(?<=[^\s*])\*{2,3}(?=[.,;:!?]?\s*$)",
    re.MULTILINE,
)
"""Two signs where a power would lack an operand."""

_WHOLE = r"(?P<whole>\d{1,3}(?:,\d{3})+|\d*)"
_REPEATING = (
    rf"{_WHOLE}\.(?P<fixed>\d*)\\(?:overline|bar|dot)\s*(?:\{{(?P<digits>\d+)\}}|(?P<digit>\d))",
    rf"{_WHOLE}\.(?P<fixed>\d*)(?P<dotted>\\dot\s*\{{?\d\}}?\d*\\dot\s*\{{?\d\}}?)",
    rf"{_WHOLE}\.(?P<fixed>\d*?)(?P<marked>(?:\d[\u0304\u0305\u0307])+)",
    # 0.1(6) may be a product; nothing is multiplied by "0.".
    rf"{_WHOLE}\.(?P<fixed>)\((?P<digits>\d+)\)(?![\d(!^])",
)
_REPEATING_DECIMALS = tuple(
    re.compile(rf"(?<![\d.,]){pattern}(?:\\l?dots|\.\.\.|…)?")
    for pattern in (_REPEATING[1], _REPEATING[0], *_REPEATING[2:])
)
_MOST_DIGITS = 1000


def plain_digits(text: str) -> str:
    """Return a text with ASCII minus signs, and commas as the separators of thousands."""
    return _SEPARATOR.sub(",", text.translate(_MINUS))


def without_emphasis(text: str) -> str:
    """Return a text without the marks of bold and italic text; powers as 2**3 are left."""
    text = _TAGS.sub("", text)
    for pair in _PAIRS:
        text = pair.sub(_unmarked, text)
    return _UNPAIRED.sub("", text)


def _unmarked(found: re.Match[str]) -> str:
    """Return an emphasized text, apart from a word that it follows."""
    before = found.string[: found.start()]
    return f" {found['text']}" if before[-1:].isalpha() else found["text"]


def with_fractions(text: str) -> str:
    r"""Return a text with repeating decimals as fractions: 0.1\overline{6} is \frac{1}{6}."""
    for pattern in _REPEATING_DECIMALS:
        text = pattern.sub(_fraction, text)
    return text


def _fraction(found: re.Match[str]) -> str:
    parts = found.groupdict()
    repeated = next(
        parts[name] for name in ("digits", "digit", "dotted", "marked") if parts.get(name)
    )
    repeated = re.sub(r"\D", "", repeated)
    before = found["whole"].replace(",", "") + found["fixed"]
    if len(before) + len(repeated) > _MOST_DIGITS:
        return found[0]
    nines = 10 ** len(repeated) - 1
    value = Fraction(int(before or 0) * nines + int(repeated), nines * 10 ** len(found["fixed"]))
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


_GROUPED = r"\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}"
_OPERAND = r"[-+]?(?:\d+(?:\.\d+)?|[A-Za-z])"
_LATEX = (
    (re.compile(r"^.*\banswer(?:\s+is)?\s*:?\s+", re.IGNORECASE | re.DOTALL), ""),
    (re.compile(r"\\(?:text|math)(?:bf|rm|it|normal)?\s*\{\s*([-+]?\d[\d.,]*)\s*\}"), r"\1"),
    (re.compile(r"\^?\s*\{?\s*(?:\\(?:text)?degree(?![A-Za-z])|[°º˚])\s*\}?"), r"^\\circ "),
    (re.compile(r"\\cfrac"), r"\\frac"),
    # A trailing point: 5. and (5., 6.), but not 5.25 or 5...
    (re.compile(r"(?<=\d)\.(?!\s*[\d.…(]|\s*\\[lc]?dots)"), ""),
    (re.compile(r"(?<=[^.\s])\.\s*(\$?)\s*$"), r"\1"),
    # Thousands in an argument, and in groups of India that no list would have: 1,00,000.
    (re.compile(rf"(?<!\\)\{{\s*({_GROUPED})\s*\}}"), lambda found: f"{{{_joined(found[1])}}}"),
    (
        re.compile(r"(?<![\d,])\d{1,2}(?:,\d{2})*,0\d(?:,\d{2})*,\d{3}(?![\d,])"),
        lambda found: _joined(found[0]),
    ),
    # Powers in the notation of programs, and 3E5.
    (re.compile(r"(?<=\d)E([+-]?\d+)(?![\w.])"), r" \\times 10^{\1}"),
    (re.compile(r"(?<=\d)e(\d+)(?![\w.])"), r" \\times 10^{\1}"),
    (re.compile(rf"\*\*\s*({_OPERAND})\s*\*\*\s*({_OPERAND})"), r"^{\1^{\2}}"),
    (re.compile(r"\*\*\s*\(([^()]*)\)"), r"^{(\1)}"),
    (re.compile(rf"\*\*\s*({_OPERAND})"), r"^{\1}"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\s*[×⋅·]\s*"), r" \\times "),
)
_EXPONENT = re.compile(r"(?<=\d)e([+-]\d+)(?![\w.])")


def latex_readings(text: str) -> list[str]:
    """Return a text in the notation of LaTeX; twice where 2e-1 may be a power or hold Euler's e."""
    text = with_fractions(without_emphasis(plain_digits(text)))
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    power = _EXPONENT.sub(r" \\times 10^{\1}", text)
    return [power] if power == text else [power, text]


def _joined(digits: str) -> str:
    return digits.replace(",", "")
