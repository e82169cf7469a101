"""`Restoration`: brings the sessions of a group back when all of its shards are lost."""

import asyncio
import logging
import math
from collections import deque

from hogwild_dist.actors.driver.journal import Journal, Record
from hogwild_dist.actors.driver.live_group import LiveGroup
from hogwild_dist.actors.errors import AllLostError, ClusterError
from hogwild_dist.engine.commands import ApplyChange, Cancel, Command, Open
from hogwild_dist.engine.forced_replay import ForcedReplay

MOST_VAIN = 2
"""Restorations one after the other after which no session has got further."""

START_SECONDS = 120.0
"""Time for which it is tried to start shards: nodes may come back, or be added."""

RETRY_SECONDS = 3.0
"""Time between two attempts to start shards."""

log = logging.getLogger("hogwild_dist.driver")


class Restoration:
    """Starts other shards, and replays on them what the open sessions have shown.

    Args:
        journal: journal of the driver.

    Attributes:
        active: whether no shards are there; commands then wait in the journal.
    """

    def __init__(self, journal: Journal) -> None:
        self.active = False
        self._journal = journal
        self._num_shown = -1
        self._num_vain = 0

    def begin(self, error: AllLostError) -> None:
        """Begin a restoration.

        Raises:
            AllLostError: the last ones were in vain.
        """
        shown = self._journal.num_shown
        self._num_vain = self._num_vain + 1 if shown == self._num_shown else 0
        self._num_shown = shown
        if self._num_vain >= MOST_VAIN:
            raise error
        self.active = True
        self._journal.last_token = -math.inf  # the group is proven when it writes again

    async def start(self, group: LiveGroup, wanted: int) -> None:
        """Start the shards of a new group, one at least, and send them the open sessions.

        Raises:
            ClusterError: no shard could be started in time.
            HogwildError: the model cannot be loaded.
        """
        await self._start_some(group, wanted)
        self.active = False
        for record in self._journal.open_records:
            for command in commands(record):
                group.sender.send(command)
        group.scaling.wake()

    async def _start_some(self, group: LiveGroup, wanted: int) -> None:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while True:
            for count in dict.fromkeys((wanted, 1)):  # the others may join later
                try:
                    await group.start(count)
                    return
                except ClusterError as error:
                    group.shards.release()
                    log.warning("%d shards cannot be started: %s", count, error)
                    last = error
            if asyncio.get_running_loop().time() > deadline:
                raise last
            await asyncio.sleep(RETRY_SECONDS)


def commands(record: Record) -> list[Command]:
    """Return what brings a session to where it is, on shards that know nothing of it."""
    record.expected = deque(record.updates)
    opened = Open(
        session=record.id,
        spec=record.request.spec,
        recorded=record.recorded,
        tenant=record.owner.tenant,
        replay=ForcedReplay.of(record.updates) if record.updates else None,
    )
    changes = [ApplyChange(session=record.id, change=one) for one in record.pending_changes]
    ends = [Cancel(session=record.id, reason=record.cancelled)] if record.cancelled else []
    return [opened, *changes, *ends]
