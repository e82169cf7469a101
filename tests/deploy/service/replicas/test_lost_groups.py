"""A session is gone with its driver, and not before: a group may be lost or silent for a while."""

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import ray
from ray._private import state
from ray.cluster_utils import Cluster
from ray.exceptions import ActorDiedError, ActorUnavailableError

from hogwild_dist.actors.client.shard_group import ShardGroup
from hogwild_dist.actors.driver.session_record import Owner
from hogwild_dist.actors.errors import ClusterError, GoneError, LostError, plain
from hogwild_dist.actors.settings import NAMESPACE
from hogwild_dist.deploy.service.config import ServiceConfig
from hogwild_dist.deploy.service.errors import ApiError, answer
from hogwild_dist.deploy.service.sessions.ids import SessionId, new_secret
from hogwild_dist.deploy.service.sessions.session_service import SessionService
from tests.actors import leftovers
from tests.actors.driver.test_lifecycle import SHORT, origin


def test_a_driver_that_cannot_be_reached_for_now_is_not_gone() -> None:
    silent = plain(ActorUnavailableError("the connection broke", None))
    assert isinstance(silent, ClusterError)
    assert not isinstance(silent, GoneError)
    assert answer(silent).headers["retry-after"] == "5"
    assert isinstance(plain(ActorDiedError()), GoneError)


def test_a_session_can_be_read_until_its_driver_is_gone(
    cluster: Cluster, roomy_dir: Path, tmp_path: Path
) -> None:
    """The group cannot come back, since its model is gone."""
    model = shutil.copytree(roomy_dir, tmp_path / "model")
    config = ServiceConfig(
        name="desk", model=str(model), dtype="float64", threads=1, cache_tokens=8_192
    )
    before = leftovers.now()
    ShardGroup.start(config.group_settings(), name="desk-0")
    desk = SessionService(config)
    shutil.rmtree(model)
    asyncio.run(looked_up(desk))
    assert leftovers.settles(before)


async def looked_up(desk: SessionService) -> None:
    owner = Owner(secret=new_secret(), leased=False)
    number = await desk.groups.at(0).open(origin(SHORT), recorded=False, owner=owner)
    name = str(SessionId(0, number, owner.secret))
    (shard,) = (
        info["Pid"]
        for info in state.actors().values()
        if info["Name"] == "desk-0/shard-0" and info["State"] == "ALIVE"
    )
    os.kill(shard, signal.SIGKILL)
    with pytest.raises(LostError, match="No other could be started"):
        await asyncio.wait_for(keep_asking(desk.groups.at(0).info), 20.0)
    with pytest.raises(ClusterError, match="No group of shards is ready yet"):
        await desk.groups.info()
    found, _ = await desk.snapshot(name)
    assert str(found) == name
    ray.kill(ray.get_actor("desk-0", namespace=NAMESPACE))
    for _ in range(2):
        with pytest.raises(ApiError, match="any more") as refused:
            await asyncio.wait_for(keep_looking(desk, name), 20.0)
        assert refused.value.status == 404


async def keep_asking(ask: Callable[[], Awaitable[object]]) -> None:
    """Also while the group tries to start its shards again."""
    while True:
        try:
            await ask()
        except LostError:
            raise
        except ClusterError:
            pass
        await asyncio.sleep(0.05)


async def keep_looking(desk: SessionService, name: str) -> None:
    """Also where the driver cannot be reached for a moment."""
    while True:
        try:
            await desk.snapshot(name)
        except ClusterError:
            continue
        finally:
            await asyncio.sleep(0.05)
