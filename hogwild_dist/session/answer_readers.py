"""Finding announced answers in a worker's text while it grows.

A reader is asked with every token. What it does for a token does not depend on the length of the
text, so that a long text does not slow down the other sessions of the step.
"""

import re
from typing import Protocol

from hogwild_dist.session.answer_pattern import compiled
from hogwild_dist.session.answers import AnswerForm, FormKind
from hogwild_dist.session.fences import FenceReader, program

PATTERN_CHARS = 4096
"""Characters at the end of a text that a pattern is searched in."""

_BOX = "\\boxed{"
_BRACE = re.compile("[{}]")


class AnswerReader(Protocol):
    """Reads one text that grows at its end."""

    def read(self, text: str, newest: int) -> str | None:
        """Return the answer that the newest characters of the text complete, or None.

        Args:
            text: the text so far; it begins with what was read before.
            newest: number of new characters at its end.
        """


def new_reader(form: AnswerForm) -> AnswerReader:
    """Return a reader of answers in a form, for a text from its beginning."""
    match form.kind:
        case FormKind.BOXED:
            return BoxReader()
        case FormKind.CODE:
            return CodeReader()
        case FormKind.PATTERN:
            return PatternReader(form.pattern)
        case FormKind.TEXT:
            return NoReader()


class NoReader:
    """Finds nothing: free text announces no answer."""

    def read(self, _text: str, _newest: int) -> None:
        """Return None."""


class BoxReader:
    """Finds the content of the last box that the newest characters close; braces nest."""

    def __init__(self) -> None:
        self._num_read = 0
        self._open: list[int | None] = []
        """For each open brace, the offset of its box's content, or None if it opens no box."""

    def read(self, text: str, newest: int) -> str | None:
        """Return the answer that the newest characters complete, or None."""
        found: tuple[int, str] | None = None
        for brace in _BRACE.finditer(text, self._num_read):
            if brace[0] == "{":
                is_box = text.endswith(_BOX, 0, brace.end())
                self._open.append(brace.end() if is_box else None)
                continue
            begin = self._open.pop() if self._open else None
            if begin is None or brace.start() < len(text) - newest:
                continue
            content = text[begin : brace.start()].strip()
            if content and (found is None or begin > found[0]):
                found = begin, content
        self._num_read = max(self._num_read, len(text))
        return found and found[1]


class CodeReader:
    """Finds the program in the last code block that the newest characters close."""

    def __init__(self) -> None:
        self._fences = FenceReader()

    def read(self, text: str, newest: int) -> str | None:
        """Return the answer that the newest characters complete, or None."""
        since = len(text) - newest
        if not any(sign in text[since:] for sign in "`~"):
            return None
        self._fences.read(text)
        closed = [block for block in self._fences.blocks[-2:] if block.closed_at]
        last = self._fences.closed_by_rest(text) or (closed[-1] if closed else None)
        if last is None or last.closed_at is None or last.closed_at <= since:
            return None
        content = program(last)
        return content if content.strip() else None


class PatternReader:
    """Finds the last match of a pattern that the newest characters complete.

    Args:
        pattern: regular expression; the answer is its first group, or the whole match.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = compiled(pattern)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        """Copy the pattern's text, since the library cannot copy a compiled one."""
        return PatternReader, (self._pattern.pattern,)

    def read(self, text: str, newest: int) -> str | None:
        """Return the answer that the newest characters complete, or None."""
        begin = max(0, len(text) - max(PATTERN_CHARS, newest))
        before = min(begin, 1)  # a character that ^ and \\b look at
        window = text[begin - before :]
        since = len(window) - newest
        ended = [one for one in self._pattern.finditer(window, before) if one.end() > since]
        if not ended:
            return None
        answer = ended[-1].group(1) if self._pattern.groups else ended[-1].group()
        return (answer or "").strip() or None
