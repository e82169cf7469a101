"""Sending of commands to the shards of a group, which run until they have applied them."""

import asyncio
from collections.abc import Callable

from hogwild_dist.actors.detached import DetachedContext
from hogwild_dist.actors.driver.shard_set import ShardSet
from hogwild_dist.engine.commands import Command


class CommandSender:
    """Numbers commands, so that all shards apply them before the same step.

    Args:
        shards: shards of the group.
        on_failure: called with the error when a shard fails.
    """

    def __init__(self, shards: ShardSet, on_failure: Callable[[Exception], None]) -> None:
        self._shards = shards
        self._on_failure = on_failure
        self._num_sent = 0
        self._command_waiting = asyncio.Event()
        self._detached = DetachedContext()

    def send(self, command: Command) -> None:
        """Send a numbered command to every shard, even if the calling request is cancelled."""
        self._num_sent += 1
        self._detached.run(self._shards.send, "command", self._num_sent, command)
        self._command_waiting.set()

    async def keep_running(self) -> None:
        """Whenever there are new commands, run the shards until they have applied them."""
        applied = 0
        while True:
            await self._command_waiting.wait()
            self._command_waiting.clear()
            while applied < self._num_sent:
                try:
                    results = await self._shards.call("run")
                except Exception as error:
                    self._on_failure(error)
                    return
                applied = min(results)
