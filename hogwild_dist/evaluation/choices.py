"""The letter that an answer to a multiple choice names."""

import re

_DRESS = re.compile(r"\\[A-Za-z]+|[\\{}$*~]")
_ONLY = r"(?!\s*(?:and|or|&|/|,)\s*[(\[]?[A-Z](?![\w'’]))"
"""Behind a letter: there is no second one."""
_ANNOUNCED = re.compile(
    r"(?i:\banswer(?:\s+is)?[\s:]*(?:(?:option|choice)[\s:]*)?)"
    rf"(?:[(\[]([A-Z])[)\]]|([A-Z])(?![\w'’])){_ONLY}"
)
_LABEL = re.compile(
    rf"\s*(?:[(\[]([A-Z])[)\]]|([A-Z])(?:[).:](?!\w)|\s+[-–—]\s|[^\S\n]*(?:\n|$))){_ONLY}"
)
_ALONE = re.compile(r"(?<![\w'’])(?<!not )(?<!not \()([A-Z])(?![\w'’])")
_PROSE = re.compile(r"\s+(?!(?:is|and|or|nor)\b)[a-z]")


def choice(text: str) -> str | None:
    """The letter that is announced (the answer is B), or begins the text as a label, or is alone.

    Alone is a capital that is a word of its own, where there is no other one. A and I that begin a
    clause ("A good plan", "I think") are words.
    """
    text = _DRESS.sub(" ", text)
    announced = [one[1] or one[2] for one in _ANNOUNCED.finditer(text)]
    if announced:
        return announced[-1]
    label = _LABEL.match(text)
    if label:
        return label[1] or label[2]
    alone = {
        one[1]
        for one in _ALONE.finditer(text)
        if one[1] not in "AI" or not _PROSE.match(text, one.end())
    }
    return alone.pop() if len(alone) == 1 else None
