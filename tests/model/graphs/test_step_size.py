from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.attention.tables.step_tables import TASK_FIELDS, StepTables
from hogwild_dist.model.graphs.step_size import LEVELS, TOKENS, StepSize, smallest_size


def tables_of(num_tokens: int, entries: int, tasks: int, peer_tasks: int, results: int):
    return StepTables(
        tokens=[0] * entries,
        distances=[0] * entries,
        lows=[0] * entries,
        highs=[0] * entries,
        local_tasks=[0] * TASK_FIELDS * tasks,
        peer_tasks=[0] * TASK_FIELDS * peer_tasks,
        widest=1,
        num_results=results,
        parts=[0] * results,
        part_starts=[0] * (num_tokens + 1),
    )


@given(
    num_tokens=st.integers(1, 80),
    entries=st.integers(0, 3_000),
    tasks=st.integers(0, 1_200),
    peer_tasks=st.integers(0, 1_200),
    results=st.integers(0, 20_000),
)
def test_the_smallest_size_that_holds_all_tables_is_chosen(
    num_tokens: int, entries: int, tasks: int, peer_tasks: int, results: int
) -> None:
    tables = tables_of(num_tokens, entries, tasks, peer_tasks, results)
    small = tables_of(num_tokens, 1, 1, 0, 1)
    found = smallest_size(num_tokens, [small, tables])
    sizes = [StepSize(tokens, level) for tokens in TOKENS for level in LEVELS]
    smaller = [size for size in sizes if size.tokens < num_tokens or not size.holds(tables)]
    if found is None:
        enough = [size for size in sizes if size.tokens >= num_tokens]
        assert not any(size.holds(tables) for size in enough[: len(LEVELS)])
        return
    assert found.tokens >= num_tokens
    assert found.entries >= entries
    assert found.tasks >= max(tasks, peer_tasks)
    assert found.results >= results
    for size in sizes:
        if size.tokens < found.tokens or (size.tokens == found.tokens and size.level < found.level):
            assert size in smaller


@pytest.mark.parametrize("field", ["local_tasks", "parts", "lows"])
def test_one_number_too_many_does_not_fit(field: str) -> None:
    size = StepSize(2, 1)
    tables = tables_of(2, size.entries, size.tasks, size.tasks, size.results)
    assert size.holds(tables)
    assert not size.holds(replace(tables, **{field: [*getattr(tables, field), 0]}))


def test_partial_results_without_a_reader_count_too() -> None:
    size = StepSize(2, 1)
    tables = tables_of(2, 1, 1, 0, 1)
    assert not size.holds(replace(tables, num_results=size.results + 1))
