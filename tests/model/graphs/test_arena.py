import pytest
import torch

from hogwild_dist.model.graphs.arena import Arena


def test_rows_stay_where_they_are_and_are_padded_anew() -> None:
    arena = Arena({"a": 3, "b": 5, "c": 0}, torch.device("cpu"))
    rows = dict(arena.fields)
    addresses = [row.data_ptr() for row in rows.values()]
    arena.fill({"a": [1, 2, 3], "b": [4, 5, 6, 7, 8], "c": []}, {})
    assert rows["a"].tolist() == [1, 2, 3]
    assert rows["b"].tolist() == [4, 5, 6, 7, 8]
    arena.fill({"a": [9], "b": [], "c": []}, {"a": -1})
    assert rows["a"].tolist() == [9, -1, -1]
    assert rows["b"].tolist() == [0] * 5
    assert [row.data_ptr() for row in arena.fields.values()] == addresses
    base = addresses[0]
    assert [(address - base) % 16 for address in addresses[:2]] == [0, 0]


def test_a_row_that_is_too_long_is_a_bug() -> None:
    arena = Arena({"a": 3}, torch.device("cpu"))
    with pytest.raises(AssertionError, match="a has 4 numbers, and the arena 3"):
        arena.fill({"a": [1, 2, 3, 4]}, {})
