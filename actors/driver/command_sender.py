"""Sending of commands to the shards of a group, which run until they have applied them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from hogwild_dist.actors.detached import DetachedContext
from hogwild_dist.actors.driver.shard_set import ShardHandle, ShardSet
from hogwild_dist.engine.commands import Command
from hogwild_dist.engine.shard_runner import Standing


class CommandSender:
    """Numbers commands, so that all shards apply them before the same step.

    A command is kept until all shards hold it, and sent again to a shard that lacks it.

    Args:
        shards: shards of the group.
        on_failure: called with a shard and its error when a run of the shard fails.
    """

    def __init__(
        self, shards: ShardSet, on_failure: Callable[[ShardHandle, Exception], None]
    ) -> None:
        self._shards = shards
        self._on_failure = on_failure
        self._kept: dict[int, Command] = {}
        self._num_sent = 0
        self._applied = 0
        self._runs: dict[ShardHandle, asyncio.Task[int | None]] = {}
        self._run_wanted = asyncio.Event()
        self._detached = DetachedContext()

    def send(self, command: Command) -> None:
        """Send a numbered command to every shard, even if the calling request is cancelled."""
        self._num_sent += 1
        self._kept[self._num_sent] = command
        self._detached.run(self._shards.send, "command", self._num_sent, command)
        self._run_wanted.set()

    def send_again(self, member: ShardHandle, after: int) -> None:
        """Send a shard all commands after the given one, and let the shards run."""
        for number, command in self._kept.items():
            if number > after:
                self._detached.run(member.call, "command", number, command)
        if self._runs and member not in self._runs:  # it has joined, and the others wait for it
            self._start(member)
        self._run_wanted.set()

    def leave(self, member: ShardHandle) -> None:
        """Wait no longer for the run of a shard that is lost: a hung one may end late or never."""
        if member in self._runs:
            self._runs[member].cancel()

    async def keep_running(self) -> None:
        """Whenever there are new commands, run the shards until they have applied them."""
        while True:
            await self._run_wanted.wait()
            self._run_wanted.clear()
            applied = await self._run()
            if not self._shards.members:  # the group is lost
                return
            stuck = applied <= self._applied < self._num_sent
            self._applied = max(self._applied, applied)
            self.forget(applied)
            if stuck:
                await self._find_missing()
            if self._applied < self._num_sent:
                self._run_wanted.set()

    def forget(self, held: int) -> None:
        """Forget commands up to the given one, which all shards hold."""
        self._kept = {n: command for n, command in self._kept.items() if n > held}

    async def _run(self) -> int:
        """Run the shards until no session is left; return the last command that all applied."""
        for member in self._shards.members:
            self._start(member)
        while unfinished := [run for run in self._runs.values() if not run.done()]:
            await asyncio.wait(unfinished, return_when=asyncio.FIRST_COMPLETED)
        runs, self._runs = self._runs.values(), {}
        results = [run.result() for run in runs if not run.cancelled()]
        return min((applied for applied in results if applied is not None), default=0)

    def _start(self, member: ShardHandle) -> None:
        self._runs[member] = self._detached.task(self._run_one(member))

    async def _run_one(self, member: ShardHandle) -> int | None:
        try:
            applied: int = await member.call("run")
        except Exception as error:
            self._on_failure(member, error)
            return None
        return applied

    async def _find_missing(self) -> None:
        """Send again what a shard lacks: a run has ended although there are commands."""
        for member in list(self._shards.members):
            with suppress(Exception):  # the run of a shard that does not answer has failed too
                standing: Standing = await member.call("standing")
                self.send_again(member, standing.command)
