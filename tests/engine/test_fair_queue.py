"""Tenants take turns, and each one's items stay in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.engine.scheduler.fair_queue import FairQueue

TENANTS = st.sampled_from("abc")


@given(st.lists(st.one_of(TENANTS, st.none()), max_size=60))
def test_nobody_is_served_twice_while_another_waits(script: list[str | None]) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    waiting: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    passed_over = dict.fromkeys(waiting, frozenset[str]())
    for number, tenant in enumerate(script):
        if tenant is not None:
            queue.put(tenant, (tenant, number))
            waiting[tenant].append(number)
        elif len(queue):
            assert [item for _, item in queue.heads[1:]] == [
                waiting[tenant][0] for tenant, _ in queue.heads[1:]
            ]
            owner, item = queue.heads[0]
            queue.serve((owner, item))
            assert item == waiting[owner].pop(0)
            for other, items in waiting.items():
                if other == owner or not items:
                    passed_over[other] = frozenset()
                else:
                    assert owner not in passed_over[other]
                    passed_over[other] |= {owner}
        assert len(queue) == sum(map(len, waiting.values()))


def test_who_is_served_out_of_turn_leaves_the_turn_of_others() -> None:
    queue: FairQueue[int] = FairQueue()
    for number, tenant in enumerate("aabbc"):
        queue.put(tenant, number)
    queue.serve(2)
    assert queue.heads == [0, 4, 3]
    queue.serve(4)
    assert queue.heads == [0, 3]
    with pytest.raises(ValueError, match="not the first of a tenant"):
        queue.serve(1)


def test_an_item_can_leave() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in (1, 2, 3):
        queue.put("a", number)
    queue.put("b", 4)
    queue.remove(2)
    queue.remove(4)
    assert queue.heads == [1]
    queue.serve(1)
    assert queue.heads == [3]
    with pytest.raises(ValueError, match="is not in the queue"):
        queue.remove(2)
