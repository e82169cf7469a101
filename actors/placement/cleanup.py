"""Cleanup of shards and placement groups left by a named driver that died.

They are detached, so they survive their driver and keep their names.
"""

import asyncio
import re

import ray
from ray import PlacementGroupID
from ray.util.placement_group import (
    PlacementGroup,
    placement_group_table,
    remove_placement_group,
)

from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.actors.settings import NAMESPACE

POLL_SECONDS = 0.1
"""Interval between checks whether the names are free."""

NAMES_FREE_SECONDS = 10.0
"""Time Ray needs at most to free the names of killed actors."""


def shard_name(name: str, index: int) -> str:
    """Return the name of a shard of a named group."""
    return f"{name}/shard-{index}"


def placement_group_name(name: str, index: int) -> str:
    """Return the name of a placement group of a named group."""
    return f"{name}/shards-{index}"


async def kill_leftovers(name: str) -> None:
    """Kill what an earlier driver of this name left; only its successor may call this.

    Args:
        name: name of the driver; Ray lets only one live driver have it.

    Raises:
        ClusterError: the names did not become free in time.
    """
    deadline = asyncio.get_running_loop().time() + NAMES_FREE_SECONDS
    while shards := _live_shards(name):
        for shard in shards:
            _kill(shard)
        if asyncio.get_running_loop().time() > deadline:
            raise ClusterError(
                f"{shards[0]!r} was left by a group that died and cannot be killed; choose a name "
                f"other than {name!r}."
            )
        await asyncio.sleep(POLL_SECONDS)
    pattern = re.compile(re.escape(f"{name}/shards-") + r"\d+")
    for group_id, group in placement_group_table().items():
        if pattern.fullmatch(group["name"]) and group["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(group_id))))


def _live_shards(name: str) -> list[str]:
    """Return the names of the group's live shards."""
    pattern = re.compile(re.escape(f"{name}/shard-") + r"\d+")
    actors = ray.util.list_named_actors(all_namespaces=True)
    return [
        actor["name"]
        for actor in actors
        if actor["namespace"] == NAMESPACE and pattern.fullmatch(actor["name"])
    ]


def _kill(shard: str) -> None:
    try:
        ray.kill(ray.get_actor(shard, namespace=NAMESPACE))
    except ValueError:  # it has died in the meantime
        return
