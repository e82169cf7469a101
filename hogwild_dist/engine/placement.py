"""Placement of work on shards: pure functions that give the same result on every shard."""

from collections import Counter
from collections.abc import Mapping, Sequence


def home_rank(session: int, world_size: int) -> int:
    """Return the shard that computes a session's shared blocks; sessions rotate over shards."""
    return session % world_size


def newcomer_rank(session: int, num_workers: int, world_size: int) -> int:
    """Return the shard of a worker that joins a session.

    Args:
        session: number of the session.
        num_workers: workers that the session has had so far, finishers included.
        world_size: number of shards in the group.
    """
    return (home_rank(session, world_size) + num_workers) % world_size


def worker_ranks(session: int, num_workers: int, world_size: int) -> tuple[int, ...]:
    """Return the shard of each worker: neighbours together, counts differ by at most one.

    The first worker is on the session's home shard, so that small teams spread over the group.
    """
    home = home_rank(session, world_size)
    used = min(num_workers, world_size)
    return tuple(
        (home + worker * used // num_workers) % world_size for worker in range(num_workers)
    )


def moved_ranks(
    ranks: Sequence[int], places: Mapping[int, int], session: int, world_size: int
) -> list[int]:
    """Return the shards of a session's workers in the next group.

    Workers stay where they are. Each worker of a lost shard goes to the shard with the fewest
    workers of the session, and of several such to the next one from the session's home on.

    Args:
        ranks: rank of each worker's shard in the last group.
        places: rank in the last group -> rank in the next one, of all shards that go on.
        session: number of the session.
        world_size: number of shards in the next group.
    """
    load = Counter(places[rank] for rank in ranks if rank in places)
    home = home_rank(session, world_size)
    order = [(home + offset) % world_size for offset in range(world_size)]
    moved = []
    for rank in ranks:
        place = places.get(rank)
        if place is None:
            place = min(order, key=lambda one: load[one])
            load[place] += 1
        moved.append(place)
    return moved
