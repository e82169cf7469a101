"""The letter that an answer to a multiple-choice question names."""

import re

from hogwild_dist.evaluation.notations import without_emphasis

_MARKUP = re.compile(r"\\[A-Za-z]+|[\\{}$*~]")
_NO_SECOND = r"(?!\s*(?:and|or|&|/|,)\s*[(\[]?[A-Z](?![\w'’]))"
"""After a letter: no second letter follows."""
_ANNOUNCED = re.compile(
    r"(?i:\banswer(?:\s+is)?[\s:]*(?:(?:option|choice)[\s:]*)?)"
    rf"(?:[(\[]([A-Z])[)\]]|([A-Z])(?![\w'’])){_NO_SECOND}"
)
_LABEL = re.compile(
    rf"\s*(?:[(\[]([A-Z])[)\]]|([A-Z])(?:[).:](?!\w)|\s+[-–—]\s|[^\S\n]*(?:\n|$))){_NO_SECOND}"
)
_ALONE = re.compile(r"(?<![\w'’])(?<!not )(?<!not \()([A-Z])(?![\w'’])")
_PROSE = re.compile(r"\s+(?!(?:is|and|or|nor)\b)[a-z]")


def choice(text: str) -> str | None:
    """Return the letter that a text names, or None.

    Tried in order: the last letter that is announced ("the answer is B"); a label at the start
    ("B)"); the only capital letter that is a word by itself. "A" and "I" that begin a clause
    ("A good plan", "I think") are words and not letters.
    """
    text = _MARKUP.sub(" ", without_emphasis(text))
    announced = [match[1] or match[2] for match in _ANNOUNCED.finditer(text)]
    if announced:
        return announced[-1]
    label = _LABEL.match(text)
    if label:
        return label[1] or label[2]
    alone = {
        match[1]
        for match in _ALONE.finditer(text)
        if match[1] not in "AI" or not _PROSE.match(text, match.end())
    }
    return alone.pop() if len(alone) == 1 else None
