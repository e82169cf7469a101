"""A group that does not answer delays one request, not all that follow."""

import asyncio
from typing import Any

import pytest

from hogwild_dist.actors.errors import ClusterError, SilentError
from hogwild_dist.actors.shard.info import Load
from hogwild_dist.deploy.service.config import ServiceConfig
from hogwild_dist.deploy.service.sessions import group_router
from hogwild_dist.deploy.service.sessions.group_router import GroupRouter


class Group:
    """A group that answers or not, and counts how often it is asked."""

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        self.num_asked = 0

    async def load(self) -> Load:
        self.num_asked += 1
        if self.silent:
            raise SilentError("The group's driver has not answered for 30 s; try again later.")
        return Load(running=0, waiting=0, ready=True)

    async def info(self) -> Any:
        await self.load()
        return self


def test_who_asks_for_little_time_does_not_wait_for_a_group_that_hangs() -> None:
    class Hangs(Group):
        async def load(self) -> Load:
            await asyncio.Event().wait()
            raise AssertionError

    async def ask() -> None:
        router = GroupRouter(ServiceConfig())
        router._groups = {0: Hangs(silent=False), 1: Group(silent=False)}
        assert list(await asyncio.wait_for(router.loads(0.01), 20.0)) == [1]

    asyncio.run(ask())


def test_a_silent_group_is_asked_only_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    router = GroupRouter(ServiceConfig())
    hung, answers = Group(silent=True), Group(silent=False)
    router._groups = {0: hung, 1: answers}

    async def ask() -> None:
        assert await router.info() is answers
        for _ in range(3):
            assert (await router.least_loaded())[0] == 1
            assert await router.info() is answers
        assert hung.num_asked == 1
        with pytest.raises(SilentError, match="has not answered"):
            await router.at(0).load()  # who asks for one of its sessions is told

        monkeypatch.setattr(group_router.time, "monotonic", lambda: 1e9)
        hung.silent = False
        assert sorted(await router.loads()) == [0, 1]
        answers.silent = hung.silent = True
        with pytest.raises(ClusterError, match="No group of shards is ready yet"):
            await router.info()

    asyncio.run(ask())
