"""The first line of what a library raises."""

import pytest

from hogwild_dist.errors import first_line


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
