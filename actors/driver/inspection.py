"""`Inspection`: what a driver asks all its shards on behalf of its clients."""

import asyncio
import time
from abc import ABC, abstractmethod

from hogwild_dist.actors.driver.shard_set import ShardSet
from hogwild_dist.actors.errors import ClusterError
from hogwild_dist.actors.shard.shard import ShardStatus
from hogwild_dist.run.trace.reader import Trace
from hogwild_dist.run.trace.replay import RowComparison
from hogwild_dist.timeline import Span

CHECKSUM_SECONDS = 20.0
"""Time for a session to end whose checksums are asked for."""


class Inspection(ABC):
    """The part of a driver that changes nothing; its results are in the order of the ranks."""

    @property
    @abstractmethod
    def _shards(self) -> ShardSet:
        """The shards of the group."""

    async def status(self) -> list[ShardStatus]:
        """Return the status of each shard, by rank."""
        return await self._shards.call("status")

    async def timelines(self) -> list[list[Span]]:
        """Return each shard's timeline spans, by rank."""
        return await self._shards.call("timeline")

    async def checksums(self, session: int) -> list[dict[str, int]]:
        """Wait until all shards have ended a session; return its block checksums, by rank.

        Raises:
            ClusterError: the session goes on.
        """
        deadline = time.monotonic() + CHECKSUM_SECONDS
        while any(session in status.sessions for status in await self.status()):
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"Session {session} has not ended within {CHECKSUM_SECONDS:g} s; cancel it."
                )
            await asyncio.sleep(0.05)
        return await self._shards.call("checksums", session)

    async def replay_fed(self, trace: Trace) -> list[RowComparison]:
        """Replay a trace with its own tokens; return all comparisons, by step and worker."""
        by_shard = await self._shards.call("replay_fed", trace)
        rows = [row for comparisons in by_shard for row in comparisons]
        return sorted(rows, key=lambda row: (row.step, row.worker))

    async def replay_free(self, trace: Trace) -> list[list[str]]:
        """Replay a trace with tokens the group chooses; return the differences of each step."""
        by_shard = await self._shards.call("replay_free", trace)
        steps = zip(*by_shard, strict=True)
        return [list(dict.fromkeys(line for lines in step for line in lines)) for step in steps]
