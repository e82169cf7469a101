"""The forms in which answers are announced."""

from dataclasses import dataclass
from enum import StrEnum

from hogwild_dist.errors import ConfigError
from hogwild_dist.session.answer_pattern import compiled


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
        pattern: regular expression of RE2; the answer is its first group, or the whole match.

    Raises:
        ConfigError: the pattern is not a regular expression of RE2, is too large, or matches the
            empty text.
    """

    kind: FormKind
    pattern: str = ""

    def __post_init__(self) -> None:
        if self.kind is FormKind.PATTERN and compiled(self.pattern).search("") is not None:
            raise ConfigError(
                f"The answer pattern {self.pattern!r} matches an empty text; require some text."
            )

    @classmethod
    def parse(cls, text: str) -> "AnswerForm":
        """Return the form named `boxed`, `code` or `text`, or else of a regular expression."""
        if text in (FormKind.BOXED, FormKind.CODE, FormKind.TEXT):
            return cls(kind=FormKind(text))
        return cls(kind=FormKind.PATTERN, pattern=text)
