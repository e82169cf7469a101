"""The letter that an answer to a multiple choice names."""

import re

_MARKUP = re.compile(r"\\[A-Za-z]+|[\\{}$*~]")
_NO_SECOND = r"(?!\s*(?:and|or|&|/|,)\s*[(\[]?[A-Z](?![\w'’]))"
"""Behind a letter: there is no second one."""
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
    """The letter that is announced (the answer is B), or begins the text as a label, or is alone.

    Alone is a capital that is a word of its own, where there is no other one. A and I that begin a
    clause ("A good plan", "I think") are words.
    """
    text = _MARKUP.sub(" ", text)
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
