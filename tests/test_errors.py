"""Helpers for errors: the first line of a library's error, numbers below 1."""

import pytest

from hogwild_dist.errors import ConfigError, check_positive, first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one line."), "one line."),
        (ValueError("\n  the first\nthe second"), "the first"),
        (ValueError(), "ValueError()"),
        (ValueError(" \n"), "ValueError(' \\n')"),
    ],
)
def test_the_first_line_of_an_error_is_never_empty(error: ValueError, line: str) -> None:
    assert first_line(error) == line


def test_numbers_below_one_are_refused() -> None:
    check_positive("threads", 1)
    check_positive("threads", None)
    with pytest.raises(ConfigError, match="threads is 0; it must be at least 1"):
        check_positive("threads", 0)
