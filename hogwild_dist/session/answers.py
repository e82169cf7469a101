"""Announced answers: finding one in a worker's text, in the required form."""

import re
from dataclasses import dataclass
from enum import StrEnum

from hogwild_dist.errors import ConfigError
from hogwild_dist.session.fences import code_blocks, program

_BOX = "\\boxed{"


class FormKind(StrEnum):
    """The kind of mark that announces an answer."""

    BOXED = "boxed"
    CODE = "code"
    TEXT = "text"
    PATTERN = "pattern"


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerForm:
    """The form in which an answer is announced.

    Attributes:
        kind: a LaTeX box, a fenced code block, a `pattern`, or free text, which only a finisher
            states.
        pattern: regular expression; the answer is its first group, or the whole match.

    Raises:
        ConfigError: the pattern is not a regular expression, or matches the empty text.
    """

    kind: FormKind
    pattern: str = ""

    def __post_init__(self) -> None:
        if self.kind is not FormKind.PATTERN:
            return
        try:
            empty = re.compile(self.pattern).search("") is not None
        except (re.error, RecursionError, OverflowError) as error:
            raise ConfigError(
                f"The answer pattern {self.pattern!r} is not a regular expression: {error}."
            ) from error
        if empty:
            raise ConfigError(
                f"The answer pattern {self.pattern!r} matches an empty text; require some text."
            )

    @classmethod
    def parse(cls, text: str) -> "AnswerForm":
        """Return the form named `boxed`, `code` or `text`, or else of a regular expression."""
        if text in (FormKind.BOXED, FormKind.CODE, FormKind.TEXT):
            return cls(kind=FormKind(text))
        return cls(kind=FormKind.PATTERN, pattern=text)


def completed_answer(text: str, newest: int, form: AnswerForm) -> str | None:
    """Return the answer that the newest characters of a text complete, or None.

    Args:
        text: text of a worker.
        newest: number of new characters at its end.
        form: form of the answer.
    """
    since = len(text) - newest
    match form.kind:
        case FormKind.BOXED:
            return _boxed(text, since)
        case FormKind.CODE:
            return _code(text, since)
        case FormKind.PATTERN:
            return _matched(text, since, form.pattern)
        case FormKind.TEXT:
            return None


def _boxed(text: str, since: int) -> str | None:
    """Return the content of the last box that closes at or after `since`; braces nest."""
    if "}" not in text[since:]:
        return None
    start = text.rfind(_BOX)
    while start >= 0:
        depth, begin = 1, start + len(_BOX)
        for end in range(begin, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                content = text[begin:end].strip()
                if end >= since and content:
                    return content
                break
        start = text.rfind(_BOX, 0, start)
    return None


def _code(text: str, since: int) -> str | None:
    """Return the content of the last code block that closes after `since`."""
    if not any(sign in text[since:] for sign in "`~"):
        return None
    closed = [one for one in code_blocks(text) if one.closed_at and one.closed_at > since]
    content = program(closed[-1]) if closed else ""
    return content if content.strip() else None


def _matched(text: str, since: int, pattern: str) -> str | None:
    found = None
    for match in re.finditer(pattern, text):
        if match.end() > since:
            found = match
    if found is None:
        return None
    answer = found.group(1) if found.re.groups else found.group()
    return (answer or "").strip() or None
