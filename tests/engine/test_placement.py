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


@given(st.integers(0, 99), st.integers(1, 16), st.integers(1, 8), st.data())
def test_workers_of_lost_shards_go_to_the_least_loaded_and_the_others_stay(
    session: int, num_workers: int, world_size: int, data: st.DataObject
) -> None:
    ranks = worker_ranks(session, num_workers, world_size)
    left = sorted(data.draw(st.sets(st.integers(0, world_size - 1), min_size=1)))
    places = {rank: place for place, rank in enumerate(left)}
    moved = moved_ranks(ranks, places, session, len(left))
    stayed = [(places[rank], now) for rank, now in zip(ranks, moved, strict=True) if rank in places]
    assert all(place == now for place, now in stayed)
    before = Counter(place for place, _ in stayed)
    counts = Counter(moved)
    gained = [place for place in range(len(left)) if counts[place] > before[place]]
    least = min(counts[place] for place in range(len(left)))
    assert all(counts[place] <= least + 1 for place in gained)
