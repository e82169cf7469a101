import pytest

from hogwild_dist.session.fences import FenceReader
from hogwild_dist.session.paragraphs import ends_paragraph


@pytest.mark.parametrize(
    ("text", "newest"),
    [
        ("Done.", "\n\n"),
        ("Done.\n", "\n"),
        ("Done", ".\n\n"),
        ("Really?  \n", "\n"),
        ("完了。", "\n\n"),
        ("Done.\n\n", "\n"),
        ("Done.", "\n\nNext"),
    ],
)
def test_a_sentence_and_a_blank_line_end_a_paragraph(text: str, newest: str) -> None:
    assert ends_paragraph(text, newest)


@pytest.mark.parametrize(
    ("text", "newest"),
    [
        ("Done.", "\n"),
        ("Done", "\n\n"),
        (r"\boxed{7}", "\n\n"),
        ("One.\n\nTwo", " three"),
        ("", "\n\n"),
        ("List:\n", "\n"),
        ("Done.\n \n", ""),
    ],
)
def test_nothing_else_does(text: str, newest: str) -> None:
    assert not ends_paragraph(text, newest)


CODE = "See:\n```python\nx = 1  # one."


def test_a_code_block_stays_whole_where_that_is_asked_for() -> None:
    assert ends_paragraph(CODE, "\n\n")
    assert not ends_paragraph(CODE, "\n\n", FenceReader())
    assert ends_paragraph(f"{CODE}\n```\nDone.", "\n\n", FenceReader())


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("", False),
        ("```", True),
        ("a ``` b", False),
        ("  ~~~\nx", True),
        ("    ```\nx", True),
        ("````\n```\nx", True),
        ("~~~\n```\n~~~", False),
        ("```\n~~~\n", True),
        ("~~~ a`b\nx", True),
        ("``` a`b\nx", False),
        ("- a\n\n  1. ```\n     x", True),
        ("**A [2]:** ```\nx", True),
        ("```\n```", False),
        ("```\nx\n```\n```py\n", True),
    ],
)
def test_fences_open_and_close(text: str, inside: bool) -> None:
    ends = ends_paragraph(f"{text}\nDone.", "\n\n", FenceReader())
    assert ends != inside


def test_a_block_is_followed_from_one_blank_line_to_the_next() -> None:
    text, fences, ends = "", FenceReader(), []
    for piece in ("See.\n\n", "```\nx.", "\n\n", "y.\n```\n", "z.", "\n\n", "```.\n\n\n", "```"):
        ends.append(ends_paragraph(text, piece, fences))
        text += piece
    assert ends == [True, False, False, False, False, True, False, False]
