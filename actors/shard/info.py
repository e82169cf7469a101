"""Descriptions of a group and of its load, as its driver gives them."""

from dataclasses import dataclass

from hogwild_dist.actors.settings import GroupSettings
from hogwild_dist.actors.shard.shard import ShardInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupInfo:
    """A group of shards that is ready.

    Attributes:
        settings: settings the group was started with.
        shards: description of each shard, by rank.
        epoch: number of the membership.
    """

    settings: GroupSettings
    shards: tuple[ShardInfo, ...]
    epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """Load of a group.

    Attributes:
        running: number of sessions that have not ended, without health probes.
        waiting: number of these sessions that have not started yet.
        ready: whether the group takes new sessions and has generated a token, as a rule that of
            a health probe.
        restoring: whether its shards are lost, and others are being started.
    """

    running: int
    waiting: int
    ready: bool
    restoring: bool = False
