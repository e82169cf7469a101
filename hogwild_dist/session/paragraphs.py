"""Detection of the end of a paragraph, which the paper calls a reasoning step."""

from hogwild_dist.session.fences import FenceReader

BLANK_LINE = "\n\n"

SENTENCE_ENDS = frozenset(".?!。۔؟।॥…‽།᠃։჻¶❧")


def ends_paragraph(text: str, newest: str, fences: FenceReader | None = None) -> bool:
    """Return whether the newest token ends a paragraph.

    It does if it completes a blank line and the text before that line, stripped, ends with a
    sentence-ending character.

    Args:
        text: text of the paragraph before the newest token.
        newest: text that the newest token adds.
        fences: has read a part of `text`, and reads on; a paragraph then cannot end inside a
            fenced code block. The paper's code does not look for code blocks.
    """
    if BLANK_LINE not in text[-1:] + newest:
        return False
    whole = text + newest
    end = whole.rindex(BLANK_LINE)
    sentence = len(whole[:end].rstrip())
    if whole[max(0, sentence - 1) : sentence] not in SENTENCE_ENDS:
        return False
    return fences is None or not _in_code_block(whole, end, fences)


def _in_code_block(text: str, end: int, fences: FenceReader) -> bool:
    """Return whether the line that ends at `end` is in a code block."""
    fences.read(text, end + 1)
    return fences.open_block is not None
