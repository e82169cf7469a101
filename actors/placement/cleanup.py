"""What a named driver that died has left behind: shards and their room, which keep its names."""

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
"""Between two looks whether the names are free."""

NAMES_FREE_SECONDS = 10.0
"""By when Ray has freed the names of what was ended."""


def shard_name(name: str, index: int) -> str:
    """Name of a shard of a named group."""
    return f"{name}/shard-{index}"


def placement_group_name(name: str) -> str:
    """Name of the placement group of a named group."""
    return f"{name}/shards"


async def kill_leftovers(name: str) -> None:
    """End what a driver of this name has left; only its successor may call it.

    Args:
        name: of the driver; as long as it lives, Ray gives the name to no other.

    Raises:
        ClusterError: the names do not become free.
    """
    deadline = asyncio.get_running_loop().time() + NAMES_FREE_SECONDS
    while shards := _live_shards(name):
        for shard in shards:
            _kill(shard)
        if asyncio.get_running_loop().time() > deadline:
            raise ClusterError(
                f"{shards[0]!r}, left by a group that died, does not end; choose another name than "
                f"{name!r}."
            )
        await asyncio.sleep(POLL_SECONDS)
    for group_id, group in placement_group_table().items():
        if group["name"] == placement_group_name(name) and group["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(group_id))))


def _live_shards(name: str) -> list[str]:
    """Names of the shards that are left."""
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
    except ValueError:  # it has ended meanwhile
        return
