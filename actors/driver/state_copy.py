"""Copying a shard's state to shards that are to join its group; knows nothing of Ray."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from hogwild_dist.engine.state_transfer import Pages, SavedState

M = TypeVar("M")


async def copy_state(
    donor: M,
    newcomers: Sequence[M],
    call: Callable[..., Awaitable[Any]],
    pause: Callable[[], Awaitable[None]],
    seconds: float,
) -> None:
    """Copy the state of a member of a group to newcomers.

    Most of it is copied while the group goes on; what has changed meanwhile, when all members wait
    for their next group.

    Args:
        donor: a member of the group.
        newcomers: shards in groups of their own, with the same model and settings.
        call: calls a method of a member: ``call(member, method, *arguments)``; what it returns may
            be an argument of another call, and then need not pass through this process.
        pause: lets all members wait between two steps, and returns when they do.
        seconds: time limit of a call, and of all that is done while the members wait, in seconds.

    Raises:
        TimeoutError: a shard did not answer in time.
    """

    async def copy(ranges: Sequence[Pages]) -> None:
        for pages in ranges:
            data = call(donor, "read_pages", pages)
            await everywhere("write_pages", pages, data)

    async def everywhere(method: str, *arguments: Any) -> None:
        calls = (call(one, method, *arguments) for one in newcomers)
        await asyncio.wait_for(asyncio.gather(*calls), seconds)

    ranges = await asyncio.wait_for(call(donor, "begin_copy"), seconds)
    await copy(ranges)
    await pause()
    async with asyncio.timeout(seconds):  # the shards do not wait for ever
        saved: SavedState = await call(donor, "save")
        await copy(saved.changed)
        await everywhere("load_state", saved.state)
