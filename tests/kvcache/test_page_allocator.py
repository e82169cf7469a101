import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.errors import ContextLimitError
from hogwild_dist.kvcache.page_allocator import PageAllocator


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=60))
def test_every_page_has_one_owner(requests: list[tuple[int, bool]]) -> None:
    allocator = PageAllocator(40)
    held: list[tuple[int, int]] = []
    for count, give_back in requests:
        if give_back and held:
            allocator.release(*held.pop(count % len(held)))
            continue
        free = allocator.num_free
        if count > free:
            with pytest.raises(ContextLimitError, match=f"{free} of 40 are free"):
                allocator.allocate(count)
            assert allocator.num_free == free
            continue
        held += allocator.allocate(count, after=held[-1][1] if held else None)
        pages = [page for start, stop in held for page in range(start, stop)]
        assert len(pages) == len(set(pages))
        assert len(pages) + allocator.num_free == 40
    for run in held:
        allocator.release(*run)
    assert allocator.allocate(40) == [(0, 40)]


def test_a_run_goes_on_in_place_while_the_next_page_is_free() -> None:
    allocator = PageAllocator(64)
    first = allocator.allocate(1)[0]
    allocator.allocate(1)
    assert allocator.allocate(2, after=first[1]) == [(first[1], first[1] + 2)]


def test_a_page_cannot_be_released_twice() -> None:
    allocator = PageAllocator(4)
    run = allocator.allocate(2)[0]
    allocator.release(*run)
    with pytest.raises(AssertionError, match="released twice"):
        allocator.release(*run)
