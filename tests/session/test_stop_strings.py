"""Stop strings, compared with a search of every place in the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.errors import ConfigError
from hogwild_dist.session.stop_strings import check_stops, find_stop, num_held

TEXTS = st.text("ab", max_size=12)
STOPS = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


@given(TEXTS, STOPS, st.integers(0, 12))
def test_the_first_stop_string_is_found_that_ends_in_the_new_text(
    text: str, stops: list[str], num_new: int
) -> None:
    starts = [
        start
        for start in range(len(text))
        for stop in stops
        if text.startswith(stop, start) and start + len(stop) > len(text) - num_new
    ]
    assert find_stop(text, stops, num_new) == (starts[0] if starts else None)


@given(TEXTS, STOPS)
def test_what_may_become_a_stop_string_is_held(text: str, stops: list[str]) -> None:
    unfinished = [
        start
        for start in range(len(text))
        for stop in stops
        if stop.startswith(text[start:]) and stop != text[start:]
    ]
    assert num_held(text, stops) == (len(text) - unfinished[0] if unfinished else 0)


@pytest.mark.parametrize(
    ("stops", "sentence"),
    [
        (["a", ""], "A stop string is empty"),
        (["a", "b" * 501], "has 501 characters; use at most 500"),
        (["a"] * 65, "There are 65 stop strings; use at most 64"),
    ],
)
def test_stop_strings_that_would_slow_down_every_token_are_refused(
    stops: list[str], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_stops(stops)
