"""Placement of work on shards: pure functions that give the same result on every shard."""


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
