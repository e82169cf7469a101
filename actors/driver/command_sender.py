"""Sends commands to the shards of a group, and lets them run while one is to be carried out."""

import asyncio
from collections.abc import Callable

from hogwild_dist.actors.detached import DetachedContext
from hogwild_dist.actors.driver.shard_set import ShardSet
from hogwild_dist.engine.commands import Command


class CommandSender:
    """Numbers commands, so that all shards carry them out at the same step.

    Args:
        shards: of the group.
        lose: is told why the group cannot go on.
    """

    def __init__(self, shards: ShardSet, lose: Callable[[Exception], None]) -> None:
        self._shards = shards
        self._lose = lose
        self._num_sent = 0
        self._wanted = asyncio.Event()
        self._detached = DetachedContext()

    def send(self, command: Command) -> None:
        """Number a command and send it to every shard, whatever becomes of the call that asks."""
        self._num_sent += 1
        self._detached.run(self._shards.send, "command", self._num_sent, command)
        self._wanted.set()

    async def keep_running(self) -> None:
        """Let the shards run whenever a command waits."""
        applied = 0
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while applied < self._num_sent:
                try:
                    results = await self._shards.ask("run")
                except Exception as error:
                    self._lose(error)
                    return
                applied = min(results)
