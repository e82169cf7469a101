"""Which shard computes what: pure functions that every shard evaluates alike."""


def home_rank(session: int, world_size: int) -> int:
    """The shard that computes a session's shared blocks; sessions take turns."""
    return session % world_size


def worker_ranks(session: int, num_workers: int, world_size: int) -> tuple[int, ...]:
    """The shard of each worker: neighbours together, counts that differ by one at most.

    The first worker is on the session's home shard, so that small teams spread over the group.
    """
    home = home_rank(session, world_size)
    used = min(num_workers, world_size)
    return tuple(
        (home + worker * used // num_workers) % world_size for worker in range(num_workers)
    )
