"""What users rely on changes only where that is meant: the recorded interface says what was."""

import pytest

from tests.deploy.interface import EVERYTHING, RECORDED, help_texts


@pytest.mark.parametrize("file", EVERYTHING)
def test_the_interface_is_the_recorded_one(file: str) -> None:
    """After an intended change: write it anew and add the change to the CHANGELOG."""
    assert EVERYTHING[file]() == (RECORDED / file).read_text(encoding="utf-8")


def test_summaries_and_names_of_arguments_are_whole() -> None:
    lines = help_texts().splitlines()
    assert [line for line in lines if line.endswith("...") and "ARGS" not in line] == []
    usages = [line for line in lines if line.startswith("Usage: ")]
    assert len(usages) > 20
    assert [line for line in usages if any(map(str.islower, line.partition("[OPTIONS]")[2]))] == []
