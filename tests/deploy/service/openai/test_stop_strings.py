"""Streamed text, compared with a cut of the whole text."""

from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.deploy.service.openai.stop_strings import StopStringFilter


@given(st.lists(st.text("ab", max_size=3), max_size=12), st.text("ab", min_size=1, max_size=4))
def test_pieces_add_up_to_the_text_before_the_stop_string(pieces: list[str], stop: str) -> None:
    text = "".join(pieces)
    shown = StopStringFilter([stop])
    assert "".join(map(shown.add, pieces)) + shown.rest() == text.split(stop)[0]
    assert shown.stopped == (stop in text)


def test_of_two_stop_strings_the_first_to_be_complete_cuts() -> None:
    shown = StopStringFilter(["abc", "b"])
    assert [shown.add(piece) for piece in "xabc"] == ["x", "", "a", ""]
