"""What a driver says of its group."""

from dataclasses import dataclass

from hogwild_dist.actors.settings import GroupSettings
from hogwild_dist.actors.shard.shard import ShardInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupInfo:
    """A group of shards that is ready.

    Attributes:
        settings: that it was started with.
        shards: by rank.
        epoch: number of the membership.
    """

    settings: GroupSettings
    shards: tuple[ShardInfo, ...]
    epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """How much a group has to do.

    Attributes:
        running: sessions that go on.
        waiting: those of them that wait for room.
        ready: whether it takes new ones; it does from the first token on, a health check's mostly.
    """

    running: int
    waiting: int
    ready: bool
