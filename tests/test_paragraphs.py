import pytest

from hogwild_dist.paragraphs import ends_paragraph


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
