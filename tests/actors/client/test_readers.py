"""Clients that wait for updates do not keep others from the driver, however many they are."""

import time
from collections.abc import Callable

import pytest
import ray

from hogwild_dist import Run
from hogwild_dist.actors.client import drivers
from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.settings import NAMESPACE, GroupSettings
from tests.actors import leftovers
from tests.actors.test_named_group import ENDLESS


def test_more_readers_than_may_wait_at_once(
    settings: Callable[..., GroupSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "MAX_READERS", 2)
    monkeypatch.setattr(drivers, "MAX_CALLS", 4)
    group = ShardGroup.start(settings(1), name="read-by-many")
    try:
        writes = Run(group, "Count!", ENDLESS)
        waits = Run(group, "Count!", ENDLESS)  # the cache holds one of them
        driver = ray.get_actor("read-by-many", namespace=NAMESPACE)
        begin = time.monotonic()
        reads = [driver.read.remote(2, 0, 600.0) for _ in range(20)]

        def num_steps() -> int:
            return group.sessions()[0].num_steps

        assert leftovers.comes_true(lambda: num_steps() > 3)
        steps = num_steps()
        assert leftovers.comes_true(lambda: num_steps() > steps)  # rank 0 goes on publishing
        assert not group.sessions()[1].begun
        group.cancel(1)
        for updates, _, error in ray.get(reads, timeout=60):  # all of them get their turn
            assert updates
            assert error is None
        assert time.monotonic() - begin < 300
        del writes, waits
    finally:
        group.stop()
