"""What users rely on changes only where that is meant: the recorded interface says what was."""

import pytest

from tests.deploy.interface import EVERYTHING, RECORDED


@pytest.mark.parametrize("file", EVERYTHING)
def test_the_interface_is_the_recorded_one(file: str) -> None:
    """After an intended change: write it anew and add the change to the CHANGELOG."""
    assert EVERYTHING[file]() == (RECORDED / file).read_text(encoding="utf-8")
