import asyncio

import pytest
import ray
from ray.cluster_utils import Cluster

from hogwild_dist.actors.client.calls import get_async


@ray.remote
class Waiting:
    """An actor that answers when it is too late."""

    async def wait(self) -> None:
        await asyncio.sleep(600)


def test_a_cancelled_call_is_no_fault_of_the_group(cluster: Cluster) -> None:
    """Ray cancels the calls of a request whose client has gone; the group is not lost by that."""
    actor = Waiting.options(num_cpus=0).remote()

    async def ask() -> None:
        reference = actor.wait.remote()
        ray.cancel(reference)
        await get_async(reference)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(ask())
    ray.kill(actor)
