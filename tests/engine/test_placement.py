from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hogwild_dist.engine.placement import home_rank, moved_ranks, newcomer_rank, worker_ranks


@given(st.integers(0, 99), st.integers(1, 16), st.integers(1, 8))
def test_counts_differ_by_one_and_neighbours_stay_together(
    session: int, num_workers: int, world_size: int
) -> None:
    ranks = worker_ranks(session, num_workers, world_size)
    counts = Counter(ranks)
    assert ranks[0] == home_rank(session, world_size)
    assert len(counts) == min(num_workers, world_size)
    assert max(counts.values()) - min(counts.values()) <= 1
    changes = sum(left != right for left, right in pairwise(ranks))
    assert changes == len(counts) - 1


def test_examples() -> None:
    assert worker_ranks(0, 8, 4) == (0, 0, 1, 1, 2, 2, 3, 3)
    assert worker_ranks(1, 3, 2) == (1, 1, 0)
    assert worker_ranks(3, 2, 4) == (3, 0)


@given(st.integers(0, 99), st.integers(1, 8), st.integers(1, 16))
def test_newcomers_take_turns_over_the_shards(
    session: int, world_size: int, num_workers: int
) -> None:
    ranks = [newcomer_rank(session, num_workers + more, world_size) for more in range(world_size)]
    assert sorted(ranks) == list(range(world_size))


@given(st.integers(0, 99), st.lists(st.booleans()), st.integers(1, 8))
def test_workers_that_write_are_dealt_out_as_in_a_new_session(
    session: int, active: list[bool], world_size: int
) -> None:
    moved = moved_ranks(active, session, world_size)
    writing = [rank for rank, writes in zip(moved, active, strict=True) if writes]
    resting = [rank for rank, writes in zip(moved, active, strict=True) if not writes]
    assert tuple(writing) == worker_ranks(session, len(writing), world_size)
    assert set(resting) <= {home_rank(session, world_size)}
