"""Detection of the end of a paragraph, which the paper calls a reasoning step."""

from hogwild_dist.session.fences import code_blocks

BLANK_LINE = "\n\n"

SENTENCE_ENDS = frozenset(".?!。۔؟।॥…‽།᠃։჻¶❧")


def ends_paragraph(text: str, newest: str, *, whole_code: bool = False) -> bool:
    """Return whether the newest token ends a paragraph.

    It does if it completes a blank line and the text before that line, stripped, ends with a
    sentence-ending character.

    Args:
        text: text of the paragraph before the newest token.
        newest: text that the newest token adds.
        whole_code: whether a paragraph cannot end inside a fenced code block. The paper's code
            does not look for code blocks.
    """
    if BLANK_LINE not in text[-1:] + newest:
        return False
    before, _, _ = (text + newest).rpartition(BLANK_LINE)
    if before.rstrip()[-1:] not in SENTENCE_ENDS:
        return False
    return not (whole_code and in_code_block(before))


def in_code_block(text: str) -> bool:
    """Return whether the text ends inside a fenced code block."""
    blocks = code_blocks(text)
    return bool(blocks) and blocks[-1].closed_at is None
