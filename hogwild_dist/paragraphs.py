"""Where a paragraph ends (what the paper calls a reasoning step)."""

BLANK_LINE = "\n\n"

SENTENCE_ENDS = frozenset(".?!。۔؟।॥…‽།᠃։჻¶❧")


def ends_paragraph(text: str, newest: str) -> bool:
    """Whether the newest token ends a paragraph.

    It does if it completes a blank line and the text before that line, stripped, ends with a
    sentence-ending character.

    Args:
        text: of the paragraph before the newest token.
        newest: what the newest token adds.
    """
    if BLANK_LINE not in text[-1:] + newest:
        return False
    before, _, _ = (text + newest).rpartition(BLANK_LINE)
    return before.rstrip()[-1:] in SENTENCE_ENDS
