"""Placement of work on shards: pure functions that give the same result on every shard."""

from collections.abc import Sequence


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


def moved_ranks(active: Sequence[bool], session: int, world_size: int) -> list[int]:
    """Return the shards of a session's workers in a group of another size.

    Every shard has every block, so workers are dealt out afresh: those that write as in a new
    session; the others, which cost nothing, to the session's home shard.

    Args:
        active: for each worker, whether it writes.
        session: number of the session.
        world_size: number of shards in the next group.
    """
    dealt = iter(worker_ranks(session, sum(active), world_size))
    home = home_rank(session, world_size)
    return [next(dealt) if writes else home for writes in active]
