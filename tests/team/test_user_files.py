"""Faults of files and requests in our own words."""

from typing import Annotated

import pytest
from pydantic import BaseModel, Field, ValidationError

from hogwild_dist.team.user_files import first_fault


class Form(BaseModel):
    few: Annotated[list[int], Field(min_length=1, max_length=2)] = [1]
    short: Annotated[str, Field(min_length=1, max_length=3)] = "x"
    letters: Annotated[str, Field(pattern="^[a-z]+$")] = "x"


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("few", [], "it must be 1 or more of them"),
        ("few", [1, 2, 3], "it must be 2 or fewer of them"),
        ("short", "", "it must be a text of 1 or more characters"),
        ("short", "four", "it must be a text of 3 or fewer characters"),
        ("letters", "7", "it must be a text that matches ^[a-z]+$"),
    ],
)
def test_what_is_too_long_or_of_another_form(field: str, value: object, fault: str) -> None:
    data = {field: value}
    with pytest.raises(ValidationError) as caught:
        Form.model_validate(data)
    assert first_fault(caught.value, data) == (field, fault)
