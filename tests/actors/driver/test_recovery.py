"""What a driver makes of losses, with shards that answer, die and fail as a case says."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import ray.exceptions

from hogwild_dist.actors.driver.publications import Publications
from hogwild_dist.actors.driver.recovery import MOST_FRUITLESS, Recovery
from hogwild_dist.actors.errors import is_death, plain
from hogwild_dist.engine.rounds import Progress
from hogwild_dist.engine.shard_runner import Standing
from hogwild_dist.errors import ExchangeError, HogwildError, PeersLostError, ShardError

DEATH = ray.exceptions.ActorDiedError()


class Shard:
    """A shard that answers until it is killed."""

    info = SimpleNamespace(node="here")

    def __init__(self, *, completes: bool = True) -> None:
        self.killed = asyncio.Event()
        self.hangs = False
        self.opened = 0
        self.completes = completes

    async def call(self, method: str, *_: Any) -> Any:
        if method == "live" or self.hangs:
            await self.killed.wait()
        if self.killed.is_set():
            raise DEATH
        if method == "freeze":
            return Standing(completed=Progress(self.opened if self.completes else 0), command=0)
        self.opened += method == "open"
        return Standing(completed=None, command=0) if method == "standing" else None

    def kill(self) -> None:
        self.killed.set()


class Shards:
    """The shards of a group."""

    host = "127.0.0.1"

    def __init__(self, *members: Shard) -> None:
        self.members = list(members)
        self.epoch = 1
        self.store: Any = None

    def error_of(self, member: Shard, error: Exception) -> Exception:
        rank = self.members.index(member)
        return HogwildError(f"Shard {rank} died.") if is_death(error) else plain(error)


Story = Callable[[Recovery, Shards], Awaitable[None]]


async def told(shards: Shards, story: Story, *, goes_on: bool = True) -> str:
    """Let things happen to a group; return why it is lost."""
    regrouped = asyncio.Semaphore(0)
    recovery = Recovery(
        shards,  # type: ignore[arg-type]
        Publications(),
        timeout_seconds=1.0,
        goes_on=goes_on,
        pause=lambda _: None,
        on_regrouped=lambda *_: regrouped.release(),
    )
    recovery.regrouped = regrouped  # type: ignore[attr-defined]
    going = asyncio.create_task(recovery.keep_going())
    telling = asyncio.create_task(story(recovery, shards))
    with pytest.raises(HogwildError) as error:
        await asyncio.wait_for(going, 20.0)
    await asyncio.wait_for(telling, 20.0)
    return str(error.value)


async def next_group(recovery: Recovery) -> None:
    await recovery.regrouped.acquire()  # type: ignore[attr-defined]


def test_a_group_goes_on_until_its_last_shard_dies() -> None:
    async def run() -> None:
        first, second, third = (Shard() for _ in range(3))
        shards = Shards(first, second, third)

        async def story(recovery: Recovery, shards: Shards) -> None:
            first.kill()
            await next_group(recovery)
            assert (shards.members, shards.epoch) == ([second, third], 2)
            recovery.lose(third, ShardError("The device failed."))
            await next_group(recovery)
            assert third.killed.is_set()
            assert (shards.members, shards.epoch) == ([second], 3)
            recovery.lose(third, DEATH)  # noticed again, it changes nothing
            recovery.lose_peers(2, "a group that is gone")
            second.kill()

        assert await told(shards, story) == "Shard 0 died."

    asyncio.run(run())


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_shard_that_hangs_is_noticed_although_no_peer_waits(goes_on: bool) -> None:
    async def run() -> None:
        async def story(_: Recovery, shards: Shards) -> None:
            shards.members[0].hangs = True

        reason = await told(Shards(Shard()), story, goes_on=goes_on)
        assert reason == "A shard on node here has not answered for 1 s."

    asyncio.run(run())


def test_a_round_that_fails_again_and_again_ends_the_group() -> None:
    async def run() -> None:
        shards = Shards(Shard(completes=False), Shard(completes=False))

        async def story(recovery: Recovery, shards: Shards) -> None:
            for epoch in range(1, 2 + MOST_FRUITLESS):
                recovery.lose_peers(epoch, "Shard 1 disagrees about the sessions.")
                if epoch <= MOST_FRUITLESS:
                    await next_group(recovery)

        assert await told(shards, story) == "Shard 1 disagrees about the sessions."

    asyncio.run(run())


def test_rounds_that_fail_now_and_then_cost_nothing() -> None:
    async def run() -> None:
        shards = Shards(Shard(), Shard())

        async def story(recovery: Recovery, shards: Shards) -> None:
            for epoch in range(1, 4 * MOST_FRUITLESS):
                recovery.lose_peers(epoch, "A header was damaged.")
                await next_group(recovery)
            recovery.lose(shards.members[0], ExchangeError("The versions differ."))

        assert await told(shards, story) == "The versions differ."

    asyncio.run(run())


@pytest.mark.parametrize("death_is_noticed", [True, False])
def test_a_group_that_cannot_go_on_names_the_death_if_it_can(death_is_noticed: bool) -> None:
    async def run() -> None:
        shards = Shards(Shard(), Shard())

        async def story(recovery: Recovery, shards: Shards) -> None:
            recovery.lose(shards.members[1], PeersLostError("Shard 1 lost its peers."))
            if death_is_noticed:
                shards.members[0].kill()

        reason = await told(shards, story, goes_on=False)
        assert reason == ("Shard 0 died." if death_is_noticed else "Shard 1 lost its peers.")

    asyncio.run(run())
