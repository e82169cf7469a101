"""Detached shards and their room end with their group, or with the next of its name."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest
import ray
from ray._private import state

from hogwild_dist.actors.client.async_shard_group import AsyncShardGroup
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.settings import GroupSettings
from tests.actors import leftovers

Settings = Callable[..., GroupSettings]

SHARDS = ["phoenix/shard-0", "phoenix/shard-1"]


def process(name: str) -> int:
    """Of the live actor of a name."""
    (pid,) = [
        info["Pid"]
        for info in state.actors().values()
        if info["State"] == "ALIVE" and info["Name"] == name
    ]
    return pid


def named(name: str) -> list[str]:
    """Names of the live actors of a group, its driver's among them."""
    found = ray.util.list_named_actors(all_namespaces=True)
    return sorted(one["name"] for one in found if one["name"].split("/")[0] == name)


def test_a_name_can_be_used_again_after_its_driver_died(settings: Settings) -> None:
    before = leftovers.now()
    ShardGroup.start(settings(1), name="phoenix-2")
    ShardGroup.start(settings(2), name="phoenix")
    os.kill(process("phoenix"), signal.SIGKILL)
    assert leftovers.comes_true(lambda: named("phoenix") == SHARDS)
    again = ShardGroup.start(settings(1), name="phoenix")
    assert named("phoenix") == ["phoenix", SHARDS[0]]
    assert len(again.status()) == 1
    again.stop()
    assert named("phoenix-2") == ["phoenix-2", "phoenix-2/shard-0"]
    asyncio.run(AsyncShardGroup("phoenix-2").end())  # its shards with it
    assert leftovers.settles(before)


def test_a_group_that_waits_for_room_can_be_interrupted(settings: Settings) -> None:
    """Its placement group is detached: nobody but the driver would remove it."""
    before = leftovers.now()

    def interrupt(progress: str) -> None:
        if progress.startswith("waiting for free resources"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ShardGroup.start(settings(20, wait_seconds=120.0), name="impatient", tell=interrupt)
    assert leftovers.settles(before)
