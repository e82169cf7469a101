"""Placement groups of shards: one bundle per shard."""

import asyncio
import time
from collections.abc import Callable

import ray
from ray._private import state
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.actors.placement.capacity import (
    NodeCapacity,
    node_capacities,
    shards_that_fit,
    shortage,
)
from hogwild_dist.actors.settings import GroupSettings, Spread

SETTLE_SECONDS = 2.0
"""Time until Ray's head node knows what its nodes have free."""

POLL_SECONDS = 0.5
"""Interval between checks of a pending placement group."""


async def reserve(
    settings: GroupSettings,
    count: int,
    name: str | None,
    report_progress: Callable[[str], None],
    *,
    further: bool,
) -> PlacementGroup:
    """Reserve resources for shards.

    Args:
        settings: resources per shard, and how long to wait for them.
        count: number of shards.
        name: name of the placement group, which then is detached; or None.
        report_progress: called with a line of progress.
        further: whether the group has shards already.

    Returns:
        A placement group that is ready, with one bundle per shard.

    Raises:
        ClusterError: the cluster is too small; nothing stays reserved.
    """
    gpus = gpus_per_shard(settings)
    bundle = {"CPU": settings.cpus_per_shard, "GPU": float(gpus)}
    bundle = {resource: count for resource, count in bundle.items() if count} or {"CPU": 0.001}

    def too_small(nodes: list[NodeCapacity]) -> ClusterError:
        return ClusterError(shortage(nodes, count, settings.cpus_per_shard, gpus, further=further))

    if settings.wait_seconds == 0:
        await _wait_until_it_fits(settings, count, gpus, too_small)
    group: PlacementGroup = placement_group(
        [bundle] * count,
        strategy="PACK" if settings.spread is Spread.PACK else "SPREAD",
        name=name or "",
        lifetime="detached" if name else None,
    )
    started = time.monotonic()
    time_limit = max(settings.wait_seconds, 5.0)
    ready = asyncio.ensure_future(_ready(group))
    try:
        while not (await asyncio.wait([ready], timeout=POLL_SECONDS))[0]:
            waited = time.monotonic() - started
            if waited > time_limit:
                raise too_small(free_capacity())
            report_progress(
                f"waiting for free resources for {count} shard{'s' * (count > 1)}, "
                f"{waited:.0f} of {time_limit:.0f} s"
            )
        ready.result()  # raises if Ray could not say whether the group is ready
    except BaseException:
        ready.cancel()
        remove_placement_group(group)
        raise
    return group


def gpus_per_shard(settings: GroupSettings) -> int:
    """Return the setting, or else 1 if the cluster has GPUs and the device may be one."""
    if settings.gpus_per_shard is not None:
        return settings.gpus_per_shard
    wants_gpu = (settings.shard.device or "cuda").startswith("cuda")
    return int(wants_gpu and ray.cluster_resources().get("GPU", 0) > 0)


def free_capacity() -> list[NodeCapacity]:
    """Return what the nodes have free now."""
    return node_capacities(ray.nodes(), state.available_resources_per_node())


async def _wait_until_it_fits(
    settings: GroupSettings,
    count: int,
    gpus: int,
    too_small: Callable[[list[NodeCapacity]], ClusterError],
) -> None:
    """Check the capacity, with retries: Ray reports freed resources with a delay."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while shards_that_fit(nodes := free_capacity(), settings.cpus_per_shard, gpus) < count:
        if time.monotonic() > deadline:
            raise too_small(nodes)
        await asyncio.sleep(POLL_SECONDS)


async def _ready(group: PlacementGroup) -> None:
    await group.ready()
